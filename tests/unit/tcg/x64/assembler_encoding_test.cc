// Encodings written down from the manuals: the short forms, and what a disassembler cannot tell
// apart.
#include <gtest/gtest.h>

#include "tests/unit/tcg/x64/disassembly.h"

namespace rhea::tcg::x64 {
namespace {

template <class F>
std::string encoded(F emit) {
    Listing list;
    emit(list.a());
    return list.hex();
}

TEST(AssemblerEncoding, ShortestForms) {
    using G = Gpr;
    EXPECT_EQ(encoded([](Assembler& a) { a.add(8, G::rax, 1); }), "48 83 c0 01");
    EXPECT_EQ(encoded([](Assembler& a) { a.add(4, G::rax, 0x12345678); }), "05 78 56 34 12");
    EXPECT_EQ(encoded([](Assembler& a) { a.add(1, G::rax, 1); }), "04 01");
    EXPECT_EQ(encoded([](Assembler& a) { a.cmp(2, G::rcx, 0xffff); }), "66 83 f9 ff");
    EXPECT_EQ(encoded([](Assembler& a) { a.and_(2, G::rcx, 0x7fff); }), "66 81 e1 ff 7f");
    EXPECT_EQ(encoded([](Assembler& a) { a.test(1, G::rax, 1); }), "a8 01");
    EXPECT_EQ(encoded([](Assembler& a) { a.mov_imm(G::rax, 0); }), "b8 00 00 00 00");
    EXPECT_EQ(encoded([](Assembler& a) { a.mov_imm(G::r9, ~0ull); }), "49 c7 c1 ff ff ff ff");
    EXPECT_EQ(encoded([](Assembler& a) { a.mov(4, G::rax, ptr(G::rbp, 0x7f)); }), "8b 45 7f");
    EXPECT_EQ(encoded([](Assembler& a) { a.mov(4, G::rax, ptr(G::r13)); }), "41 8b 45 00");
    EXPECT_EQ(encoded([](Assembler& a) { a.mov(4, G::rax, ptr(G::r12)); }), "41 8b 04 24");
    EXPECT_EQ(encoded([](Assembler& a) { a.shift(Shift::shl, 4, G::rax, 1); }), "d1 e0");
    EXPECT_EQ(encoded([](Assembler& a) { a.mov(1, G::rsi, G::rdi); }), "40 88 fe");
    EXPECT_EQ(encoded([](Assembler& a) { a.mov8(G::rcx, HighByte::ah); }), "88 e1");
    EXPECT_EQ(encoded([](Assembler& a) { a.push(G::r15); }), "41 57");
    EXPECT_EQ(encoded([](Assembler& a) { a.movabs(G::r8, 0x1122334455667788); }),
              "49 b8 88 77 66 55 44 33 22 11");
    EXPECT_EQ(encoded([](Assembler& a) { a.vmovaps(xmm(1), xmm(9)); }), "c5 78 29 c9");
    EXPECT_EQ(encoded([](Assembler& a) { a.vmovaps(xmm(9), xmm(1)); }), "c5 78 28 c9");
    EXPECT_EQ(encoded([](Assembler& a) { a.vzeroupper(); }), "c5 f8 77");
}

TEST(AssemblerEncoding, TlbCheckIsAsBudgeted) {
    // docs/translator.md: bextr; mov; sub; cmp; mov; ja; op.
    Listing list;
    Assembler& a = list.a();
    Label slow;
    const Gpr ea = Gpr::rcx, t1 = Gpr::r10, t2 = Gpr::r11, state = Gpr::rbp;
    a.bextr(8, t1, ea, state);
    a.mov(8, t2, ea);
    a.sub(8, t2, ptr(state, t1, 8, 0x25f4));
    a.cmp(8, t2, 4088);
    a.mov(8, t1, ptr(state, t1, 8, 0x65f4));
    a.jcc(Cond::kA, slow);
    a.mov(8, Gpr::rax, ptr(ea, t1));
    EXPECT_LE(a.offset(), 41u);
    a.bind(slow);
    EXPECT_EQ(list.lines(), (std::vector<std::string>{
                                "bextr r10, rcx, rbp", "mov r11, rcx",
                                "sub r11, qword ptr [rbp + r10*8 + 0x25f4]", "cmp r11, 0xff8",
                                "mov r10, qword ptr [rbp + r10*8 + 0x65f4]", "ja 0x29",
                                "mov rax, qword ptr [rcx + r10]"}));
}

TEST(AssemblerEncoding, FlagsAtomicsControl) {
    Listing list;
    Assembler& a = list.a();
    a.lahf();
    a.sahf();
    a.pushf();
    a.popf();
    a.cld();
    a.clc();
    a.stc();
    a.cmc();
    a.int3();
    a.ud2();
    a.ret();
    a.mfence();
    a.lock();
    a.cmpxchg_pair(16, ptr(Gpr::rdi));
    a.lock();
    a.cmpxchg_pair(8, ptr(Gpr::r9, 8));
    a.lock();
    a.alu(Alu::or_, 2, ptr(Gpr::r9), Gpr::rax);
    a.lock();
    a.xadd(8, ptr(Gpr::rax, Gpr::r10), Gpr::r11);
    a.fldcw(ptr(Gpr::rbp, 8));
    a.fnstcw(ptr(Gpr::r12));
    a.fninit();
    a.rep_movs(1);
    a.rep_movs(2);
    a.rep_movs(4);
    a.rep_movs(8);
    a.rep_stos(1);
    a.rep_stos(8);
    EXPECT_EQ(list.lines(), (std::vector<std::string>{"lahf",
                                                      "sahf",
                                                      "pushfq",
                                                      "popfq",
                                                      "cld",
                                                      "clc",
                                                      "stc",
                                                      "cmc",
                                                      "int3",
                                                      "ud2",
                                                      "ret",
                                                      "mfence",
                                                      "lock cmpxchg16b xmmword ptr [rdi]",
                                                      "lock cmpxchg8b qword ptr [r9 + 8]",
                                                      "lock or word ptr [r9], ax",
                                                      "lock xadd qword ptr [rax + r10], r11",
                                                      "fldcw word ptr [rbp + 8]",
                                                      "fnstcw word ptr [r12]",
                                                      "fninit",
                                                      "rep movsb byte ptr [rdi], byte ptr [rsi]",
                                                      "rep movsw word ptr [rdi], word ptr [rsi]",
                                                      "rep movsd dword ptr [rdi], dword ptr [rsi]",
                                                      "rep movsq qword ptr [rdi], qword ptr [rsi]",
                                                      "rep stosb byte ptr [rdi], al",
                                                      "rep stosq qword ptr [rdi], rax"}));
}

}  // namespace
}  // namespace rhea::tcg::x64
