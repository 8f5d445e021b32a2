// The decoder: lengths, operands, prefixes, and what is no instruction.
#include "target/x86/decode/decode.h"

#include "rhea/target/x86/state.h"

#include <gtest/gtest.h>
#include <initializer_list>
#include <vector>

namespace rhea::target::x86 {
namespace {

struct Decoded {
    DecodeStatus status;
    Insn insn;
};

Decoded decode_bytes(std::initializer_list<int> bytes, unsigned bits = 64, FeatureSet features = FeatureSet::all()) {
    std::vector<std::uint8_t> code(bytes.begin(), bytes.end());
    DecodeMode mode;
    mode.code64 = bits == 64;
    mode.code32 = bits == 32;
    mode.features = features;
    Decoded d;
    d.status = decode(code.data(), code.size(), mode, d.insn);
    return d;
}

TEST(X86Decode, RegisterForm) {
    const Decoded d = decode_bytes({0x48, 0x01, 0xd8}); // add rax, rbx
    ASSERT_EQ(d.status, DecodeStatus::kOk);
    EXPECT_EQ(d.insn.length, 3);
    EXPECT_EQ(d.insn.row().mnemonic, "add");
    EXPECT_EQ(d.insn.operands[0].reg, kRax);
    EXPECT_EQ(d.insn.operands[1].reg, kRbx);
    EXPECT_EQ(d.insn.operands[0].size, 8);
}

TEST(X86Decode, ScaledIndexWithDisplacement) {
    const Decoded d = decode_bytes({0x43, 0x8b, 0x84, 0x8c, 0x78, 0x56, 0x34, 0x12}); // mov eax, [r12+r9*4+0x12345678]
    ASSERT_EQ(d.status, DecodeStatus::kOk);
    EXPECT_EQ(d.insn.length, 8);
    EXPECT_EQ(d.insn.mem.base, kR12);
    EXPECT_EQ(d.insn.mem.index, kR9);
    EXPECT_EQ(d.insn.mem.scale, 2);
    EXPECT_EQ(d.insn.mem.disp, 0x12345678);
}

TEST(X86Decode, SixteenBitAddress) {
    const Decoded d = decode_bytes({0x8b, 0x42, 0xfe}, 16); // mov ax, [bp+si-2]
    ASSERT_EQ(d.status, DecodeStatus::kOk);
    EXPECT_EQ(d.insn.mem.base, kRbp);
    EXPECT_EQ(d.insn.mem.index, kRsi);
    EXPECT_EQ(d.insn.mem.disp, -2);
    EXPECT_EQ(d.insn.mem.segment, kSs);
    EXPECT_EQ(d.insn.operand_size, 2);
}

TEST(X86Decode, HighByteRegistersVanishWithRex) {
    EXPECT_TRUE(decode_bytes({0x88, 0xe0}).insn.operands[1].high);       // mov al, ah
    const Decoded d = decode_bytes({0x40, 0x88, 0xe0});                  // mov al, spl
    EXPECT_FALSE(d.insn.operands[1].high);
    EXPECT_EQ(d.insn.operands[1].reg, kRsp);
}

TEST(X86Decode, RexBeforeAnotherPrefixIsIgnored) {
    const Decoded d = decode_bytes({0x48, 0x66, 0x89, 0xd8}); // mov ax, bx
    ASSERT_EQ(d.status, DecodeStatus::kOk);
    EXPECT_EQ(d.insn.operand_size, 2);
}

TEST(X86Decode, ModesChangeMeaning) {
    EXPECT_EQ(decode_bytes({0x40}, 32).insn.row().mnemonic, "inc");
    EXPECT_EQ(decode_bytes({0x06}, 64).status, DecodeStatus::kInvalid);
    EXPECT_EQ(decode_bytes({0x06}, 32).status, DecodeStatus::kOk);
    EXPECT_EQ(decode_bytes({0x63, 0xc3}, 32).insn.row().mnemonic, "arpl");
    EXPECT_EQ(decode_bytes({0x63, 0xc3}, 64).insn.row().mnemonic, "movsxd");
    EXPECT_EQ(decode_bytes({0xc5, 0x06}, 32).insn.row().mnemonic, "lds");
}

TEST(X86Decode, FeaturesSelectRows) {
    EXPECT_EQ(decode_bytes({0xf3, 0x0f, 0xbc, 0xc1}).insn.row().mnemonic, "tzcnt");
    EXPECT_EQ(decode_bytes({0xf3, 0x0f, 0xbc, 0xc1}, 64, FeatureSet{}).insn.row().mnemonic, "bsf");
    EXPECT_EQ(decode_bytes({0xf3, 0x0f, 0xb8, 0xc1}, 64, FeatureSet{}).status, DecodeStatus::kInvalid);
}

TEST(X86Decode, VexGeneralRegisters) {
    const Decoded d = decode_bytes({0xc4, 0xe2, 0xf0, 0xf2, 0xc3}); // andn rax, rcx, rbx
    ASSERT_EQ(d.status, DecodeStatus::kOk);
    EXPECT_EQ(d.insn.row().mnemonic, "andn");
    EXPECT_EQ(d.insn.operands[0].reg, kRax);
    EXPECT_EQ(d.insn.operands[1].reg, kRcx);
    EXPECT_EQ(d.insn.operands[2].reg, kRbx);
    EXPECT_EQ(d.insn.operands[0].size, 8);
    EXPECT_EQ(decode_bytes({0x66, 0xc4, 0xe2, 0xf0, 0xf2, 0xc3}).status, DecodeStatus::kInvalid);
}

TEST(X86Decode, EndOfBytesAndLengthLimit) {
    EXPECT_EQ(decode_bytes({0x81, 0xc0, 1, 2, 3}).status, DecodeStatus::kMoreBytes);
    EXPECT_EQ(decode_bytes({0x66}).status, DecodeStatus::kMoreBytes);
    const Decoded d = decode_bytes({0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90});
    EXPECT_EQ(d.status, DecodeStatus::kOk);
    EXPECT_EQ(d.insn.length, 15);
    EXPECT_EQ(decode_bytes({0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90}).status,
              DecodeStatus::kTooLong);
}

TEST(X86Decode, UndefinedOpcodes) {
    EXPECT_EQ(decode_bytes({0x0f, 0x04}).status, DecodeStatus::kInvalid);
    EXPECT_EQ(decode_bytes({0xfe, 0xd0}).status, DecodeStatus::kInvalid); // FE /2
    EXPECT_EQ(decode_bytes({0x8d, 0xc0}).status, DecodeStatus::kInvalid); // LEA of a register
    EXPECT_EQ(decode_bytes({0x62, 0xf1, 0x7c, 0x48, 0x28, 0xc1}).status, DecodeStatus::kInvalid); // EVEX
}

/// Every byte string decodes to something of at most 15 bytes, reads nothing behind them, and a longer window does not
/// change the answer.
TEST(X86Decode, AnyBytes) {
    std::uint64_t x = 88172645463325252ull;
    for (unsigned round = 0; round < 200000; round++) {
        std::uint8_t bytes[16];
        for (std::uint8_t &byte : bytes) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            byte = static_cast<std::uint8_t>(x >> 24);
        }
        DecodeMode mode;
        mode.code64 = round % 3 == 0;
        mode.code32 = round % 3 == 1;
        mode.features = FeatureSet::all();
        Insn whole, part;
        const DecodeStatus status = decode(bytes, sizeof bytes, mode, whole);
        ASSERT_NE(status, DecodeStatus::kMoreBytes);
        ASSERT_LE(whole.length, 15);
        if (status == DecodeStatus::kOk) {
            ASSERT_EQ(decode(bytes, whole.length, mode, part), DecodeStatus::kOk);
            ASSERT_EQ(part.length, whole.length);
            ASSERT_EQ(decode(bytes, whole.length - 1u, mode, part), DecodeStatus::kMoreBytes);
        }
    }
}

TEST(X86Decode, VexVectors) {
    const Decoded wide = decode_bytes({0xc4, 0xe3, 0x6d, 0x4a, 0x4b, 0x10, 0x35}); // vblendvps ymm1, ymm2, [rbx+16], ymm3
    ASSERT_EQ(wide.status, DecodeStatus::kOk);
    EXPECT_EQ(wide.insn.length, 7);
    EXPECT_EQ(wide.insn.operands[0].size, 32);
    EXPECT_EQ(wide.insn.operands[1].reg, 2);
    EXPECT_TRUE(wide.insn.operands[2].is_mem());
    EXPECT_EQ(wide.insn.operands[3].reg, 3);
    EXPECT_EQ(decode_bytes({0xc5, 0xe8, 0x28, 0xc1}).status, DecodeStatus::kInvalid) << "vmovaps has no second source";
    EXPECT_EQ(decode_bytes({0xc5, 0xfc, 0x12, 0xc1}).status, DecodeStatus::kInvalid) << "vmovhlps has no 256 bits";
    EXPECT_EQ(decode_bytes({0x66, 0xc5, 0xe8, 0x58, 0xc1}).status, DecodeStatus::kInvalid) << "a prefix before VEX";
    const Decoded fused = decode_bytes({0xc4, 0xe2, 0xe9, 0x98, 0xc1}, 32); // vfmadd132pd: W counts in 32-bit code
    ASSERT_EQ(fused.status, DecodeStatus::kOk);
    EXPECT_EQ(fused.insn.row().mnemonic, "vfmadd132pd");
}

TEST(X86Decode, VectorIndex) {
    const Decoded d = decode_bytes({0xc4, 0xe2, 0x71, 0x90, 0x44, 0xa3, 0x08}); // vpgatherdd xmm0, [rbx+xmm4*4+8], xmm1
    ASSERT_EQ(d.status, DecodeStatus::kOk);
    EXPECT_EQ(d.insn.mem.base, kRbx);
    EXPECT_EQ(d.insn.mem.index, 4) << "a vector, so 4 is no exception";
    EXPECT_EQ(d.insn.operands[2].reg, 1);
    EXPECT_EQ(decode_bytes({0xc4, 0xe2, 0x71, 0x90, 0x43, 0x08}).status, DecodeStatus::kInvalid) << "no SIB byte";
}

} // namespace
} // namespace rhea::target::x86
