#include "tcg/backend/x64/disassemble.h"

#include <capstone/capstone.h>
#include <dlfcn.h>
#include <fmt/format.h>

namespace rhea::tcg::x64 {
namespace {

/// Entry points of libcapstone, resolved at run time: linking it would cost every start.
struct Capstone {
    decltype(&cs_open) open = nullptr;
    decltype(&cs_disasm) disasm = nullptr;
    decltype(&cs_free) free = nullptr;
    decltype(&cs_close) close = nullptr;

    Capstone() {
        void *library = dlopen("libcapstone.so.4", RTLD_NOW | RTLD_LOCAL);
        if (!library)
            library = dlopen("libcapstone.so.5", RTLD_NOW | RTLD_LOCAL);
        if (!library)
            return;
        open = reinterpret_cast<decltype(open)>(dlsym(library, "cs_open"));
        disasm = reinterpret_cast<decltype(disasm)>(dlsym(library, "cs_disasm"));
        free = reinterpret_cast<decltype(free)>(dlsym(library, "cs_free"));
        close = reinterpret_cast<decltype(close)>(dlsym(library, "cs_close"));
    }
    bool usable() const { return open && disasm && free && close; }
};

std::string hex_lines(const std::uint8_t *code, std::size_t size) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i)
        text += fmt::format("{:02x}{}", code[i], i % 16 == 15 || i + 1 == size ? '\n' : ' ');
    return text;
}

} // namespace

std::string disassemble(const std::uint8_t *code, std::size_t size) {
    static const Capstone capstone;
    csh handle = 0;
    if (!capstone.usable() || capstone.open(CS_ARCH_X86, CS_MODE_64, &handle) != CS_ERR_OK)
        return hex_lines(code, size);
    std::string text;
    std::size_t at = 0;
    while (at < size) {
        cs_insn *insn = nullptr;
        // Addresses as offsets, so that jumps inside read well and texts do not depend on where code lies.
        const std::size_t n = capstone.disasm(handle, code + at, size - at, at, 0, &insn);
        for (std::size_t i = 0; i < n; ++i) {
            text += fmt::format("{:4x}  {} {}\n", insn[i].address, insn[i].mnemonic, insn[i].op_str);
            at += insn[i].size;
        }
        if (n != 0)
            capstone.free(insn, n);
        if (at < size) // data between code: ExitSlot addresses and page offsets
            text += fmt::format("{:4x}  .byte 0x{:02x}\n", at, code[at]), ++at;
    }
    capstone.close(&handle);
    return text;
}

} // namespace rhea::tcg::x64
