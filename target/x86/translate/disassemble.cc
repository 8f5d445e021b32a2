// Disassembly for -d in_asm. The one file that knows the disassembler.
#include "rhea/target/x86/state.h"
#include "target/x86/translate/translate.h"

#include <capstone/capstone.h>
#include <cstdio>

namespace rhea::target::x86 {

std::string disassemble(std::uint32_t mode, std::uint64_t pc, const std::uint8_t *bytes, std::size_t length) {
    const cs_mode bits = (mode & kModeCode64) != 0   ? CS_MODE_64
                         : (mode & kModeCode32) != 0 ? CS_MODE_32
                                                     : CS_MODE_16;
    csh handle = 0;
    if (cs_open(CS_ARCH_X86, bits, &handle) != CS_ERR_OK) {
        return "(no disassembler)\n";
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
    cs_insn *insn = cs_malloc(handle);
    while (left > 0) {
        const std::uint8_t *start = at;
        const std::uint64_t start_address = address;
        if (cs_disasm_iter(handle, &at, &left, &address, insn)) {
            put(start_address, start, insn->size, insn->mnemonic, insn->op_str);
        } else {
            put(address, at, 1, ".byte", "");
            at++;
            address++;
            left--;
        }
    }
    cs_free(insn, 1);
    cs_close(&handle);
    return text;
}

} // namespace rhea::target::x86
