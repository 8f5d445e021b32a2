// Upper halves of 256-bit registers that stay beside the lower ones: v1 lies behind v0, which is pinned.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "jit.h"
#include "tcg/backend/x64/disassemble.h"

namespace rhea::tcg::test {
namespace {

using ir::Builder;
using ir::Op;
using ir::ValueId;

class UpperHalf : public testing::Test {
  protected:
    TranslationBlock* compile(const std::function<void(Builder&)>& build, bool hot = false) {
        ir::Block block;
        Builder b(block, test_guest());
        block.hot = hot;
        b.insn_start(0, 4);
        build(b);
        b.emit(Op::exit_direct, Type::kNone, {}, 0, 0x40);
        EXPECT_EQ(ir::verify(block, test_guest()), "");
        return jit_.compile(block);
    }
    /// Each 64-bit lane of v1:v0 doubled.
    static void twice(Builder& b) {
        const ValueId whole = b.emit(Op::v_join, Type::kV256, {b.get(kV0), b.get(kV1)});
        const ValueId sum = b.emit(Op::paddq, Type::kV256, {whole, whole});
        b.set(kV0, b.emit(Op::v_low, Type::kV128, {sum}));
        b.set(kV1, b.emit(Op::v_high, Type::kV128, {sum}));
    }
    /// The same, r0 -= 1, and again while that is not 0.
    static void loop(Builder& b) {
        twice(b);
        const ValueId left = b.add_imm(b.get(kR0), -1);
        b.set(kR0, left);
        const ValueId flags = b.emit(Op::f_logic, Type::kI64, {left});
        b.set_flags(flags);
        b.emit(Op::br_cc, Type::kNone, {flags}, static_cast<std::uint16_t>(Cond::kNE), 0);
    }
    void fill() {
        for (unsigned n = 0; n < 4; ++n)
            v(n) = n + 1;
    }
    void expect(std::uint64_t factor) {
        for (unsigned n = 0; n < 4; ++n)
            EXPECT_EQ(v(n), (n + 1) * factor) << n;
    }
    void expect_lanes(const std::array<std::uint64_t, 4>& expected) {
        for (unsigned n = 0; n < 4; ++n)
            EXPECT_EQ(v(n), expected[n]) << n;
    }
    static unsigned count(const std::string& text, std::string_view what) {
        unsigned n = 0;
        for (std::size_t i = text.find(what); i != std::string::npos; i = text.find(what, i + 1))
            ++n;
        return n;
    }
    std::uint64_t& v(unsigned lane) { return machine_.state().v[lane / 2][lane % 2]; }
    std::uint64_t& r(unsigned n) { return machine_.state().r[n]; }

    Machine machine_;
    Jit jit_{3, 1};
};

TEST_F(UpperHalf, IsStoredOnceHoweverOftenItIsWritten) {
    TranslationBlock* tb = compile([](Builder& b) {
        twice(b);
        b.set(kR1, b.load(Type::kI64, b.get(kR2)));
        twice(b);
        twice(b);
    });
    ASSERT_TRUE(tb);
    EXPECT_EQ(count(x64::disassemble(tb->entry, tb->code_size), "vextracti128"), 1u);
    fill();
    r(2) = kRam;
    EXPECT_EQ(jit_.run(machine_, *tb), CodeExit::kChain);
    expect(8);
}

TEST_F(UpperHalf, AFaultFindsItWhereTheSlowPathSavedIt) {
    TranslationBlock* tb = compile([](Builder& b) {
        twice(b);
        b.set(kR1, b.load(Type::kI64, b.get(kR2)));
        twice(b);
    });
    ASSERT_TRUE(tb);
    fill();
    r(2) = 0x100; // no memory
    EXPECT_EQ(jit_.run(machine_, *tb), CodeExit::kException);
    expect(2);
}

TEST_F(UpperHalf, IsInMemoryWhereItsSlotIsReadAlone) {
    TranslationBlock* tb = compile([](Builder& b) {
        twice(b);
        const ValueId low = b.emit(Op::v_to_i64, Type::kI64, {b.get(kV1)});
        b.set(kR1, low);
    });
    ASSERT_TRUE(tb);
    fill();
    EXPECT_EQ(jit_.run(machine_, *tb), CodeExit::kChain);
    EXPECT_EQ(r(1), 6u);
    expect(2);
}

TEST_F(UpperHalf, StaysWhenOnlyTheLowerHalfIsWritten) {
    TranslationBlock* tb = compile([](Builder& b) {
        twice(b);
        b.set(kV0, b.emit(Op::paddq, Type::kV128, {b.get(kV0), b.get(kV0)}));
    });
    ASSERT_TRUE(tb);
    fill();
    EXPECT_EQ(jit_.run(machine_, *tb), CodeExit::kChain);
    expect_lanes({4, 8, 6, 8});
}

/// As VEXTRACTF128 xmm, ymm, 1 of one register.
TEST_F(UpperHalf, BecomesTheLowerOneOfItsOwnRegister) {
    TranslationBlock* tb = compile([](Builder& b) {
        twice(b);
        const ValueId high = b.get(kV1);
        b.set(kR1, b.load(Type::kI64, b.get(kR2)));
        b.set(kV0, high);
        b.set(kV1, b.emit(Op::v_zero, Type::kV128));
    });
    ASSERT_TRUE(tb);
    fill();
    r(2) = kRam;
    EXPECT_EQ(jit_.run(machine_, *tb), CodeExit::kChain);
    expect_lanes({6, 8, 0, 0});
}

TEST_F(UpperHalf, AHelperFindsItInMemoryAndKeepsNone) {
    TranslationBlock* tb = compile([](Builder& b) {
        twice(b);
        b.call(kFlipVector, Type::kNone); // v0 inverted
        twice(b);
    });
    ASSERT_TRUE(tb);
    fill();
    EXPECT_EQ(jit_.run(machine_, *tb), CodeExit::kChain);
    expect_lanes({2 * ~2ull, 2 * ~4ull, 12, 16});
}

TEST_F(UpperHalf, AHotLoopCarriesItInTheRegister) {
    TranslationBlock* tb = compile(loop, true);
    ASSERT_TRUE(tb);
    const std::string text = x64::disassemble(tb->entry, tb->code_size);
    EXPECT_EQ(count(text, "vinserti128"), 1u); // at the entry
    fill();
    r(0) = 50;
    EXPECT_EQ(jit_.run(machine_, *tb), CodeExit::kChain);
    expect(1ull << 50);
    fill();
    r(0) = 50;
    machine_.state().head.exit_request = 1;
    EXPECT_EQ(jit_.run(machine_, *tb), CodeExit::kNext);
    expect(2);
    EXPECT_EQ(r(0), 49u);
}

TEST_F(UpperHalf, ALoopWhoseHeadIsNotTheEntryLeavesWhenItIsRetired) {
    TranslationBlock* tb = compile(loop, true);
    ASSERT_TRUE(tb);
    r(0) = 1ull << 62;
    std::atomic<bool> done = false, late = false;
    std::thread other([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        jit_.generator().retire(*tb);
        for (int n = 0; n < 1000 && !done; ++n)
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        late = !done;
        std::atomic_ref(machine_.state().head.exit_request).store(1);
    });
    EXPECT_EQ(jit_.run(machine_, *tb), CodeExit::kNext);
    done = true;
    other.join();
    EXPECT_FALSE(late);
    EXPECT_EQ(machine_.state().head.pc, kCodePage);
}

}  // namespace
}  // namespace rhea::tcg::test
