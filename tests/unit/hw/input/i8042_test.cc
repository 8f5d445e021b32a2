#include "hw/input/i8042.h"

#include <gtest/gtest.h>

#include "hw/input/a20_gate.h"
#include "hw/input/port92.h"
#include "tests/support/fake_ports.h"

namespace rhea::hw {
namespace {

using Bytes = std::vector<unsigned>;

class I8042Test : public ::testing::Test {
  protected:
    I8042Test() {
        controller.map(*io.root);
        fast.map(*io.root);
        controller.reset();
    }

    void command(unsigned value) { io.store(0x64, value); }
    void command(unsigned value, unsigned data) {
        io.store(0x64, value);
        io.store(0x60, data);
    }
    void keyboard(unsigned byte) { io.store(0x60, byte); }
    void mouse(unsigned byte) { command(0xd4, byte); }
    /// All bytes that are ready.
    Bytes drain() {
        Bytes bytes;
        while (io.load(0x64) & 1) {
            bytes.push_back(static_cast<unsigned>(io.load(0x60)));
        }
        return bytes;
    }

    test::FakeSpace io{"io", 0x10000};
    test::FakeRequests requests;
    test::FakeIrqSink irq;
    std::vector<bool> a20_changes;
    A20Gate a20{[this](bool open) { a20_changes.push_back(open); }};
    I8042 controller{{requests, irq.line(1), irq.line(12), a20.line()}};
    Port92 fast{requests, a20.line()};
};

TEST_F(I8042Test, SelfTestsAndIdentification) {
    EXPECT_EQ(io.load(0x64), 0x10u);
    command(0xaa);
    EXPECT_EQ(drain(), Bytes{0x55});
    EXPECT_EQ(io.load(0x64) & 0x0c, 0x0cu) << "system flag, command written";
    command(0xab);
    EXPECT_EQ(drain(), Bytes{0});
    command(0xa9);
    EXPECT_EQ(drain(), Bytes{0});
    keyboard(0xff);
    EXPECT_EQ(drain(), (Bytes{0xfa, 0xaa}));
    keyboard(0xf2);
    EXPECT_EQ(drain(), (Bytes{0xfa, 0xab, 0x83}));
    mouse(0xff);
    EXPECT_EQ(drain(), (Bytes{0xfa, 0xaa, 0x00}));
    mouse(0xf2);
    EXPECT_EQ(drain(), (Bytes{0xfa, 0x00}));
    keyboard(0xee);
    EXPECT_EQ(drain(), Bytes{0xee});
    keyboard(0x12);
    EXPECT_EQ(drain(), Bytes{0xfe});
}

TEST_F(I8042Test, KeysTranslatedAndNot) {
    controller.keyboard().key(0x1e, true);  // A
    controller.keyboard().key(0x1e, false);
    EXPECT_EQ(drain(), (Bytes{0x1c, 0xf0, 0x1c}));
    command(0x60, 0x43);  // translate
    controller.keyboard().key(0x1e, true);
    controller.keyboard().key(0x1e, false);
    controller.keyboard().key(0xe048, true);  // cursor up
    controller.keyboard().key(0xe048, false);
    EXPECT_EQ(drain(), (Bytes{0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8}));
    controller.keyboard().key(0x41, true);  // F7, whose set 2 code is above 0x7f
    EXPECT_EQ(drain(), Bytes{0x41});
    controller.keyboard().key(kKeyPause, true);
    EXPECT_EQ(drain(), (Bytes{0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5}));
    controller.keyboard().key(kKeyPrintScreen, false);
    EXPECT_EQ(drain(), (Bytes{0xe0, 0xb7, 0xe0, 0xaa}));
    keyboard(0xf2);
    EXPECT_EQ(drain(), (Bytes{0xfa, 0xab, 0x41})) << "as every translating controller says";
}

TEST_F(I8042Test, EverySetOneKeySurvivesTranslation) {
    command(0x60, 0x43);
    for (unsigned key = 1; key < 0x59; ++key) {
        if (key == 0x55) {
            continue;  // no such key on PC keyboards, though set 2 has a code
        }
        controller.keyboard().key(static_cast<KeyNumber>(key), true);
        controller.keyboard().key(static_cast<KeyNumber>(0xe000 | key), false);
        if (key == 0x37 || key == 0x46) {
            drain();
            continue;
        }
        EXPECT_EQ(drain(), (Bytes{key, 0xe0, key | 0x80}));
    }
}

TEST_F(I8042Test, ScanCodeSets) {
    keyboard(0xf0);
    keyboard(0);
    EXPECT_EQ(drain(), (Bytes{0xfa, 0xfa, 2}));
    keyboard(0xf0);
    keyboard(1);
    drain();
    controller.keyboard().key(0x1e, false);
    EXPECT_EQ(drain(), Bytes{0x9e});
    keyboard(0xf0);
    keyboard(3);
    drain();
    controller.keyboard().key(0xe01d, true);  // right Ctrl
    controller.keyboard().key(0xe01d, false);
    controller.keyboard().key(0x1e, true);
    controller.keyboard().key(0x1e, false);  // no break in set 3's default mode
    EXPECT_EQ(drain(), (Bytes{0x58, 0xf0, 0x58, 0x1c}));
    keyboard(0xf8);
    drain();
    controller.keyboard().key(0x1e, false);
    EXPECT_EQ(drain(), (Bytes{0xf0, 0x1c}));
    keyboard(0xf0);
    keyboard(4);
    EXPECT_EQ(drain(), (Bytes{0xfa, 0xfe}));
}

TEST_F(I8042Test, LedsAndArguments) {
    keyboard(0xed);
    keyboard(0x05);
    EXPECT_EQ(drain(), (Bytes{0xfa, 0xfa}));
    EXPECT_EQ(controller.keyboard().leds(), 5);
    keyboard(0xf3);
    keyboard(0xf2);  // a command instead of an argument is a command
    EXPECT_EQ(drain(), (Bytes{0xfa, 0xfa, 0xab, 0x83}));
    keyboard(0xfe);
    EXPECT_EQ(drain(), Bytes{0x83}) << "resend";
}

TEST_F(I8042Test, InterruptsFollowTheOutputBuffer) {
    controller.keyboard().key(0x1e, true);
    EXPECT_TRUE(irq.level(1));
    io.load(0x60);
    EXPECT_FALSE(irq.level(1));
    command(0x60, 0x02);
    controller.keyboard().key(0x1e, true);
    EXPECT_FALSE(irq.level(1));
    command(0x60, 0x03);
    EXPECT_TRUE(irq.level(1)) << "enabled while the buffer is full";
    drain();
    controller.keyboard().key(0x1e, true);
    controller.keyboard().key(0x1e, false);
    const int before = irq.rises[1];
    EXPECT_EQ(drain().size(), 3u);
    EXPECT_EQ(irq.rises[1], before + 2) << "an edge for each byte";
    mouse(0xf4);
    EXPECT_TRUE(irq.level(12));
    EXPECT_EQ(io.load(0x64) & 0x21, 0x21u);
    drain();
    EXPECT_FALSE(irq.level(12));
}

TEST_F(I8042Test, DisabledKeyboardHoldsItsBytes) {
    command(0xad);
    controller.keyboard().key(0x1e, true);
    EXPECT_TRUE(drain().empty());
    command(0xae);
    EXPECT_EQ(drain(), Bytes{0x1c});
    keyboard(0xf5);  // scanning off
    drain();
    controller.keyboard().key(0x1e, true);
    EXPECT_TRUE(drain().empty());
}

TEST_F(I8042Test, FullBufferGivesTheOverrunCodeOnce) {
    command(0xad);
    for (int i = 0; i < 100; ++i) {
        controller.keyboard().key(0x1e, true);
    }
    command(0xae);
    const Bytes bytes = drain();
    ASSERT_EQ(bytes.size(), 16u);
    EXPECT_EQ(bytes.back(), 0u);
    controller.keyboard().key(0x1e, true);
    EXPECT_EQ(drain(), Bytes{0x1c});
}

TEST_F(I8042Test, CommandByteAndRam) {
    command(0x60, 0x61);
    command(0x20);
    EXPECT_EQ(drain(), Bytes{0x61});
    command(0xa8);
    command(0x20);
    EXPECT_EQ(drain(), Bytes{0x41});
    command(0xa7);
    command(0x20);
    EXPECT_EQ(drain(), Bytes{0x61});
    command(0x65, 0x99);
    command(0x25);
    EXPECT_EQ(drain(), Bytes{0x99});
    command(0xd2, 0x77);
    EXPECT_EQ(io.load(0x64) & 0x21, 0x01u);
    EXPECT_EQ(drain(), Bytes{0x77});
    command(0xd3, 0x78);
    EXPECT_EQ(io.load(0x64) & 0x21, 0x21u);
    EXPECT_EQ(drain(), Bytes{0x78});
}

TEST_F(I8042Test, A20FromBothSides) {
    EXPECT_TRUE(a20.open());
    command(0xd1, 0xdd);
    EXPECT_FALSE(a20.open());
    command(0xd0);
    EXPECT_EQ(drain(), Bytes{0xdd & ~0x30u});
    command(0xd1, 0xdf);
    EXPECT_TRUE(a20.open());
    io.store(0x92, 0);
    EXPECT_FALSE(a20.open());
    io.store(0x92, 2);
    EXPECT_EQ(io.load(0x92), 2u);
    command(0xdd);
    command(0xdf);
    EXPECT_EQ(a20_changes, (std::vector<bool>{false, true, false, true, false, true}));
    EXPECT_TRUE(requests.resets.empty());
}

TEST_F(I8042Test, ResetsTheMachine) {
    command(0xff);
    command(0xf1);
    EXPECT_TRUE(requests.resets.empty());
    command(0xfe);
    EXPECT_EQ(requests.resets.size(), 1u);
    command(0xd1, 0x02);
    EXPECT_EQ(requests.resets.size(), 2u);
    io.store(0x92, 1);
    EXPECT_EQ(requests.resets.size(), 3u);
    EXPECT_EQ(requests.resets[0], core::ShutdownCause::kGuestReset);
}

TEST_F(I8042Test, MousePackets) {
    controller.mouse().move(1, 1, 0, 0);
    EXPECT_TRUE(drain().empty()) << "reporting is off at first";
    mouse(0xf4);
    drain();
    controller.mouse().move(5, 3, 0, Ps2Mouse::kLeft);
    EXPECT_EQ(drain(), (Bytes{0x29, 0x05, 0xfd}));
    controller.mouse().move(-300, 0, 0, Ps2Mouse::kLeft);
    EXPECT_EQ(drain(), (Bytes{0x19, 0x01, 0x00, 0x19, 0xd3, 0x00})) << "in two packets";
    controller.mouse().move(0, 0, 0, 0);
    EXPECT_EQ(drain(), (Bytes{0x08, 0, 0}));
    controller.mouse().move(0, 0, 0, 0);
    EXPECT_TRUE(drain().empty());
    mouse(0xe9);
    EXPECT_EQ(drain(), (Bytes{0xfa, 0x20, 2, 100}));
}

TEST_F(I8042Test, WheelMouse) {
    for (const unsigned rate : {200u, 100u, 80u}) {
        mouse(0xf3);
        mouse(rate);
    }
    drain();
    mouse(0xf2);
    EXPECT_EQ(drain(), (Bytes{0xfa, 3}));
    mouse(0xf4);
    drain();
    controller.mouse().move(0, 0, -1, 0);
    EXPECT_EQ(drain(), (Bytes{0x08, 0, 0, 0xff}));
    for (const unsigned rate : {200u, 200u, 80u}) {
        mouse(0xf3);
        mouse(rate);
    }
    drain();
    mouse(0xf2);
    EXPECT_EQ(drain(), (Bytes{0xfa, 4}));
    controller.mouse().move(0, 0, 1, Ps2Mouse::kSide);
    EXPECT_EQ(drain(), (Bytes{0x08, 0, 0, 0x11}));
}

TEST_F(I8042Test, MouseWrapAndRemoteModes) {
    mouse(0xee);
    drain();
    mouse(0x42);
    EXPECT_EQ(drain(), Bytes{0x42});
    mouse(0xec);
    EXPECT_EQ(drain(), Bytes{0xfa});
    mouse(0xf0);
    mouse(0xf4);
    drain();
    controller.mouse().move(7, 0, 0, 0);
    EXPECT_TRUE(drain().empty());
    mouse(0xeb);
    EXPECT_EQ(drain(), (Bytes{0xfa, 0x08, 7, 0}));
}

}  // namespace
}  // namespace rhea::hw
