// For tests of the x86-64 assembler: a buffer to assemble into, its disassembly by capstone, and
// the expected text of operands, built without any help from the assembler.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "tcg/backend/x64/assembler.h"

namespace rhea::tcg::x64 {

/// The names of registers as capstone (and Intel) spell them.
std::string reg_name(Gpr r, unsigned size);
std::string reg_name(Xmm r, unsigned l = 0);

/// "dword ptr [rax + rcx*4 - 8]"; bytes 0: no size keyword; 16: xmmword, 32: ymmword.
std::string mem_text(const Mem& m, unsigned bytes);
/// An immediate in an expectation: compared as a number of `size` bytes, however capstone prints
/// it.
std::string imm_text(std::int64_t value, unsigned size);

/// A buffer with an assembler. check() disassembles what was emitted since the last check.
class Listing {
  public:
    explicit Listing(std::size_t capacity = 1 << 16);
    ~Listing();
    Listing(const Listing&) = delete;
    Listing& operator=(const Listing&) = delete;

    Assembler& a() { return assembler_; }
    /// One line an instruction ("mnemonic operands") of everything emitted since the last call.
    std::vector<std::string> lines();
    /// Expects exactly this one instruction; starts the buffer anew when it fills.
    void check(const std::string& expected);
    /// The bytes emitted since the last call, in hexadecimal: "48 89 c8".
    std::string hex();
    unsigned checked() const { return checked_; }

  private:
    std::vector<std::uint8_t> memory_;
    Assembler assembler_;
    std::size_t start_ = 0;
    std::uint64_t handle_ = 0;
    void* insn_ = nullptr;
    unsigned checked_ = 0;
};

/// Memory operands of each form: bases, indices, scales and displacement sizes.
const std::vector<Mem>& all_mems();
/// A handful that needs every kind of prefix, SIB and displacement.
const std::vector<Mem>& some_mems();

}  // namespace rhea::tcg::x64
