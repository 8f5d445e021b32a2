#include "hw/char/uart16550.h"

#include <gtest/gtest.h>

#include "hw/char/uart16550_bits.h"
#include "rhea/core/archive.h"
#include "tests/support/fake_char.h"

namespace rhea::hw {
namespace {

using namespace uart;

enum Port : unsigned { kData, kIer, kIirFcr, kLcr, kMcr, kLsr, kMsr, kScr };

class UartTest : public ::testing::Test {
  protected:
    UartTest() {
        clocks.use_manual_time();
        uart.connect_irq(irq.line());
        uart.reset();
    }
    unsigned in(Port port) { return static_cast<unsigned>(uart.registers().io_read(port, 1)); }
    void out(Port port, unsigned value) { uart.registers().io_write(port, value, 1); }
    unsigned interrupt() { return in(kIirFcr)&0x0f; }

    core::Clocks clocks;
    test::FakeChar outside;
    test::FakeIrq irq;
    Uart16550 uart{clocks, &outside};
};

TEST_F(UartTest, ResetValuesAreThoseOfTableOne) {
    EXPECT_EQ(in(kIer), 0u);
    EXPECT_EQ(in(kIirFcr), 0x01u);
    EXPECT_EQ(in(kLcr), 0u);
    EXPECT_EQ(in(kMcr), 0u);
    EXPECT_EQ(in(kLsr), 0x60u);
    EXPECT_EQ(in(kMsr), 0xb0u);
    EXPECT_FALSE(irq.level);
}

TEST_F(UartTest, UnwritableBitsReadAsZero) {
    out(kIer, 0xff);
    EXPECT_EQ(in(kIer), 0x0fu);
    out(kMcr, 0xef);
    EXPECT_EQ(in(kMcr), 0x0fu);
    out(kScr, 0xa5);
    EXPECT_EQ(in(kScr), 0xa5u);
}

TEST_F(UartTest, DlabSelectsTheDivisorLatch) {
    out(kIer, 0x05);
    out(kLcr, 0x83);
    out(kData, 0x34);
    out(kIer, 0x12);
    EXPECT_EQ(in(kData), 0x34u);
    EXPECT_EQ(in(kIer), 0x12u);
    out(kLcr, 0x03);
    EXPECT_EQ(in(kIer), 0x05u);
    EXPECT_TRUE(outside.taken.empty());
}

TEST_F(UartTest, AFastBackEndTakesEachByteAtOnce) {
    out(kData, 'h');
    out(kData, 'i');
    EXPECT_EQ(outside.taken, "hi");
    EXPECT_EQ(in(kLsr), 0x60u);
}

TEST_F(UartTest, ASlowBackEndFillsShiftRegisterThenThr) {
    outside.room = 0;
    out(kData, 'a');  // goes on into the shift register
    EXPECT_EQ(in(kLsr), unsigned{kThre});
    out(kData, 'b');
    EXPECT_EQ(in(kLsr), 0u);
    out(kData, 'c');  // overwrites THR
    outside.make_room(1);
    EXPECT_EQ(in(kLsr), unsigned{kThre});
    outside.make_room(9);
    EXPECT_EQ(outside.taken, "ac");
    EXPECT_EQ(in(kLsr), 0x60u);
}

TEST_F(UartTest, ASlowBackEndFillsTheTransmitFifo) {
    out(kIirFcr, 0x01);
    out(kIer, kEtbei);
    EXPECT_EQ(interrupt(), kIirThrEmpty);
    outside.room = 0;
    for (int i = 0; i < 18; ++i) {
        out(kData, static_cast<unsigned>('a' + i));
    }
    EXPECT_EQ(in(kLsr), 0u);
    EXPECT_FALSE(irq.level);
    outside.make_room(16);
    EXPECT_EQ(in(kLsr), unsigned{kThre});
    EXPECT_TRUE(irq.level);
    outside.make_room(16);
    EXPECT_EQ(outside.taken, "abcdefghijklmnopq");  // 1 + 16; the full FIFO ignored the last
}

TEST_F(UartTest, ThreInterruptComesAgainAfterEachByte) {
    out(kIer, kEtbei);
    EXPECT_TRUE(irq.level);  // THR is empty already
    EXPECT_EQ(interrupt(), kIirThrEmpty);
    EXPECT_FALSE(irq.level);  // reading IIR cleared it
    EXPECT_EQ(interrupt(), kIirNone);
    out(kData, 'x');
    EXPECT_TRUE(irq.level);
    const unsigned rises = irq.rises;
    out(kData, 'y');  // clears the interrupt and raises a new one: an edge
    EXPECT_EQ(irq.rises, rises + 1);
}

TEST_F(UartTest, EnablingEtbeiAgainRaisesTheInterruptAgain) {
    for (int i = 0; i < 2; ++i) {
        out(kIer, 0);
        out(kIer, kEtbei);
        EXPECT_EQ(interrupt(), kIirThrEmpty);
        EXPECT_EQ(interrupt(), kIirNone);
    }
}

TEST_F(UartTest, ReadingIirForAnotherSourceKeepsTheThreInterrupt) {
    out(kIer, kErbfi | kEtbei);
    outside.send("q");
    EXPECT_EQ(interrupt(), kIirDataAvailable);
    EXPECT_EQ(in(kData), unsigned{'q'});
    EXPECT_EQ(interrupt(), kIirThrEmpty);
}

TEST_F(UartTest, InterruptPrioritiesAreThoseOfTableThree) {
    out(kIer, 0x0f);
    uart.set_modem_inputs(0);
    uart.receive_break();
    EXPECT_EQ(interrupt(), kIirLineStatus);
    EXPECT_EQ(in(kLsr)&kBi, unsigned{kBi});
    EXPECT_EQ(interrupt(), kIirDataAvailable);
    in(kData);
    EXPECT_EQ(interrupt(), kIirThrEmpty);
    EXPECT_EQ(interrupt(), kIirModemStatus);
    EXPECT_EQ(in(kMsr), 0x0bu);  // DCTS, DDSR, DDCD
    EXPECT_EQ(interrupt(), kIirNone);
    EXPECT_FALSE(irq.level);
}

TEST_F(UartTest, WithoutFifoOneByteIsTakenAtATime) {
    outside.send("ab");
    EXPECT_EQ(outside.waiting, "b");
    EXPECT_EQ(in(kLsr)&kDr, unsigned{kDr});
    EXPECT_EQ(in(kData), unsigned{'a'});
    EXPECT_EQ(outside.accept_calls, 1u);
    EXPECT_EQ(in(kData), unsigned{'b'});
    EXPECT_EQ(in(kLsr), 0x60u);
    EXPECT_EQ(in(kData), unsigned{'b'});  // nothing new arrived
}

TEST_F(UartTest, FifoInterruptsAtItsTriggerLevelOnly) {
    out(kIer, kErbfi);
    const struct {
        unsigned fcr;
        int level;
    } rows[] = {{0x01, 1}, {0x41, 4}, {0x81, 8}, {0xc1, 14}};
    for (const auto& row : rows) {
        out(kIirFcr, row.fcr | kRcvrFifoReset);
        for (int i = 1; i < row.level; ++i) {
            outside.send("x");
            EXPECT_FALSE(irq.level) << row.level << " after " << i;
        }
        outside.send("x");
        EXPECT_TRUE(irq.level) << row.level;
        EXPECT_EQ(in(kIirFcr), 0xc0u | kIirDataAvailable);
        in(kData);
        EXPECT_FALSE(irq.level) << row.level;
    }
}

TEST_F(UartTest, FifoTakesSixteenBytes) {
    out(kIirFcr, 0xc1);
    outside.send("0123456789abcdefgh");
    EXPECT_EQ(outside.waiting, "gh");
    for (const char c : std::string("0123456789abcdefgh")) {
        EXPECT_EQ(in(kData), static_cast<unsigned>(c));
    }
    EXPECT_EQ(in(kLsr)&kOe, 0u);
}

TEST_F(UartTest, CharacterTimeOutAfterFourCharacterTimes) {
    out(kLcr, 0x83);
    out(kData, 1);  // 115200 baud
    out(kIer, 0);
    out(kLcr, 0x03);  // 8N1: ten bits
    out(kIirFcr, 0xc1);
    out(kIer, kErbfi);
    outside.send("ab");
    const std::int64_t four = 4 * 10 * core::kNanosecondsPerSecond / 115200;
    clocks.advance(four - 1);
    EXPECT_FALSE(irq.level);
    clocks.advance(2);
    EXPECT_TRUE(irq.level);
    EXPECT_EQ(interrupt(), kIirTimeout);
    outside.send("c");  // only a read clears it
    EXPECT_EQ(interrupt(), kIirTimeout);
    in(kData);
    EXPECT_FALSE(irq.level);
    clocks.advance(four + 1);
    EXPECT_EQ(interrupt(), kIirTimeout);
    in(kData);
    in(kData);
    clocks.advance(10 * four);
    EXPECT_FALSE(irq.level);
}

TEST_F(UartTest, LoopbackReturnsBytesAndNothingGoesOut) {
    out(kMcr, kLoop);
    out(kIirFcr, 0x01);
    out(kData, 0x5a);
    EXPECT_EQ(in(kLsr), 0x61u);
    EXPECT_EQ(in(kData), 0x5au);
    EXPECT_TRUE(outside.taken.empty());
    outside.send("z");
    EXPECT_EQ(outside.waiting, "z");
    out(kMcr, 0);
    EXPECT_EQ(in(kData), unsigned{'z'});
}

TEST_F(UartTest, LoopbackOverrunSetsOe) {
    out(kIer, kElsi);
    out(kMcr, kLoop);
    out(kData, 1);
    EXPECT_FALSE(irq.level);
    out(kData, 2);
    EXPECT_EQ(interrupt(), kIirLineStatus);
    EXPECT_EQ(in(kLsr)&kOe, unsigned{kOe});
    EXPECT_EQ(in(kLsr)&kOe, 0u);
    EXPECT_EQ(in(kData), 2u);  // without FIFO the old character is lost
    out(kIirFcr, 0x01);
    for (unsigned i = 0; i < 17; ++i) {
        out(kData, i);
    }
    EXPECT_EQ(in(kLsr)&kOe, unsigned{kOe});
    EXPECT_EQ(in(kData), 0u);  // with FIFO the new one
}

TEST_F(UartTest, LoopbackWiresModemOutputsToInputs) {
    const struct {
        unsigned mcr, msr;
    } rows[] = {{kDtr, kDsr}, {kRts, kCts}, {kOut1, kRi}, {kOut2, kDcd}, {0x0f, 0xf0}, {0, 0}};
    for (const auto& row : rows) {
        out(kMcr, kLoop | row.mcr);
        EXPECT_EQ(in(kMsr)&kModemLines, row.msr);
    }
}

TEST_F(UartTest, RingIndicatorCountsAtItsTrailingEdge) {
    uart.set_modem_inputs(kRi);
    EXPECT_EQ(in(kMsr)&kTeri, 0u);
    uart.set_modem_inputs(0);
    EXPECT_EQ(in(kMsr)&kTeri, unsigned{kTeri});
    EXPECT_EQ(in(kMsr), 0u);
}

TEST_F(UartTest, BreakShowsWhenItsCharacterIsAtTheTop) {
    out(kIirFcr, 0x01);
    outside.send("a");
    uart.receive_break();
    EXPECT_EQ(in(kLsr), 0x61u | kErrorInFifo);
    EXPECT_EQ(in(kData), unsigned{'a'});
    EXPECT_EQ(in(kLsr), 0x61u | kBi | kErrorInFifo);
    EXPECT_EQ(in(kLsr), 0x61u);
    EXPECT_EQ(in(kData), 0u);
}

TEST_F(UartTest, ChangingTheFifoModeClearsBothFifos) {
    out(kIirFcr, 0x01);
    outside.room = 0;
    out(kData, 'a');
    out(kData, 'b');
    outside.send("xy");
    out(kIirFcr, 0x00);
    EXPECT_EQ(in(kLsr), unsigned{kThre});  // the shift register goes on
    EXPECT_EQ(in(kIirFcr)&0xc0u, 0u);
    outside.make_room(5);
    EXPECT_EQ(outside.taken, "a");
}

TEST_F(UartTest, FcrBitsWithoutBitZeroDoNothing) {
    outside.send("x");
    out(kIirFcr, kRcvrFifoReset);
    EXPECT_EQ(in(kLsr)&kDr, unsigned{kDr});
}

TEST_F(UartTest, NoBackEndDiscardsOutput) {
    uart.connect(nullptr);
    out(kData, 'x');
    EXPECT_EQ(in(kLsr), 0x60u);
}

TEST_F(UartTest, IndexGivesPortAndInterruptUnlessToldOtherwise) {
    EXPECT_EQ(uart.iobase(), 0x3f8u);
    EXPECT_EQ(uart.irq(), 4u);
    ASSERT_TRUE(uart.properties().set("index", "1"));
    EXPECT_EQ(uart.iobase(), 0x2f8u);
    EXPECT_EQ(uart.irq(), 3u);
    ASSERT_TRUE(uart.properties().set("iobase", "0x220"));
    ASSERT_TRUE(uart.properties().set("irq", "7"));
    EXPECT_EQ(uart.iobase(), 0x220u);
    EXPECT_EQ(uart.irq(), 7u);
    EXPECT_FALSE(uart.properties().set("index", "4"));
    EXPECT_FALSE(uart.properties().set("irq", "16"));
    EXPECT_FALSE(uart.properties().set("iobase", "0xfffc"));
}

TEST_F(UartTest, AWideAccessIsOneByteAPort) {
    auto root = core::MemoryRegion::container("io", 0x10000);
    core::AddressSpace io("io", *root);
    uart.map(*root, 0x3f8);
    EXPECT_EQ(io.load(0x3fc, 2), 0x6000u);  // MCR, LSR
}

TEST_F(UartTest, StateSurvivesSavingAndRestoring) {
    out(kLcr, 0x03);
    out(kIirFcr, 0xc1);
    out(kIer, kErbfi | kEtbei);
    outside.room = 1;
    out(kData, 'A');
    out(kData, 'B');
    out(kData, 'C');
    outside.send("xyz");
    std::vector<std::uint8_t> saved;
    uart.serialize(*core::make_memory_writer(saved));

    test::FakeChar other_outside;
    test::FakeIrq other_irq;
    Uart16550 other(clocks, &other_outside);
    other.connect_irq(other_irq.line());
    auto reader = core::make_memory_reader(saved);
    other.serialize(*reader);
    ASSERT_TRUE(reader->ok()) << reader->status().error().message();
    EXPECT_EQ(other_outside.taken, "BC");
    for (const char c : std::string("xyz")) {
        EXPECT_EQ(other.registers().io_read(kData, 1), static_cast<unsigned>(c));
    }
    EXPECT_EQ(other.registers().io_read(kIer, 1), unsigned{kErbfi | kEtbei});
}

}  // namespace
}  // namespace rhea::hw
