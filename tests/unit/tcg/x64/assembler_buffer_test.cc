// Labels, alignment, rip-relative operands, patching and the end of the buffer.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/unit/tcg/x64/disassembly.h"

namespace rhea::tcg::x64 {
namespace {

using Lines = std::vector<std::string>;

TEST(AssemblerBuffer, ForwardAndBackwardLabels) {
    Listing list;
    Assembler& a = list.a();
    Label top, middle, end;
    EXPECT_FALSE(end.pending());
    a.bind(top);
    a.jmp(end);                              // 0: e9
    a.jcc(Cond::kE, middle, Reach::kShort);  // 5: 74
    a.jcc(Cond::kNE, end);                   // 7: 0f 85
    a.call(end);                             // 0xd
    EXPECT_TRUE(end.pending());
    a.bind(middle);  // 0x12
    a.jmp(top);      // eb
    a.jcc(Cond::kL, top);
    a.nop(1);
    a.bind(end);  // 0x17
    a.ret();
    EXPECT_TRUE(a.ok());
    EXPECT_EQ(end.offset(), 0x17u);
    EXPECT_EQ(list.lines(), (Lines{"jmp 0x17", "je 0x12", "jne 0x17", "call 0x17", "jmp 0", "jl 0",
                                   "nop", "ret"}));
}

TEST(AssemblerBuffer, BackwardJumpsGrowWhenFar) {
    Listing list;
    Assembler& a = list.a();
    Label top;
    a.bind(top);
    a.nop(126);
    list.lines();
    a.jmp(top);  // reaches: 126 + 2
    a.jmp(top);  // does not
    a.jcc(Cond::kE, top);
    EXPECT_EQ(a.offset(), 126u + 2 + 5 + 6);
    EXPECT_EQ(list.lines(), (Lines{"jmp 0", "jmp 0", "je 0"}));
}

TEST(AssemblerBuffer, ShortJumpThatIsTooFarIsAnError) {
    Listing list;
    Assembler& a = list.a();
    Label near, far;
    a.jmp(near, Reach::kShort);
    a.nop(127);
    a.bind(near);
    EXPECT_TRUE(a.ok());
    a.jmp(far, Reach::kShort);
    a.nop(128);
    a.bind(far);
    EXPECT_TRUE(a.range_error());
    EXPECT_FALSE(a.ok());
}

TEST(AssemblerBuffer, ManyShortJumpsToOneLabel) {
    Listing list;
    Assembler& a = list.a();
    Label end;
    for (int i = 0; i < 10; ++i) {
        a.jmp(end, Reach::kShort);
    }
    a.bind(end);
    EXPECT_TRUE(a.ok());
    for (const std::string& line : list.lines()) {
        EXPECT_EQ(line, "jmp 0x20");  // six of 2 bytes, four of 5
    }
}

TEST(AssemblerBuffer, RipRelative) {
    Listing list;
    Assembler& a = list.a();
    Label data;
    a.mov(8, Gpr::rax, Mem::rip(data));    // 0: 7 bytes
    a.mov(4, Mem::rip(data), 0x11223344);  // 7: 10 bytes
    a.cmp(1, Mem::rip(data), 3);           // 0x11: 7 bytes
    a.vex_rrmi({VexPrefix::kNone, VexMap::k0F, 0xc6}, xmm(1), xmm(2), Mem::rip(data),
               9);                                  // 0x18: 9
    a.lea_label(Gpr::r9, data);                     // 0x21: 7
    a.mov(8, Gpr::rcx, Mem::rip(a.exec_at(0), 8));  // 0x28: 7
    a.bind(data);                                   // 0x2f
    a.mov(2, Mem::rip(data), 5);                    // 0x2f: 9
    a.jmp(a.exec_at(0));
    a.call(a.exec_at(1));
    a.jcc(Cond::kA, a.exec_at(2));
    EXPECT_TRUE(a.ok());
    EXPECT_EQ(
        list.lines(),
        (Lines{"mov rax, qword ptr [rip + 0x28]", "mov dword ptr [rip + 0x1e], 0x11223344",
               "cmp byte ptr [rip + 0x17], 3", "vshufps xmm1, xmm2, xmmword ptr [rip + 0xe], 9",
               "lea r9, [rip + 7]", "mov rcx, qword ptr [rip - 0x27]", "mov word ptr [rip - 9], 5",
               "jmp 0", "call 1", "ja 2"}));
}

TEST(AssemblerBuffer, TargetsOutOfReachAreAnError) {
    Listing list;
    Assembler& a = list.a();
    const auto far = reinterpret_cast<const std::uint8_t*>(
        reinterpret_cast<std::uintptr_t>(a.exec_at(0)) + (std::uint64_t{3} << 30));
    EXPECT_FALSE(a.reaches(far));
    EXPECT_TRUE(a.reaches(a.exec_at(0)));
    a.call(far);
    EXPECT_TRUE(a.range_error());
}

TEST(AssemblerBuffer, NopsAndAlignment) {
    for (unsigned n = 1; n <= 40; ++n) {
        Listing list;
        list.a().nop(n);
        EXPECT_EQ(list.a().offset(), n);
        const Lines lines = list.lines();
        EXPECT_EQ(lines.size(), (n + 8) / 9);
        for (const std::string& line : lines) {
            EXPECT_EQ(line.substr(0, 3), "nop");
        }
    }
    Listing list;
    Assembler& a = list.a();
    a.ret();
    a.align(16);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.exec_here()) % 16, 0u);
    const std::size_t before = a.offset();
    a.align(16);
    EXPECT_EQ(a.offset(), before);
    a.ret();
    list.lines();
    a.align_int3(8);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.exec_here()) % 8, 0u);
    EXPECT_EQ(list.lines(), Lines(7, "int3"));
}

TEST(AssemblerBuffer, AlignedFieldsCanBePatched) {
    for (unsigned lead = 0; lead < 4; ++lead) {
        Listing list;
        Assembler& a = list.a();
        a.nop(lead);
        Label stub;
        const std::size_t fields[] = {
            a.jmp_rel32_aligned(), a.jcc_rel32_aligned(Cond::kS), a.jmp_rel32_aligned(stub),
            a.jcc_rel32_aligned(Cond::kP, stub), a.call_rel32_aligned(stub)};
        a.bind(stub);
        a.ret();
        for (std::size_t field : fields) {
            EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.exec_at(field)) % 4, 0u);
        }
        Assembler::patch_rel32(a.write_at(fields[0]), a.exec_at(fields[0]), a.exec_at(0x1000));
        Assembler::patch_rel32(a.write_at(fields[1]), a.exec_at(fields[1]), a.exec_at(0));
        Lines jumps;
        for (const std::string& line : list.lines()) {
            if (line.substr(0, 3) != "nop") {
                jumps.push_back(line);
            }
        }
        const std::string to_stub = " 0x" + [&] {
            char text[16];
            std::snprintf(text, sizeof(text), "%zx", stub.offset());
            return std::string(text);
        }();
        EXPECT_EQ(jumps, (Lines{"jmp 0x1000", "js 0", "jmp" + to_stub, "jp" + to_stub,
                                "call" + to_stub, "ret"}));
    }
}

TEST(AssemblerBuffer, DisplacementFollowsTheExecutableAlias) {
    std::vector<std::uint8_t> write(64), exec(64);
    Assembler a({write.data(), exec.data(), write.size()});
    a.call(exec.data() + 32);
    std::int32_t rel;
    std::memcpy(&rel, write.data() + 1, 4);
    EXPECT_EQ(rel, 32 - 5);
}

TEST(AssemblerBuffer, NeverWritesBeyondTheEnd) {
    for (std::size_t capacity = 0; capacity < 80; ++capacity) {
        std::vector<std::uint8_t> memory(capacity + 64, 0xa5);
        Assembler a({memory.data(), memory.data(), capacity});
        Label label, near;
        for (int i = 0; i < 20; ++i) {
            a.movabs(Gpr::r8, 0x1122334455667788);
            a.jmp(label);
            a.jcc(Cond::kE, near, Reach::kShort);
            a.mov(8, ptr(Gpr::r8, Gpr::r9, 8, 0x12345678), 0x11223344);
            a.lea_label(Gpr::rax, label);
            a.jmp_rel32_aligned();
            a.nop(30);
            a.align(16);
            a.word64(0);
            a.bytes(std::vector<std::uint8_t>(100, 0x90));
        }
        a.bind(label);
        a.bind(near);
        a.jmp(label);
        EXPECT_TRUE(a.overflowed());
        EXPECT_FALSE(a.ok());
        EXPECT_EQ(a.offset(), capacity);
        for (std::size_t i = capacity; i < memory.size(); ++i) {
            ASSERT_EQ(memory[i], 0xa5) << "capacity " << capacity << " at " << i;
        }
    }
}

TEST(AssemblerBuffer, Data) {
    Listing list;
    Assembler& a = list.a();
    a.byte(0x12);
    a.word32(0x89abcdef);
    a.word64(0x0102030405060708);
    const std::uint8_t data[] = {1, 2, 3};
    a.bytes(data);
    EXPECT_EQ(list.hex(), "12 ef cd ab 89 08 07 06 05 04 03 02 01 01 02 03");
}

}  // namespace
}  // namespace rhea::tcg::x64
