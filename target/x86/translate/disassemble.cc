// Disassembly for -d in_asm. The one file that knows the disassembler, which is loaded when first used.
#include "rhea/target/x86/state.h"
#include "target/x86/translate/translate.h"

#include <capstone/capstone.h>
#include <cstdio>
#include <dlfcn.h>

namespace rhea::target::x86 {
namespace {

/// The library's functions; `ok` is false where it is not installed.
struct Capstone {
    Capstone() {
        void *library = dlopen("libcapstone.so.4", RTLD_NOW | RTLD_LOCAL);
        ok = library != nullptr && find(library, open, "cs_open") && find(library, close, "cs_close") &&
             find(library, next, "cs_disasm_iter") && find(library, allocate, "cs_malloc") &&
             find(library, release, "cs_free");
    }
    bool ok = false;
    decltype(&cs_open) open = nullptr;
    decltype(&cs_close) close = nullptr;
    decltype(&cs_disasm_iter) next = nullptr;
    decltype(&cs_malloc) allocate = nullptr;
    decltype(&cs_free) release = nullptr;

private:
    template <typename Function>
    static bool find(void *library, Function &function, const char *name) {
        function = reinterpret_cast<Function>(dlsym(library, name));
        return function != nullptr;
    }
};

} // namespace


std::string disassemble(std::uint32_t mode, std::uint64_t pc, const std::uint8_t *bytes, std::size_t length) {
    const cs_mode bits = (mode & kModeCode64) != 0   ? CS_MODE_64
                         : (mode & kModeCode32) != 0 ? CS_MODE_32
                                                     : CS_MODE_16;
    static const Capstone capstone;
    csh handle = 0;
    if (!capstone.ok || capstone.open(CS_ARCH_X86, bits, &handle) != CS_ERR_OK) {
        return "(no disassembler: libcapstone.so.4 is not installed)\n";
    }
    std::string text;
    char line[256];
    const auto put = [&](std::uint64_t address, const std::uint8_t *at, std::size_t size, const char *mnemonic,
                         const char *operands) {
        std::string hex;
        for (std::size_t n = 0; n < size; n++) {
            std::snprintf(line, sizeof line, "%02x", at[n]);
            hex += line;
        }
        std::snprintf(line, sizeof line, "0x%08llx:  %-30s %s %s\n", static_cast<unsigned long long>(address),
                      hex.c_str(), mnemonic, operands);
        text += line;
    };
    const std::uint8_t *at = bytes;
    std::size_t left = length;
    std::uint64_t address = pc;
    cs_insn *insn = capstone.allocate(handle);
    while (left > 0) {
        const std::uint8_t *start = at;
        const std::uint64_t start_address = address;
        if (capstone.next(handle, &at, &left, &address, insn)) {
            put(start_address, start, insn->size, insn->mnemonic, insn->op_str);
        } else {
            put(address, at, 1, ".byte", "");
            at++;
            address++;
            left--;
        }
    }
    capstone.release(insn, 1);
    capstone.close(&handle);
    return text;
}

} // namespace rhea::target::x86
