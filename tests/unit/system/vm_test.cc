// The run states and vCPU threads, with a vCPU of the test's making.
#include "system/vm.h"

#include <gtest/gtest.h>

#include "rhea/core/machine_lock.h"

namespace rhea::system {
namespace {

using core::ShutdownCause;

/// Runs `body` until asked to leave; what it returns is the exit.
class FakeVcpu final : public core::Vcpu {
  public:
    FakeVcpu() : core::Vcpu(0) {}
    std::function<std::optional<core::VcpuExit>()> body;
    std::atomic<std::uint32_t> bits{0};
    std::atomic<unsigned> runs{0}, turns{0}, resets{0};
    std::atomic<bool> inside{false};

    core::VcpuExit run() override {
        inside = true;
        ++runs;
        for (;;) {
            ++turns;
            if (bits.fetch_and(~core::kRequestExit) & core::kRequestExit) {
                inside = false;
                return core::vcpu_exit::Interrupted{};
            }
            if (auto exit = body ? body() : std::nullopt) {
                inside = false;
                return *exit;
            }
        }
    }
    void request(std::uint32_t now) override {
        bits |= now;
        wake();
    }
    void clear_request(std::uint32_t now) override { bits &= ~now; }
    bool has_work() override { return (bits & (core::kRequestIntr | core::kRequestExit)) != 0; }
    void reset() override {
        EXPECT_FALSE(inside);
        ++resets;
    }
    void synchronize() override { EXPECT_FALSE(inside); }
    void serialize(core::Archive&) override {}
    void connect_apic(core::LocalApicPort*) override {}
    core::TscPort* tsc_port() override { return nullptr; }
    void set_boot_state(const core::X86BootState&) override {}
    std::string describe_registers() override { return "registers\n"; }
};

class FakeAccelerator final : public core::Accelerator {
  public:
    std::string_view name() const override { return "tcg"; }
    util::Result<void> attach(core::AddressSpace&, core::AddressSpace&) override { return {}; }
    util::Result<std::unique_ptr<core::Vcpu>> create_vcpu(unsigned, core::Clocks&,
                                                          core::MachineRequests&) override {
        return util::fail("none");
    }
    std::string describe(std::string_view) const override { return {}; }
};

class FakeMachine final : public core::Machine {
  public:
    using core::Machine::Machine;
    util::Result<void> build(core::Accelerator&) override { return {}; }
    bool press_power_button() override { return ++presses > 0; }
    unsigned presses = 0;
};

class VmTest : public testing::Test {
  protected:
    explicit VmTest(Vm::Policy policy = {})
        : vm_(loop_, policy, [this](std::string_view text) { told_ += text; }) {
        auto machine = std::make_unique<FakeMachine>(core::MachineConfig{}, vm_);
        auto vcpu = std::make_unique<FakeVcpu>();
        vcpu_ = vcpu.get();
        machine_ = machine.get();
        machine->add_vcpu(std::move(vcpu));
        prepared_ = std::move(machine);
    }
    void start(std::function<std::optional<core::VcpuExit>()> body = {}) {
        vcpu_->body = std::move(body);
        vm_.adopt(std::make_unique<FakeAccelerator>(), std::move(prepared_));
        ASSERT_TRUE(vm_.cont());
    }
    void wait_for(const std::function<bool()>& done) {
        const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!done()) {
            loop_.iterate(false);
            std::this_thread::yield();
            ASSERT_LT(std::chrono::steady_clock::now(), give_up);
        }
    }

    // What the vCPU's body uses, which its thread does until vm_ is gone.
    std::atomic<bool> fault_{true};
    std::atomic<unsigned> after_{0};
    util::EventLoop loop_;
    std::string told_;
    Vm vm_;
    FakeVcpu* vcpu_;
    FakeMachine* machine_;
    std::unique_ptr<core::Machine> prepared_;
};

TEST_F(VmTest, StartsParkedAndStopsTheClock) {
    vm_.adopt(std::make_unique<FakeAccelerator>(), std::move(prepared_));
    EXPECT_EQ(vm_.state(), RunState::kPrelaunch);
    EXPECT_EQ(vcpu_->resets, 1u);
    EXPECT_EQ(vcpu_->runs, 0u);
    EXPECT_FALSE(machine_->clocks().running());
    ASSERT_TRUE(vm_.cont());
    EXPECT_TRUE(machine_->clocks().running());
    wait_for([&] { return vcpu_->runs > 0; });
}

TEST_F(VmTest, StopTakesEveryVcpuOutOfGuestCode) {
    start();
    wait_for([&] { return vcpu_->turns > 100; });
    vm_.stop();
    EXPECT_EQ(vm_.state(), RunState::kPaused);
    EXPECT_FALSE(vcpu_->inside);
    EXPECT_FALSE(machine_->clocks().running());
    const unsigned turns = vcpu_->turns;
    for (int i = 0; i < 100; ++i) {
        std::this_thread::yield();
    }
    EXPECT_EQ(vcpu_->turns, turns);
    ASSERT_TRUE(vm_.cont());
    wait_for([&] { return vcpu_->turns > turns; });
}

TEST_F(VmTest, StopAndContManyTimesLoseNothing) {
    start();
    for (int i = 0; i < 500; ++i) {
        vm_.with_parked_vcpus([&] { EXPECT_FALSE(vcpu_->inside); });
        if (i % 3 == 0) {
            vm_.stop();
            ASSERT_TRUE(vm_.cont());
        }
    }
    const unsigned turns = vcpu_->turns;
    wait_for([&] { return vcpu_->turns > turns; });
}

TEST_F(VmTest, AHaltedVcpuWaitsForItsInterrupt) {
    start([&]() -> std::optional<core::VcpuExit> {
        if (vcpu_->bits & core::kRequestIntr) {
            vcpu_->bits &= ~core::kRequestIntr;
            vm_.request_shutdown(ShutdownCause::kGuestShutdown, 7);
        }
        return core::vcpu_exit::Halted{};
    });
    wait_for([&] { return vm_.cpu_threads().front().halted; });
    const unsigned runs = vcpu_->runs;
    vcpu_->request(core::kRequestNmi);  // not what it waits for
    EXPECT_EQ(vcpu_->runs, runs);
    vm_.with_parked_vcpus([] {});
    vcpu_->request(core::kRequestIntr);
    loop_.run();
    EXPECT_EQ(vm_.exit_status(), 7);
}

TEST_F(VmTest, ATripleFaultResets) {
    start([&]() -> std::optional<core::VcpuExit> {
        if (fault_.exchange(false)) {
            return core::vcpu_exit::Shutdown{};
        }
        return std::nullopt;
    });
    wait_for([&] { return vcpu_->resets == 2; });
    EXPECT_TRUE(vm_.running());
    const unsigned turns = vcpu_->turns;
    wait_for([&] { return vcpu_->turns > turns; });
}

TEST_F(VmTest, NothingRunsBetweenARequestAndItsHandling) {
    start([&]() -> std::optional<core::VcpuExit> {
        if (after_++ == 0) {
            vm_.request_reset(ShutdownCause::kGuestReset);
        }
        return std::nullopt;
    });
    while (after_ == 0) {
        std::this_thread::yield();
    }
    for (int i = 0; i < 1000; ++i) {
        std::this_thread::yield();
    }
    EXPECT_EQ(after_, 1u);  // the main loop has not run yet
    wait_for([&] { return vcpu_->resets == 2; });
}

TEST_F(VmTest, AnInternalErrorStopsAndIsTold) {
    start([] { return core::VcpuExit(core::vcpu_exit::InternalError{"KVM: internal error"}); });
    wait_for([&] { return vm_.state() == RunState::kInternalError; });
    EXPECT_EQ(told_, "KVM: internal error");
    EXPECT_FALSE(vm_.cont());
    vcpu_->body = {};
    vm_.request_reset(ShutdownCause::kHostQuit);
    wait_for([&] { return vm_.state() == RunState::kPaused; });
    EXPECT_TRUE(vm_.cont());
}

TEST_F(VmTest, TheFirstShutdownDecides) {
    start();
    vm_.request_shutdown(ShutdownCause::kDebugExit, 33);
    vm_.request_shutdown(ShutdownCause::kHostSignal, 0);
    loop_.run();
    EXPECT_EQ(vm_.exit_status(), 33);
}

TEST_F(VmTest, ThePowerButtonReachesTheMachine) {
    start();
    vm_.power_button();
    EXPECT_EQ(machine_->presses, 1u);
}

class NoRebootTest : public VmTest {
  protected:
    NoRebootTest() : VmTest({.no_reboot = true}) {}
};
TEST_F(NoRebootTest, AResetOfTheGuestEndsTheRun) {
    start([] { return core::VcpuExit(core::vcpu_exit::Shutdown{}); });
    loop_.run();
    EXPECT_EQ(vm_.exit_status(), 0);
    EXPECT_EQ(vcpu_->resets, 1u);
}
TEST_F(NoRebootTest, AResetFromTheMonitorDoesNot) {
    start();
    vm_.request_reset(ShutdownCause::kHostQuit);
    wait_for([&] { return vcpu_->resets == 2; });
}

class NoShutdownTest : public VmTest {
  protected:
    NoShutdownTest() : VmTest({.no_shutdown = true}) {}
};
TEST_F(NoShutdownTest, AGuestThatPowersOffStays) {
    start();
    vm_.request_shutdown(ShutdownCause::kGuestShutdown);
    wait_for([&] { return vm_.state() == RunState::kShutdown; });
    EXPECT_FALSE(vm_.cont());
    vm_.request_shutdown(ShutdownCause::kHostQuit);
    loop_.run();
}

}  // namespace
}  // namespace rhea::system
