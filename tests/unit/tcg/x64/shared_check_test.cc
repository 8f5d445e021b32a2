// Accesses off one base share a TLB check: what comes out, where they cross a page, and what ends the sharing.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "jit.h"
#include "rhea/tcg/passes.h"
#include "tcg/backend/x64/disassemble.h"

namespace rhea::tcg::test {
namespace {

using ir::Builder;
using ir::Op;
using ir::ValueId;

class SharedCheck : public testing::Test {
  protected:
    TranslationBlock* compile(const std::function<void(Builder&)>& build, bool exit = true,
                              bool hot = false) {
        ir::Block block;
        block.hot = hot;
        Builder b(block, test_guest());
        b.insn_start(0, 4);
        build(b);
        if (exit)
            b.emit(Op::exit_direct, Type::kNone, {}, 0, 0x40);
        EXPECT_EQ(ir::verify(block, test_guest()), "");
        passes::run(block, test_guest());
        return jit_.compile(block);
    }
    std::uint64_t& r(unsigned n) { return machine_.state().r[n]; }
    /// A quadword of the machine's memory, aligned or not.
    struct Place {
        std::uint8_t* host;
        operator std::uint64_t() const {
            std::uint64_t value;
            std::memcpy(&value, host, sizeof value);
            return value;
        }
        std::uint64_t operator=(std::uint64_t value) {
            std::memcpy(host, &value, sizeof value);
            return value;
        }
    };
    Place at(std::uint64_t address) { return {machine_.ram(address)}; }
    static unsigned count(const std::string& text, std::string_view what) {
        unsigned n = 0;
        for (std::size_t i = text.find(what); i != std::string::npos; i = text.find(what, i + 1))
            ++n;
        return n;
    }
    static unsigned checks(const TranslationBlock& block) {
        return count(Jit::hot_path(block), "bextr");
    }
    /// r0 += [r2], [r2 + 8] := r0, r1 := [r2 + 16]
    static void three(Builder& b) {
        const ValueId base = b.get(kR2);
        const ValueId sum = b.add(b.get(kR0), b.load(Type::kI64, base));
        b.store(b.add_imm(base, 8), sum);
        const ValueId last = b.load(Type::kI64, b.add_imm(base, 16));
        b.set(kR0, sum);
        b.set(kR1, last);
    }
    void expect_three(TranslationBlock& block, std::uint64_t base) {
        at(base) = 40;
        at(base + 8) = 0;
        at(base + 16) = 7;
        r(0) = 2;
        r(2) = base;
        machine_.slow_loads = machine_.slow_stores = 0;
        EXPECT_EQ(jit_.run(machine_, block), CodeExit::kChain);
        EXPECT_EQ(r(0), 42u);
        EXPECT_EQ(at(base + 8), 42u);
        EXPECT_EQ(r(1), 7u);
    }

    Machine machine_;
    Jit jit_{3, 1};
};

TEST_F(SharedCheck, OneCheckForAPage) {
    TranslationBlock* block = compile(three);
    ASSERT_TRUE(block);
    EXPECT_EQ(checks(*block), 1u);
    expect_three(*block, kRam + 0x100); // fills the TLB
    expect_three(*block, kRam + 0x100);
    EXPECT_EQ(machine_.slow_loads + machine_.slow_stores, 0u);
}

TEST_F(SharedCheck, WhereTheyCrossAPageEachLooksForItself) {
    TranslationBlock* block = compile(three);
    ASSERT_TRUE(block);
    for (unsigned into = 0; into <= 32; into += 8) {
        for (int round = 0; round < 3; ++round)
            expect_three(*block, kRam + 0x2000 - into);
        // None of the three lies in two pages: their slow paths find them in the TLB.
        EXPECT_EQ(machine_.slow_loads + machine_.slow_stores, 0u) << into;
    }
}

TEST_F(SharedCheck, InAHotBlockEachThenChecksInline) {
    TranslationBlock* block = compile(three, true, true);
    ASSERT_TRUE(block);
    EXPECT_EQ(checks(*block), 1u);
    EXPECT_EQ(count(x64::disassemble(block->entry, block->code_size), "bextr"), 4u);
    for (unsigned into = 0; into <= 40; into += 4) { // some cross by themselves
        for (int round = 0; round < 3; ++round)
            expect_three(*block, kRam + 0x2000 - into);
    }
    const std::uint64_t base = kReadOnlyPage - 8;
    at(base) = 40;
    r(0) = 2;
    r(2) = base;
    EXPECT_EQ(jit_.run(machine_, *block), CodeExit::kException);
    EXPECT_EQ(r(0), 2u);
}

TEST_F(SharedCheck, InAHotBlockAlignmentIsLookedAtAgain) {
    TranslationBlock* block = compile(
        [](Builder& b) {
            const ValueId first = b.load(Type::kV128, b.get(kR2), kMemAlign16);
            b.store(b.add_imm(b.get(kR2), 16), first, kMemAlign16);
        },
        true, true);
    ASSERT_TRUE(block);
    for (const std::uint64_t base : {kRam + 0x1000, kRam + 0x1ff0}) {
        at(base) = 7;
        at(base + 16) = 0;
        r(2) = base;
        EXPECT_EQ(jit_.run(machine_, *block), CodeExit::kChain);
        EXPECT_EQ(at(base + 16), 7u);
        r(2) = base + 8;
        EXPECT_EQ(jit_.run(machine_, *block), CodeExit::kException);
        machine_.state().head.exception_pending = 0;
    }
}

TEST_F(SharedCheck, AFaultOfALaterOneIsPrecise) {
    TranslationBlock* block = compile(three);
    ASSERT_TRUE(block);
    const std::uint64_t base = kReadOnlyPage - 8; // the store is to the page that is not writable
    at(base) = 40;
    r(0) = 2;
    r(2) = base;
    EXPECT_EQ(jit_.run(machine_, *block), CodeExit::kException);
    EXPECT_EQ(r(0), 2u);
    EXPECT_EQ(machine_.state().head.pc, kCodePage);
}

TEST_F(SharedCheck, AStoreBehindAnExitChecksForItself) {
    // A page that is only ever read must not be asked for writing because a store could follow.
    TranslationBlock* block = compile([](Builder& b) {
        const ValueId base = b.get(kR2);
        b.set(kR0, b.load(Type::kI64, base));
        b.emit(Op::br_nz, Type::kNone, {b.trunc(b.get(kR1), Type::kI8)}, 0, 0x80);
        b.store(b.add_imm(base, 8), b.get(kR0));
    });
    ASSERT_TRUE(block);
    EXPECT_EQ(checks(*block), 2u);
    r(1) = 1;
    r(2) = kReadOnlyPage;
    for (int round = 0; round < 2; ++round) {
        machine_.slow_loads = 0;
        EXPECT_EQ(jit_.run(machine_, *block), CodeExit::kChain);
    }
    EXPECT_EQ(machine_.slow_loads, 0u);
}

TEST_F(SharedCheck, AHelperEndsTheGroup) {
    TranslationBlock* block = compile([](Builder& b) {
        const ValueId base = b.get(kR2);
        const ValueId first = b.load(Type::kI64, base);
        b.call(kSum, Type::kI64, {first});
        b.set(kR0, b.load(Type::kI64, b.add_imm(base, 8)));
    });
    ASSERT_TRUE(block);
    EXPECT_EQ(count(jit_.generator().disassemble(*block), "bextr"), 2u);
}

TEST_F(SharedCheck, WhatRanInASlowPathEndsTheSharing) {
    // The device's callback takes the page away, as a write that moves a memory region does.
    TranslationBlock* block = compile([](Builder& b) {
        const ValueId base = b.get(kR2);
        const ValueId first = b.load(Type::kI64, base);
        b.store(b.get(kR1), first);
        b.set(kR0, b.load(Type::kI64, b.add_imm(base, 8)));
    });
    ASSERT_TRUE(block);
    r(1) = kDevicePage;
    r(2) = kRam + 0x100;
    EXPECT_EQ(jit_.run(machine_, *block), CodeExit::kChain);
    machine_.flush_on_device_write = true;
    machine_.slow_loads = 0;
    EXPECT_EQ(jit_.run(machine_, *block), CodeExit::kChain);
    EXPECT_EQ(machine_.slow_loads, 1u);
}

TEST_F(SharedCheck, ManyGroupsAreMoreThanRegisters) {
    TranslationBlock* block = compile([](Builder& b) {
        ValueId sum = b.konst(Type::kI64, 0);
        for (const int offset : {0, 8, 16}) {
            for (const SlotId base : {kR3, kR4, kR5, kR6})
                sum = b.add(sum, b.load(Type::kI64, b.add_imm(b.get(base), offset)));
        }
        b.set(kR0, sum);
    });
    ASSERT_TRUE(block);
    EXPECT_EQ(checks(*block), 4u);
    std::uint64_t expected = 0;
    for (unsigned n = 0; n < 4; ++n) {
        r(3 + n) = kRam + 0x1000 * n + 0xff0 - 8 * n; // some cross
        for (unsigned word = 0; word < 3; ++word)
            expected += at(r(3 + n) + 8 * word) = 100 * n + word;
    }
    for (int round = 0; round < 3; ++round) {
        r(0) = 0;
        EXPECT_EQ(jit_.run(machine_, *block), CodeExit::kChain);
        EXPECT_EQ(r(0), expected);
    }
}

TEST_F(SharedCheck, AScalarGoesStraightToItsVectorRegister) {
    TranslationBlock* block = compile([](Builder& b) {
        const ValueId base = b.get(kR2);
        const ValueId v = b.emit(Op::v_from_i64, Type::kV128, {b.load(Type::kI64, base)});
        b.set(kV0, v);
        b.store(b.add_imm(base, 8), b.emit(Op::v_to_i64, Type::kI64, {v}));
    });
    ASSERT_TRUE(block);
    const std::string text = Jit::hot_path(*block);
    EXPECT_EQ(count(text, "vmovq xmm0, qword ptr"), 1u) << text;
    EXPECT_EQ(count(text, ", xmm0"), 1u) << text;
    r(2) = kRam + 0xff8; // the store is in the next page
    at(r(2)) = 0x123456789abcdef0;
    for (int round = 0; round < 2; ++round) {
        at(r(2) + 8) = 0;
        EXPECT_EQ(jit_.run(machine_, *block), CodeExit::kChain);
        EXPECT_EQ(machine_.state().v[0][0], 0x123456789abcdef0u);
        EXPECT_EQ(machine_.state().v[0][1], 0u);
        EXPECT_EQ(at(r(2) + 8), 0x123456789abcdef0u);
    }
}

}  // namespace
}  // namespace rhea::tcg::test
