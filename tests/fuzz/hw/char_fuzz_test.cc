// Random accesses to the character devices and the debug exit port, with input, a back end that
// stops and goes, time, resets and breaks in between.
#include <gtest/gtest.h>

#include "hw/char/debugcon.h"
#include "hw/char/uart16550.h"
#include "hw/misc/debug_exit.h"
#include "tests/support/fake_char.h"
#include "tests/support/fake_ports.h"
#include "tests/support/io_fuzz.h"

namespace rhea::hw {
namespace {

using test::FuzzRandom;

void stop_and_go(test::FakeChar& outside, FuzzRandom& random) {
    outside.taken.clear();
    outside.room = 0;
    if (random() % 2 == 0) {
        outside.make_room(random() % 40);
    }
}

TEST(CharFuzz, Uart16550) {
    static constexpr std::string_view kText = "0123456789abcdefghijklmnopqrstuvwxyz";
    test::FakeSpace io("io", 0x10000);
    core::Clocks clocks;
    clocks.use_manual_time();
    test::FakeChar outside, other_outside;
    test::FakeIrq irq, other_irq;
    Uart16550 uart(clocks, &outside), other(clocks, &other_outside);
    uart.connect_irq(irq.line());
    other.connect_irq(other_irq.line());
    uart.map(*io.root, 0x3f8);
    test::hammer("isa-serial", {{io.space, 0x3f8, 8, 8}}, [&](FuzzRandom& random) {
        if (random() % 8 == 0 && outside.waiting.size() < 100) {
            outside.send(kText.substr(0, random() % kText.size()));
        }
        if (random() % 16 == 0) {
            stop_and_go(outside, random);
        }
        if (random() % 16 == 0) {
            clocks.advance(static_cast<std::int64_t>(random() % 2'000'000));
        }
        if (random() % 64 == 0) {
            uart.receive_break();
        }
        if (random() % 64 == 0) {
            uart.set_modem_inputs(static_cast<std::uint8_t>(random()));
        }
        if (random() % 1024 == 0) {
            uart.reset();
        }
        ASSERT_LE(uart.can_receive(), Uart16550::kFifoSize);
        if (random() % 16 == 0) {
            // "None" in IIR and a low wire are the same thing (reading it may lower the wire).
            const bool none = (io.load(0x3fa) & 1) != 0;
            ASSERT_TRUE(!none || !irq.level);
            ASSERT_TRUE(none || irq.level || (io.load(0x3fa) & 1) != 0);
        }
    });
    outside.room = 0;
    other_outside.room = 0;
    test::expect_state_round_trip(uart, other);
}

TEST(CharFuzz, Debugcon) {
    test::FakeSpace io("io", 0x10000);
    test::FakeChar outside, other_outside;
    DebugConsole console(&outside, *io.root), other(&other_outside, *io.root);
    ASSERT_TRUE(console.realize());
    test::hammer("isa-debugcon", {{io.space, 0xe8, 4, 8}}, [&](FuzzRandom& random) {
        if (random() % 16 == 0) {
            stop_and_go(outside, random);
        }
    });
    other_outside.room = 0;
    test::expect_state_round_trip(console, other);
}

TEST(CharFuzz, DebugExit) {
    test::FakeSpace io("io", 0x10000);
    test::FakeRequests requests;
    DebugExit device(requests, *io.root);
    ASSERT_TRUE(device.realize());
    test::hammer("isa-debug-exit", {{io.space, 0x4ff, 6, 8}});
    EXPECT_FALSE(requests.shutdowns.empty());
    EXPECT_TRUE(requests.resets.empty());
}

}  // namespace
}  // namespace rhea::hw
