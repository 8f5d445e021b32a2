// What code comes out: host instructions of small guest-like snippets, so that a change which makes them worse is seen.
// r0, r1, r2 … are pinned to rax, rcx, rdx, rbx, rsi, rdi, r8, r9 as x86's registers are.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <functional>
#include <sstream>

#include "jit.h"
#include "rhea/tcg/passes.h"

namespace rhea::tcg::test {
namespace {

using ir::Builder;
using ir::Op;
using ir::ValueId;

/// Where jumps out of the hot path go says nothing about its shape.
std::string with_cold_targets(const std::string& text) {
    std::istringstream lines(text);
    std::string out;
    for (std::string line; std::getline(lines, line);) {
        const std::size_t target = line.find(" 0x");
        out += line[0] == 'j' && target != std::string::npos ? line.substr(0, target) + " cold" : line;
        out += '\n';
    }
    return out;
}

class CodeShape : public testing::Test {
  protected:
    /// The hot path of a block that `build` fills and an exit ends, without the exit's own code: flags are overwritten
    /// before it, as the next guest instruction would.
    std::string code(const std::function<void(Builder&)>& build, unsigned pins = 8) {
        ir::Block block;
        Builder b(block, test_guest());
        b.insn_start(0, 3);
        build(b);
        b.insn_start(3, 1);
        if (!b.ended()) {
            b.set_flags(b.emit(Op::f_raw, Type::kFlags, {b.konst(Type::kI32, 0)}));
            b.emit(Op::exit_direct, Type::kNone, {}, 0, 0x40);
        }
        EXPECT_EQ(ir::verify(block, test_guest()), "");
        passes::run(block, test_guest());
        Jit jit(pins, 2);
        jit.generator().one_vcpu(one_vcpu_);
        TranslationBlock* tb = jit.compile(block);
        if (!tb)
            return "does not compile";
        std::string text = Jit::hot_path(*tb);
        // The exit's store of cc_dst and cc_op, and its jump.
        for (int i = 0; i < 3; ++i) {
            const std::size_t line = text.rfind('\n', text.size() - 2);
            text.resize(line == std::string::npos ? 0 : line + 1);
        }
        return with_cold_targets(text);
    }
    static void arithmetic(Builder& b, Op op, Op flags, Slot dst, ValueId y) {
        const ValueId r = b.emit(op, Type::kI64, {b.get(dst), y});
        b.set(dst, r);
        b.set_flags(flags == Op::f_logic ? b.emit(flags, Type::kI64, {r}) : b.emit(flags, Type::kI64, {r, y}));
    }

    bool one_vcpu_ = false;
};

TEST_F(CodeShape, RegisterArithmeticIsOneInstruction) {
    EXPECT_EQ(code([](Builder& b) { arithmetic(b, Op::add, Op::f_add, kR0, b.get(kR3)); }), "add rax, rbx\n");
    EXPECT_EQ(code([](Builder& b) { arithmetic(b, Op::sub, Op::f_sub, kR1, b.get(kR0)); }), "sub rcx, rax\n");
    EXPECT_EQ(code([](Builder& b) { arithmetic(b, Op::xor_, Op::f_logic, kR6, b.get(kR7)); }), "xor r8, r9\n");
    EXPECT_EQ(code([](Builder& b) { arithmetic(b, Op::and_, Op::f_logic, kR0, b.konst(Type::kI64, 0x7f)); }),
              "and rax, 0x7f\n");
    EXPECT_EQ(code([](Builder& b) { arithmetic(b, Op::add, Op::f_add, kR4, b.konst(Type::kI64, 8)); }), "add rsi, 8\n");
}

TEST_F(CodeShape, MovesAndLea) {
    EXPECT_EQ(code([](Builder& b) { b.set(kR0, b.get(kR3)); }), "mov rax, rbx\n");
    EXPECT_EQ(code([](Builder& b) { b.set(kR0, b.konst(Type::kI64, 1)); }), "mov eax, 1\n");
    EXPECT_EQ(code([](Builder& b) { b.set(kR0, b.konst(Type::kI64, 0)); }), "xor eax, eax\n");
    EXPECT_EQ(code([](Builder& b) {
                  b.set(kR0, b.emit(Op::lea, Type::kI64, {b.get(kR3), b.get(kR1)}, 2, 8));
              }),
              "lea rax, [rbx + rcx*4 + 8]\n");
    EXPECT_EQ(code([](Builder& b) { b.set(kR0, b.add_imm(b.get(kR3), 16)); }), "lea rax, [rbx + 0x10]\n");
    // mov eax, ebx; movzx ecx, bl
    EXPECT_EQ(code([](Builder& b) { b.set(kR0, b.zext(b.trunc(b.get(kR3), Type::kI32), Type::kI64)); }),
              "mov eax, ebx\n");
    EXPECT_EQ(code([](Builder& b) { b.set(kR1, b.zext(b.trunc(b.get(kR3), Type::kI8), Type::kI64)); }),
              "movzx ecx, bl\n");
}

TEST_F(CodeShape, NarrowArithmeticIsInPlace) {
    // add eax, ebx
    EXPECT_EQ(code([](Builder& b) {
                  const ValueId y = b.trunc(b.get(kR3), Type::kI32);
                  const ValueId r = b.add(b.trunc(b.get(kR0), Type::kI32), y);
                  b.set(kR0, b.zext(r, Type::kI64));
                  b.set_flags(b.emit(Op::f_add, Type::kI32, {r, y}));
              }),
              "add eax, ebx\n");
    // add al, bl; mov al, bl; mov al, 1; sete-like
    EXPECT_EQ(code([](Builder& b) {
                  const ValueId y = b.trunc(b.get(kR3), Type::kI8);
                  const ValueId r = b.add(b.trunc(b.get(kR0), Type::kI8), y);
                  b.set(kR0, b.emit(Op::ins8, Type::kI64, {b.get(kR0), r}));
                  b.set_flags(b.emit(Op::f_add, Type::kI8, {r, y}));
              }),
              "add al, bl\n");
    EXPECT_EQ(code([](Builder& b) {
                  b.set(kR0, b.emit(Op::ins8, Type::kI64, {b.get(kR0), b.trunc(b.get(kR3), Type::kI8)}));
              }),
              "mov al, bl\n");
    EXPECT_EQ(code([](Builder& b) {
                  b.set(kR0, b.emit(Op::ins8h, Type::kI64, {b.get(kR0), b.trunc(b.get(kR3), Type::kI8)}));
              }),
              "mov ah, bl\n");
    EXPECT_EQ(code([](Builder& b) {
                  b.set(kR0, b.emit(Op::ins16, Type::kI64, {b.get(kR0), b.trunc(b.get(kR3), Type::kI16)}));
              }),
              "mov ax, bx\n");
}

TEST_F(CodeShape, CompareAndBranch) {
    EXPECT_EQ(code([](Builder& b) {
                  const ValueId f = b.emit(Op::f_cmp, Type::kI64, {b.get(kR0), b.get(kR3)});
                  b.set_flags(f);
                  b.emit(Op::br_cc, Type::kNone, {f}, static_cast<std::uint16_t>(Cond::kL), 0x80);
              }),
              "cmp rax, rbx\njl cold\n");
    EXPECT_EQ(code([](Builder& b) {
                  const ValueId r = b.and_(b.trunc(b.get(kR0), Type::kI8), b.konst(Type::kI8, 1));
                  const ValueId f = b.emit(Op::f_logic, Type::kI8, {r});
                  b.set_flags(f);
                  b.emit(Op::br_cc, Type::kNone, {f}, static_cast<std::uint16_t>(Cond::kE), 0x80);
              }),
              "test al, 1\nje cold\n");
    // dec ecx; jne
    EXPECT_EQ(code([](Builder& b) {
                  const ValueId r = b.add_imm(b.trunc(b.get(kR1), Type::kI32), -1);
                  const ValueId f = b.emit(Op::f_dec, Type::kI32, {r, b.flags()});
                  b.set(kR1, b.zext(r, Type::kI64));
                  b.set_flags(f);
                  b.emit(Op::br_cc, Type::kNone, {f}, static_cast<std::uint16_t>(Cond::kNE), 0x80);
              }),
              "add ecx, -1\njne cold\n");
    // cmp; cmovl; setb
    EXPECT_EQ(code([](Builder& b) {
                  const ValueId f = b.emit(Op::f_cmp, Type::kI64, {b.get(kR0), b.get(kR3)});
                  b.set_flags(f);
                  b.set(kR4, b.emit(Op::select_cc, Type::kI64, {f, b.get(kR5), b.get(kR4)},
                                    static_cast<std::uint16_t>(Cond::kL)));
                  b.set(kR1, b.emit(Op::ins8, Type::kI64, {b.get(kR1), b.cond(Cond::kB)}));
              }),
              "cmp rax, rbx\ncmovl rsi, rdi\nsetb cl\n");
}

TEST_F(CodeShape, CarryChains) {
    EXPECT_EQ(code([](Builder& b) {
                  arithmetic(b, Op::add, Op::f_add, kR0, b.get(kR3));
                  const ValueId f = b.flags();
                  const ValueId r = b.emit(Op::adc, Type::kI64, {b.get(kR1), b.get(kR4), f});
                  b.set(kR1, r);
                  b.set_flags(b.emit(Op::f_adc, Type::kI64, {r, b.get(kR4), f}));
              }),
              "add rax, rbx\nadc rcx, rsi\n");
}

TEST_F(CodeShape, MultiplyAndDivide) {
    EXPECT_EQ(code([](Builder& b) {
                  const ValueId x = b.get(kR0), y = b.get(kR3);
                  const ValueId low = b.emit(Op::mul, Type::kI64, {x, y});
                  const ValueId high = b.emit(Op::mulhu, Type::kI64, {x, y});
                  b.set(kR0, low);
                  b.set(kR2, high);
              }),
              "mul rbx\n");
    EXPECT_EQ(code([](Builder& b) {
                  const ValueId q = b.emit(Op::divu, Type::kI64, {b.get(kR2), b.get(kR0), b.get(kR3)});
                  const ValueId rest = b.emit(Op::second, Type::kI64, {q});
                  b.set(kR0, q);
                  b.set(kR2, rest);
              }),
              "cmp rdx, rbx\njae cold\ndiv rbx\n");
    EXPECT_EQ(code([](Builder& b) {
                  b.set(kR0, b.emit(Op::shl, Type::kI64, {b.get(kR0), b.trunc(b.get(kR1), Type::kI8)}));
              }),
              "shlx rax, rax, rcx\n");
    EXPECT_EQ(code([](Builder& b) {
                  b.set(kR0, b.emit(Op::rol, Type::kI64, {b.get(kR0), b.trunc(b.get(kR1), Type::kI8)}));
              }),
              "rol rax, cl\n");
}

TEST_F(CodeShape, LoadsAndStores) {
    const auto table = [](std::uint32_t offset) {
        return fmt::format("qword ptr [rbp + r10*8 + {:#x}]\n", offset - kStateRegOffset);
    };
    const std::string read = table(kReadTagOffset), write = table(kWriteTagOffset), addend = table(kAddendOffset);
    EXPECT_EQ(code([](Builder& b) { b.set(kR0, b.load(Type::kI64, b.get(kR3))); }),
              "bextr r10, rbx, rbp\nmov r11, rbx\nsub r11, " + read + "cmp r11, 0xff8\nmov r10, " + addend +
                  "ja cold\nmov rax, qword ptr [rbx + r10]\n");
    EXPECT_EQ(code([](Builder& b) {
                  b.set(kR0, b.zext(b.load(Type::kI8, b.add_imm(b.get(kR3), 16)), Type::kI64));
              }),
              "lea r11, [rbx + 0x10]\nbextr r10, r11, rbp\nsub r11, " + read +
                  "cmp r11, 0xfff\nmov r10, " + addend + "ja cold\nmovzx eax, byte ptr [rbx + r10 + 0x10]\n");
    // push rbx
    EXPECT_EQ(code([](Builder& b) {
                  const ValueId at = b.add_imm(b.get(kR7), -8);
                  b.store(at, b.get(kR3));
                  b.set(kR7, at);
              }),
              "lea r11, [r9 - 8]\nbextr r10, r11, rbp\nsub r11, " + write +
                  "cmp r11, 0xff8\nmov r10, " + addend + "ja cold\nmov qword ptr [r9 + r10 - 8], rbx\n"
              "lea r9, [r9 - 8]\n");
}

TEST_F(CodeShape, UnpinnedSlotsAreMemoryOperands) {
    EXPECT_EQ(code([](Builder& b) { arithmetic(b, Op::add, Op::f_add, kR5, b.get(kR0)); }, 3),
              "add qword ptr [rbp - 0x14], rax\n");
    EXPECT_EQ(code([](Builder& b) { arithmetic(b, Op::add, Op::f_add, kR0, b.get(kR5)); }, 3),
              "add rax, qword ptr [rbp - 0x14]\n");
    EXPECT_EQ(code([](Builder& b) { b.set(kR5, b.konst(Type::kI64, 7)); }, 3), "mov qword ptr [rbp - 0x14], 7\n");
}

TEST_F(CodeShape, OneVcpuNeedsNoLockButAtBarriersTowardsDevices) {
    const auto contains = [this](Op op, std::uint64_t operand, const char* what) {
        return code([=](Builder& b) {
                   b.set(kR0, b.emit(op, Type::kI64, {b.get(kR3), b.konst(Type::kI64, operand)}));
               }).find(what) != std::string::npos;
    };
    for (const bool alone : {false, true}) {
        one_vcpu_ = alone;
        for (const Op op : {Op::atomic_add, Op::atomic_and, Op::atomic_or, Op::atomic_xor})
            EXPECT_EQ(contains(op, 5, "lock "), !alone) << static_cast<int>(op);
        for (const Op op : {Op::atomic_add, Op::atomic_or})
            EXPECT_TRUE(contains(op, 0, "lock ")) << static_cast<int>(op);
        EXPECT_TRUE(contains(Op::atomic_xchg, 5, "xchg qword ptr")); // locked without the prefix
    }
}

}  // namespace
}  // namespace rhea::tcg::test
