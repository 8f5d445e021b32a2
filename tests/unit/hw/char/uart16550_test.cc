#include "hw/char/uart16550.h"

#include <gtest/gtest.h>
#include <string>

namespace rhea::hw {
namespace {

/// Takes up to `room` bytes, then none until more room is given.
class FakeBackend final : public core::CharBackend {
public:
    std::size_t write(std::span<const std::uint8_t> bytes) override {
        const std::size_t taken = std::min(room, bytes.size());
        sent.append(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
        room -= taken;
        return taken;
    }
    void set_front_end(FrontEnd front_end) override { device = std::move(front_end); }
    void accept_input() override { ++accepts; }
    std::string sent;
    std::size_t room = 1000;
    FrontEnd device;
    int accepts = 0;
};

class FakeIrq final : public core::IrqSink {
public:
    void set_irq(int, bool now) override { level = now; }
    bool level = false;
};

enum : unsigned { kData, kIer, kIir, kLcr, kMcr, kLsr, kMsr, kScr };

struct UartTest : testing::Test {
    UartTest() {
        clocks.use_manual_time();
        uart.connect_irq({irq, 0});
    }
    std::uint64_t in(unsigned reg) { return uart.registers().io_read(reg, 1); }
    void out(unsigned reg, std::uint64_t value) { uart.registers().io_write(reg, value, 1); }
    void receive(std::string_view text) {
        device().receive({reinterpret_cast<const std::uint8_t *>(text.data()), text.size()});
    }
    core::CharBackend::FrontEnd &device() { return backend.device; }
    core::Clocks clocks;
    FakeBackend backend;
    FakeIrq irq;
    Uart16550 uart{clocks, &backend};
};

TEST_F(UartTest, SendsAtOnceAndIsEmptyAgain) {
    EXPECT_EQ(in(kLsr), 0x60u);
    out(kData, 'x');
    EXPECT_EQ(backend.sent, "x");
    EXPECT_EQ(in(kLsr), 0x60u);
}

TEST_F(UartTest, ASlowBackEndLeavesTheTransmitterBusy) {
    out(kIer, 2);
    in(kIir);
    backend.room = 0;
    out(kData, 'x');
    EXPECT_EQ(in(kLsr) & 0x60, 0u);
    EXPECT_FALSE(irq.level);
    backend.room = 10;
    backend.device.on_writable();
    EXPECT_EQ(backend.sent, "x");
    EXPECT_EQ(in(kLsr) & 0x60, 0x60u);
    EXPECT_TRUE(irq.level);
    EXPECT_EQ(in(kIir) & 0xf, 2u);
    EXPECT_FALSE(irq.level) << "reading IIR clears the transmitter interrupt";
}

TEST_F(UartTest, EnablingTheTransmitterInterruptRequestsItWhenEmpty) {
    out(kIer, 2);
    EXPECT_TRUE(irq.level);
    EXPECT_EQ(in(kIir), 0x02u);
    EXPECT_EQ(in(kIir), 0x01u);
}

TEST_F(UartTest, ReceivesWithTriggerLevelAndTimeout) {
    out(kIir, 0x41); // FIFO, trigger at 4
    out(kIer, 1);
    receive("abc");
    EXPECT_FALSE(irq.level);
    clocks.advance(1'000'000'000);
    EXPECT_TRUE(irq.level) << "character timeout";
    EXPECT_EQ(in(kIir), 0xccu);
    EXPECT_EQ(in(kData), static_cast<unsigned>('a'));
    EXPECT_FALSE(irq.level);
    receive("de");
    EXPECT_EQ(in(kIir), 0xc4u) << "four bytes wait: trigger level";
    EXPECT_EQ(device().can_receive(), 12u);
}

TEST_F(UartTest, OverrunIsReportedOnce) {
    receive("a");
    receive("b");
    EXPECT_EQ(in(kLsr), 0x63u);
    EXPECT_EQ(in(kLsr), 0x61u);
    EXPECT_EQ(in(kData), static_cast<unsigned>('b')) << "without FIFO the newest character stays";
}

TEST_F(UartTest, LoopbackFeedsItselfAndModemLines) {
    out(kMcr, 0x1f);
    EXPECT_EQ(in(kMsr) & 0xf0, 0xf0u);
    out(kData, 'q');
    EXPECT_EQ(backend.sent, "");
    EXPECT_EQ(in(kData), static_cast<unsigned>('q'));
    EXPECT_EQ(device().can_receive(), 0u);
}

TEST_F(UartTest, DivisorLatchHidesDataRegisters) {
    out(kLcr, 0x83);
    out(kData, 0x34);
    out(kIer, 0x12);
    EXPECT_EQ(in(kData), 0x34u);
    EXPECT_EQ(in(kIer), 0x12u);
    out(kLcr, 0x03);
    EXPECT_EQ(in(kIer), 0u);
    EXPECT_EQ(backend.sent, "");
}

TEST_F(UartTest, StateSurvivesARoundTrip) {
    out(kIir, 0x81);
    out(kIer, 5);
    out(kScr, 0x77);
    receive("abcd");
    std::vector<std::uint8_t> bytes;
    auto writer = core::make_memory_writer(bytes);
    writer->section("uart", 1, [&](core::Archive &archive) { uart.serialize(archive); });
    uart.reset();
    auto reader = core::make_memory_reader(bytes);
    reader->section("uart", 1, [&](core::Archive &archive) { uart.serialize(archive); });
    ASSERT_TRUE(reader->ok());
    EXPECT_EQ(in(kScr), 0x77u);
    EXPECT_EQ(in(kIer), 5u);
    EXPECT_EQ(in(kData), static_cast<unsigned>('a'));
}

} // namespace
} // namespace rhea::hw
