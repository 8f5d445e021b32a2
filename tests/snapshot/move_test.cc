// A guest that counts timer interrupts moves from one machine to another, between accelerators and places of the interrupt controllers:
// its count goes on without a gap, its letters in the order of the alphabet (tests/guests/flat/interrupts.S).
//
// RHEA_TEST_GUESTS is the folder of the images. Machines with KVM are skipped without /dev/kvm.
#include "tests/support/machine_runner.h"
#include "tests/unit/accel/need_kvm.h"

#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>

namespace rhea {
namespace {

constexpr core::hwaddr kCounter = 0x7000;

struct Move {
    const char *guest, *from, *to;
};

void PrintTo(const Move &move, std::ostream *out) { *out << move.guest << " from " << move.from << " to " << move.to; }

class MoveTest : public ::testing::TestWithParam<Move> {};

core::MachineConfig config_of(const std::string &guest) {
    core::MachineConfig config;
    config.ram_size = 16u << 20;
    config.firmware = std::string(std::getenv("RHEA_TEST_GUESTS")) + "/flat-" + guest + ".bin";
    return config;
}

std::uint32_t count(test::MachineRunner &runner) {
    return static_cast<std::uint32_t>(runner.machine->memory().load(kCounter, 4));
}

TEST_P(MoveTest, TheCountGoesOn) {
    const Move &move = GetParam();
    if (!std::getenv("RHEA_TEST_GUESTS"))
        GTEST_SKIP() << "RHEA_TEST_GUESTS names no folder of guests";
    if (std::strstr(move.from, "kvm") || std::strstr(move.to, "kvm")) {
        if (const char *why = accel::no_kvm())
            GTEST_SKIP() << why;
    }
    std::vector<std::uint8_t> state;
    std::uint32_t saved_count = 0;
    std::string letters;
    {
        test::MachineRunner first(move.from, config_of(move.guest));
        ASSERT_EQ(first.error(), "");
        first.start();
        ASSERT_TRUE(first.serve_until([&] { return first.console.text().size() >= 2; })) << first.failure() << first.console.text();
        first.pause();
        saved_count = count(first);
        letters = first.console.text();
        state = first.save();
        ASSERT_EQ(first.error(), "");
    }
    ASSERT_GE(saved_count, 8u);
    test::MachineRunner second(move.to, config_of(move.guest));
    ASSERT_EQ(second.error(), "");
    ASSERT_EQ(second.restore(state), "");
    EXPECT_EQ(count(second), saved_count);
    second.start();
    const bool went_on = second.serve_until([&] { return second.console.text().size() >= 2; });
    second.pause();
    letters += second.console.text();
    ASSERT_TRUE(went_on) << second.failure() << "count " << saved_count << " then " << count(second) << "\n" << second.vcpu().describe_registers();
    EXPECT_EQ(letters, std::string("abcdefghijklmnopqrstuvwxyz").substr(0, letters.size()));
    EXPECT_EQ(count(second) / 4, letters.size());
    // The state is whole: it can be taken again, and back.
    const std::vector<std::uint8_t> again = second.save();
    ASSERT_EQ(second.error(), "");
    ASSERT_EQ(second.restore(again), "");
    const std::uint32_t before = count(second);
    second.start();
    EXPECT_TRUE(second.serve_until([&] { return count(second) > before; })) << second.failure();
    second.pause();
}

std::vector<Move> moves() {
    static constexpr const char *kMachines[] = {"tcg", "kvm on", "kvm off", "kvm split"};
    std::vector<Move> all;
    for (const char *guest : {"ticks-8259", "ticks-ioapic", "ticks-apic"}) {
        for (const char *from : kMachines) {
            for (const char *to : kMachines)
                all.push_back({guest, from, to});
        }
    }
    return all;
}

std::string name_of(const ::testing::TestParamInfo<Move> &info) {
    std::string name = std::string(info.param.guest) + "_" + info.param.from + "_to_" + info.param.to;
    for (char &c : name) {
        if (c == ' ' || c == '-')
            c = '_';
    }
    return name;
}

INSTANTIATE_TEST_SUITE_P(Machines, MoveTest, ::testing::ValuesIn(moves()), name_of);

/// Several CPUs in the middle of their work (tests/guests/flat/smp.S): they go on elsewhere, and all comes out right.
class SeveralCpus : public ::testing::TestWithParam<Move> {};

TEST_P(SeveralCpus, GoOnTogether) {
    const Move &move = GetParam();
    if (!std::getenv("RHEA_TEST_GUESTS"))
        GTEST_SKIP() << "RHEA_TEST_GUESTS names no folder of guests";
    core::MachineConfig config = config_of(move.guest);
    config.cpus = 2;
    config.topology = {.cores = 2};
    config.devices = {{"isa-debug-exit", {{"iobase", "0xf4"}, {"iosize", "4"}}}};
    std::vector<std::uint8_t> state;
    std::string console;
    {
        test::MachineRunner first(move.from, config);
        ASSERT_EQ(first.error(), "");
        first.start();
        ASSERT_TRUE(first.serve_until([&] { return first.console.text().find("operations: passed") != std::string::npos; }))
            << first.failure() << first.console.text();
        first.pause();
        console = first.console.text();
        state = first.save();
        ASSERT_EQ(first.error(), "");
    }
    core::MachineConfig other = config;
    other.topology = {.sockets = 2};
    test::MachineRunner wrong(move.to, other);
    EXPECT_NE(wrong.restore(state).find("-smp 2,sockets=1,dies=1,cores=2,threads=1"), std::string::npos);

    test::MachineRunner second(move.to, config);
    ASSERT_EQ(second.error(), "");
    ASSERT_EQ(second.restore(state), "");
    second.start();
    EXPECT_TRUE(second.serve_until([&] { return second.off.load(); })) << second.failure();
    second.pause();
    console += second.console.text();
    EXPECT_EQ(second.exit_status, 33) << console;
    EXPECT_NE(console.find("shootdown: passed\n"), std::string::npos) << console;
}

INSTANTIATE_TEST_SUITE_P(Machines, SeveralCpus,
                         ::testing::Values(Move{"smp", "tcg", "tcg"}), // a software KVM does not get through this guest
                         name_of);

/// Reset reaches chips in the kernel: a guest that is reset starts as after power-on.
class ResetTest : public ::testing::TestWithParam<const char *> {};

TEST_P(ResetTest, StartsAnew) {
    if (!std::getenv("RHEA_TEST_GUESTS"))
        GTEST_SKIP() << "RHEA_TEST_GUESTS names no folder of guests";
    if (const char *why = std::strstr(GetParam(), "kvm") ? accel::no_kvm() : nullptr)
        GTEST_SKIP() << why;
    test::MachineRunner runner(GetParam(), config_of("ticks-apic"));
    ASSERT_EQ(runner.error(), "");
    std::string fresh, reset;
    const auto print = [&](std::string &text) {
        const auto printer = core::make_printer(text);
        for (const auto &device : runner.machine->devices()) {
            const std::string_view type = device->type();
            if (type == "isa-pic" || type == "ioapic" || type == "apic")
                printer->section(device->path(), device->serialize_version(), [&](core::Archive &a) { device->serialize(a); });
        }
    };
    print(fresh);
    runner.start();
    ASSERT_TRUE(runner.serve_until([&] { return runner.console.text().size() >= 2; })) << runner.failure();
    runner.pause();
    print(reset);
    EXPECT_NE(reset, fresh);
    reset.clear();
    runner.machine->reset();
    print(reset);
    // Deadlines and starts of timers are times.
    const auto without_times = [](const std::string &text) {
        std::string out;
        for (std::size_t at = 0; at < text.size();) {
            const std::size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
            const std::string line = text.substr(at, end - at);
            if (line.find("_ns") == std::string::npos)
                out += line;
            at = end;
        }
        return out;
    };
    EXPECT_EQ(without_times(reset), without_times(fresh));
    runner.start();
    EXPECT_TRUE(runner.serve_until([&] { return runner.console.text().size() >= 4; })) << runner.failure();
    runner.pause();
    EXPECT_EQ(runner.console.text().substr(runner.console.text().rfind('a')).substr(0, 2), "ab");
}

INSTANTIATE_TEST_SUITE_P(Machines, ResetTest, ::testing::Values("tcg", "kvm on", "kvm off", "kvm split"),
                         [](const auto &info) { return std::string(info.param) == "tcg" ? std::string("tcg") : "kvm_" + std::string(info.param).substr(4); });

} // namespace
} // namespace rhea
