// The run loop around KVM_RUN: completion of accesses, kicks, interrupts from controllers outside the kernel, counters.
#include "tests/unit/accel/fake_kvm.h"

#include <gtest/gtest.h>

namespace rhea::accel {
namespace {

namespace vcpu_exit = core::vcpu_exit;

template <typename T> bool is(const core::VcpuExit &exit) { return std::holds_alternative<T>(exit); }

TEST(KvmRun, AnInterruptedRunGoesOn) {
    FakeKvm kvm;
    kvm.then([](kvm_run &) { return EINTR; });
    kvm.then([](kvm_run &) { return EAGAIN; });
    kvm.then_exit(KVM_EXIT_SHUTDOWN);
    EXPECT_TRUE(is<vcpu_exit::Shutdown>(kvm.vcpu->run()));
    EXPECT_EQ(kvm.vcpu->counters().runs.load(), 3u);
    EXPECT_EQ(kvm.vcpu->counters().interrupted.load(), 2u);
    EXPECT_EQ(kvm.arch->puts, 1);
}

TEST(KvmRun, AnErrorOfTheCallEndsTheVcpu) {
    FakeKvm kvm;
    kvm.then([](kvm_run &) { return EFAULT; });
    const core::VcpuExit exit = kvm.vcpu->run();
    ASSERT_TRUE(is<vcpu_exit::InternalError>(exit));
    EXPECT_NE(std::get<vcpu_exit::InternalError>(exit).text.find("KVM_RUN: Bad address"), std::string::npos);
}

TEST(KvmRun, CountsByReason) {
    FakeKvm kvm;
    for (int i = 0; i < 3; ++i)
        kvm.then_exit(KVM_EXIT_INTR);
    kvm.then_exit(KVM_EXIT_IRQ_WINDOW_OPEN);
    kvm.then_exit(5000);
    EXPECT_TRUE(is<vcpu_exit::InternalError>(kvm.vcpu->run()));
    const auto &counts = kvm.vcpu->counters().by_reason;
    EXPECT_EQ(counts[KVM_EXIT_INTR].load(), 3u);
    EXPECT_EQ(counts[KVM_EXIT_IRQ_WINDOW_OPEN].load(), 1u);
    EXPECT_EQ(counts.back().load(), 1u) << "a large number counts in the last place";
}

TEST(KvmRun, ARequestBeforeRunIsNotLost) {
    FakeKvm kvm;
    kvm.then_exit(KVM_EXIT_SHUTDOWN);
    kvm.vcpu->request(core::kRequestExit);
    EXPECT_TRUE(is<vcpu_exit::Interrupted>(kvm.vcpu->run()));
    EXPECT_TRUE(kvm.immediate.empty()) << "no guest code may run";
    EXPECT_TRUE(is<vcpu_exit::Shutdown>(kvm.vcpu->run()));
}

TEST(KvmRun, WithOurLocalApicInitStopsAndAStartUpMessageStarts) {
    FakeKvm kvm;
    kvm.then_exit(KVM_EXIT_SHUTDOWN);
    kvm.vcpu->request(core::kRequestInit);
    EXPECT_TRUE(is<vcpu_exit::Halted>(kvm.vcpu->run()));
    EXPECT_FALSE(kvm.vcpu->has_work());
    EXPECT_TRUE(kvm.immediate.empty()) << "no guest code may run";
    kvm.vcpu->request(core::kRequestNmi);
    EXPECT_FALSE(kvm.vcpu->has_work()) << "only a start-up message ends it";
    kvm.vcpu->clear_request(core::kRequestNmi);
    kvm.vcpu->request(core::kRequestSipi);
    EXPECT_TRUE(kvm.vcpu->has_work());
    EXPECT_TRUE(is<vcpu_exit::Shutdown>(kvm.vcpu->run()));
    EXPECT_EQ(kvm.arch->starts, 1);
    EXPECT_EQ(kvm.arch->puts, 2) << "registers go to KVM after either message";
}

TEST(KvmRun, InitAndStartUpTogether) {
    FakeKvm kvm;
    kvm.then_exit(KVM_EXIT_SHUTDOWN);
    kvm.vcpu->request(core::kRequestInit | core::kRequestSipi);
    EXPECT_TRUE(is<vcpu_exit::Shutdown>(kvm.vcpu->run()));
    EXPECT_EQ(kvm.arch->starts, 1);
}

TEST(KvmRun, ARequestAtTheLastMomentMakesRunReturnAtOnce) {
    FakeKvm kvm;
    kvm.then([&](kvm_run &run) {
        kvm.vcpu->request(core::kRequestExit); // sets immediate_exit and signals the thread
        EXPECT_EQ(run.immediate_exit, 1);
        return EINTR;
    });
    EXPECT_TRUE(is<vcpu_exit::Interrupted>(kvm.vcpu->run()));
    EXPECT_EQ(kvm.vcpu->counters().kicks.load(), 1u);
}

TEST(KvmRun, AStopCompletesTheAccessFirst) {
    FakeKvm kvm;
    kvm.then([&](kvm_run &run) {
        run.exit_reason = KVM_EXIT_MMIO;
        run.mmio.phys_addr = FakeKvm::kDevice;
        run.mmio.len = 4;
        run.mmio.is_write = 0;
        kvm.vcpu->request(core::kRequestExit);
        return 0;
    });
    EXPECT_TRUE(is<vcpu_exit::Interrupted>(kvm.vcpu->run()));
    EXPECT_EQ(kvm.immediate, (std::vector<std::uint8_t>{0, 1})) << "the second KVM_RUN only completes";
    kvm.vcpu->synchronize();
    EXPECT_EQ(kvm.immediate.size(), 2u) << "it is complete";
    EXPECT_EQ(kvm.arch->gets, 1);
}

TEST(KvmRun, InterruptsWaitForTheWindow) {
    FakeKvm kvm;
    kvm.controller.waiting = 1;
    kvm.run().if_flag = 0;
    kvm.then([&](kvm_run &run) {
        EXPECT_EQ(run.request_interrupt_window, 1);
        EXPECT_TRUE(kvm.injected.empty());
        run.exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
        run.ready_for_interrupt_injection = 1;
        run.if_flag = 1;
        return 0;
    });
    kvm.then([&](kvm_run &run) {
        EXPECT_EQ(run.request_interrupt_window, 0);
        run.exit_reason = KVM_EXIT_SHUTDOWN;
        return 0;
    });
    EXPECT_TRUE(is<vcpu_exit::Shutdown>(kvm.vcpu->run()));
    EXPECT_EQ(kvm.injected, std::vector<unsigned>{0x31});
}

TEST(KvmRun, SplitInjectsWhatThe8259sHave) {
    FakeKvm kvm(KernelIrqchip::kSplit);
    kvm.controller.waiting = 1;
    kvm.controller.priority = 7;
    kvm.run().if_flag = kvm.run().ready_for_interrupt_injection = 1;
    kvm.then_exit(KVM_EXIT_SHUTDOWN);
    EXPECT_TRUE(is<vcpu_exit::Shutdown>(kvm.vcpu->run()));
    EXPECT_EQ(kvm.injected, std::vector<unsigned>{0x31});
    EXPECT_EQ(kvm.run().cr8, 0u) << "CR8 is the kernel's";
}

TEST(KvmRun, WithAllChipsInTheKernelNothingIsInjected) {
    FakeKvm kvm(KernelIrqchip::kOn);
    kvm.controller.waiting = 1;
    kvm.run().if_flag = kvm.run().ready_for_interrupt_injection = 1;
    kvm.then_exit(KVM_EXIT_SHUTDOWN);
    EXPECT_TRUE(is<vcpu_exit::Shutdown>(kvm.vcpu->run()));
    EXPECT_TRUE(kvm.injected.empty());
}

TEST(KvmRun, PriorityTravelsBothWays) {
    FakeKvm kvm;
    kvm.controller.priority = 4;
    kvm.then([](kvm_run &run) {
        EXPECT_EQ(run.cr8, 4u);
        run.cr8 = 11;
        run.exit_reason = KVM_EXIT_SHUTDOWN;
        return 0;
    });
    kvm.vcpu->run();
    EXPECT_EQ(kvm.controller.priority, 11);
}

TEST(KvmRun, HaltedUntilAnInterruptThatIsEnabled) {
    FakeKvm kvm;
    kvm.then([](kvm_run &run) {
        run.exit_reason = KVM_EXIT_HLT;
        run.if_flag = 0;
        return 0;
    });
    kvm.then_exit(KVM_EXIT_SHUTDOWN);
    EXPECT_TRUE(is<vcpu_exit::Halted>(kvm.vcpu->run()));
    kvm.controller.waiting = 1;
    EXPECT_FALSE(kvm.vcpu->has_work()) << "interrupts are disabled";
    EXPECT_TRUE(is<vcpu_exit::Halted>(kvm.vcpu->run()));
    kvm.run().if_flag = 1;
    EXPECT_TRUE(kvm.vcpu->has_work());
    EXPECT_TRUE(is<vcpu_exit::Shutdown>(kvm.vcpu->run()));
}

TEST(KvmRun, AnNmiEndsHltInEveryMode) {
    for (const auto mode : {KernelIrqchip::kOff, KernelIrqchip::kOn, KernelIrqchip::kSplit}) {
        FakeKvm kvm(mode);
        kvm.then_exit(KVM_EXIT_HLT);
        kvm.then_exit(KVM_EXIT_SHUTDOWN);
        EXPECT_TRUE(is<vcpu_exit::Halted>(kvm.vcpu->run()));
        EXPECT_FALSE(kvm.vcpu->has_work());
        kvm.vcpu->request(core::kRequestNmi);
        EXPECT_TRUE(kvm.vcpu->has_work());
        EXPECT_TRUE(is<vcpu_exit::Shutdown>(kvm.vcpu->run()));
        EXPECT_EQ(kvm.nmis, 1);
    }
}

TEST(KvmRun, ARestoredHaltStaysOne) {
    FakeKvm kvm;
    std::vector<std::uint8_t> bytes;
    {
        const auto writer = core::make_memory_writer(bytes);
        writer->section("cpu", 1, [&](core::Archive &a) { kvm.vcpu->serialize(a); });
    }
    kvm.arch->is_halted = true;
    const auto reader = core::make_memory_reader(bytes);
    reader->section("cpu", 1, [&](core::Archive &a) { kvm.vcpu->serialize(a); });
    ASSERT_TRUE(reader->ok());
    EXPECT_TRUE(is<vcpu_exit::Halted>(kvm.vcpu->run()));
    EXPECT_EQ(kvm.immediate, std::vector<std::uint8_t>{1}) << "kvm_run was filled, no guest code ran";
}

TEST(KvmRun, TheLocalApicGoesToTheKernelOnceAndBehindTheRegisters) {
    FakeKvm kvm(KernelIrqchip::kOn);
    core::LocalApicState state;
    state.registers[0x0f] = 0x1ff;
    kvm.vcpu->set_local_apic(state);
    EXPECT_EQ(kvm.vcpu->local_apic().registers[0x0f], 0x1ffu) << "what waits to be handed over counts";
    kvm.then_exit(KVM_EXIT_SHUTDOWN);
    kvm.vcpu->run();
    EXPECT_EQ(kvm.arch->puts, 1);
    EXPECT_EQ(kvm.vcpu->local_apic().registers[0x0f], 0u) << "now the kernel is asked";
}

} // namespace
} // namespace rhea::accel
