// Every exit reason of KVM_RUN that the headers know, from a fabricated kvm_run.
#include "accel/kvm/exit_names.h"
#include "tests/unit/accel/fake_kvm.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rhea::accel {
namespace {

using ::testing::HasSubstr;
namespace vcpu_exit = core::vcpu_exit;

class KvmExits : public ::testing::Test {
protected:
    std::optional<core::VcpuExit> exit(unsigned reason) {
        kvm.run().exit_reason = reason;
        return kvm.vcpu->handle_exit();
    }
    template <typename T> static bool is(const std::optional<core::VcpuExit> &exit) { return exit && std::holds_alternative<T>(*exit); }
    static std::string error_of(const std::optional<core::VcpuExit> &exit) {
        return is<vcpu_exit::InternalError>(exit) ? std::get<vcpu_exit::InternalError>(*exit).text : "no error";
    }
    std::optional<core::VcpuExit> port_access(bool out, unsigned size, std::uint32_t count) {
        kvm.run().io = {.direction = static_cast<std::uint8_t>(out ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN),
                        .size = static_cast<std::uint8_t>(size),
                        .port = 0x3f0,
                        .count = count,
                        .data_offset = FakeKvm::kData};
        return exit(KVM_EXIT_IO);
    }

    core::ViewGuard guard;
    FakeKvm kvm;
};

TEST_F(KvmExits, IoOutGivesThePortEachItem) {
    for (const unsigned size : {1u, 2u, 4u}) {
        kvm.ports.accesses.clear();
        for (unsigned i = 0; i < 3 * size; ++i)
            kvm.data()[i] = static_cast<std::uint8_t>(i + 1);
        EXPECT_FALSE(port_access(true, size, 3));
        ASSERT_EQ(kvm.ports.accesses.size(), 3u) << size;
        for (unsigned i = 0; i < 3; ++i) {
            std::uint64_t value = 0;
            std::memcpy(&value, kvm.data() + i * size, size);
            EXPECT_EQ(kvm.ports.accesses[i], (FakeIo::Access{0x3f0, value, size, true})) << size;
        }
    }
}

TEST_F(KvmExits, IoInFillsEachItem) {
    for (const unsigned size : {1u, 2u, 4u}) {
        kvm.ports.accesses.clear();
        std::memset(kvm.data(), 0xee, 16);
        kvm.ports.next = 0x11223344;
        EXPECT_FALSE(port_access(false, size, 3));
        ASSERT_EQ(kvm.ports.accesses.size(), 3u) << size;
        for (unsigned i = 0; i < 3; ++i) {
            std::uint32_t got = 0;
            std::memcpy(&got, kvm.data() + i * size, size);
            const std::uint32_t mask = size == 4 ? ~0u : (1u << 8 * size) - 1;
            EXPECT_EQ(got, (0x11223344 + i) & mask) << size;
        }
        EXPECT_EQ(kvm.data()[3 * size], 0xee) << "wrote behind the data";
    }
}

TEST_F(KvmExits, IoOutsideKvmRunIsAnError) {
    EXPECT_THAT(error_of(port_access(true, 1, 4097)), HasSubstr("4097 times 1 bytes"));
    EXPECT_FALSE(port_access(true, 1, 4096));
    EXPECT_THAT(error_of(port_access(true, 3, 1)), HasSubstr("1 times 3 bytes"));
    EXPECT_THAT(error_of(port_access(true, 0, 1)), HasSubstr("port access"));
    kvm.run().io.size = 1;
    kvm.run().io.data_offset = ~0ull;
    EXPECT_THAT(error_of(exit(KVM_EXIT_IO)), HasSubstr("port access"));
}

TEST_F(KvmExits, MmioReadsAndWrites) {
    for (const unsigned size : {1u, 2u, 4u, 8u}) {
        auto &mmio = kvm.run().mmio;
        mmio = {};
        mmio.phys_addr = FakeKvm::kDevice + 0x10;
        mmio.len = size;
        mmio.is_write = 1;
        std::memset(mmio.data, 0x5a, size);
        kvm.device.accesses.clear();
        EXPECT_FALSE(exit(KVM_EXIT_MMIO));
        const std::uint64_t wanted = 0x5a5a5a5a5a5a5a5aull >> (64 - 8 * size);
        ASSERT_EQ(kvm.device.accesses.size(), 1u);
        EXPECT_EQ(kvm.device.accesses[0], (FakeIo::Access{0x10, wanted, size, true}));
        mmio.is_write = 0;
        kvm.device.next = 0x1234567890abcdef;
        EXPECT_FALSE(exit(KVM_EXIT_MMIO));
        std::uint64_t got = 0;
        std::memcpy(&got, mmio.data, size);
        EXPECT_EQ(got, 0x1234567890abcdefull & (size == 8 ? ~0ull : (1ull << 8 * size) - 1));
    }
}

TEST_F(KvmExits, MmioLongerThanItsDataIsCut) {
    auto &mmio = kvm.run().mmio;
    mmio.phys_addr = FakeKvm::kDevice;
    mmio.len = 4000;
    mmio.is_write = 0;
    EXPECT_FALSE(exit(KVM_EXIT_MMIO));
    for (const FakeIo::Access &access : kvm.device.accesses)
        EXPECT_LT(access.offset, 8u);
}

TEST_F(KvmExits, HltShutdownDebug) {
    EXPECT_TRUE(is<vcpu_exit::Halted>(exit(KVM_EXIT_HLT)));
    EXPECT_FALSE(kvm.vcpu->has_work());
    EXPECT_TRUE(is<vcpu_exit::Shutdown>(exit(KVM_EXIT_SHUTDOWN)));
    kvm.run().debug.arch.pc = 0x7c00;
    const auto debug = exit(KVM_EXIT_DEBUG);
    ASSERT_TRUE(is<vcpu_exit::Debug>(debug));
    EXPECT_EQ(std::get<vcpu_exit::Debug>(*debug).pc, 0x7c00u);
}

TEST_F(KvmExits, SystemEvents) {
    kvm.run().system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN;
    EXPECT_TRUE(is<vcpu_exit::Interrupted>(exit(KVM_EXIT_SYSTEM_EVENT)));
    EXPECT_EQ(kvm.requests.shutdown, core::ShutdownCause::kGuestShutdown);
    kvm.run().system_event.type = KVM_SYSTEM_EVENT_CRASH;
    EXPECT_TRUE(is<vcpu_exit::Interrupted>(exit(KVM_EXIT_SYSTEM_EVENT)));
    EXPECT_EQ(kvm.requests.shutdown, core::ShutdownCause::kGuestPanic);
    kvm.run().system_event.type = KVM_SYSTEM_EVENT_RESET;
    EXPECT_TRUE(is<vcpu_exit::Reset>(exit(KVM_EXIT_SYSTEM_EVENT)));
    for (const std::uint32_t type : {0u, 4u, 5u, 6u, 77u}) {
        kvm.run().system_event.type = type;
        EXPECT_THAT(error_of(exit(KVM_EXIT_SYSTEM_EVENT)), HasSubstr(fmt::format("system event {}", type)));
    }
}

TEST_F(KvmExits, FailEntryNamesTheReason) {
    kvm.run().fail_entry.hardware_entry_failure_reason = 0x80000021;
    kvm.run().fail_entry.cpu = 3;
    const std::string text = error_of(exit(KVM_EXIT_FAIL_ENTRY));
    EXPECT_THAT(text, HasSubstr("0x80000021"));
    EXPECT_THAT(text, HasSubstr("host CPU 3"));
    EXPECT_THAT(text, HasSubstr("RIP=the fake's"));
}

TEST_F(KvmExits, EmulationErrorPrintsRegistersAndBytes) {
    static constexpr std::uint8_t kCode[] = {0x66, 0x0f, 0xc7, 0x0f};
    std::memcpy(kvm.block.host() + 0x100, kCode, sizeof kCode);
    kvm.run().internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
    kvm.run().internal.ndata = 0;
    std::string text = error_of(exit(KVM_EXIT_INTERNAL_ERROR));
    EXPECT_THAT(text, HasSubstr("could not emulate"));
    EXPECT_THAT(text, HasSubstr("RIP=the fake's"));
    EXPECT_THAT(text, HasSubstr("Code: 66 0f c7 0f 00 00"));
    EXPECT_EQ(text.find("as KVM fetched"), std::string::npos);

    auto &failure = kvm.run().emulation_failure;
    failure.ndata = 3;
    failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
    failure.insn_size = 200; // more than there are
    std::memset(failure.insn_bytes, 0xc7, sizeof failure.insn_bytes);
    text = error_of(exit(KVM_EXIT_INTERNAL_ERROR));
    EXPECT_THAT(text, HasSubstr("as KVM fetched them: c7 c7"));
}

TEST_F(KvmExits, BytesComeFromMemoryOnly) {
    kvm.run().internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
    kvm.arch->program_counter = FakeKvm::kDevice;
    EXPECT_THAT(error_of(exit(KVM_EXIT_INTERNAL_ERROR)), HasSubstr("Code: not in memory"));
    EXPECT_TRUE(kvm.device.accesses.empty());
    kvm.arch->program_counter = (1 << 20) - 2;
    EXPECT_THAT(error_of(exit(KVM_EXIT_INTERNAL_ERROR)), HasSubstr("Code: 00 00"));
}

TEST_F(KvmExits, OtherInternalErrorsPrintTheirData) {
    kvm.run().internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV;
    kvm.run().internal.ndata = 1000; // more than there are
    kvm.run().internal.data[0] = 0x80000b0e;
    const std::string text = error_of(exit(KVM_EXIT_INTERNAL_ERROR));
    EXPECT_THAT(text, HasSubstr("suberror 3: 0x80000b0e, 0x0"));
    EXPECT_THAT(text, HasSubstr("Code:"));
}

TEST_F(KvmExits, ThoseThatOnlyGoOn) {
    for (const unsigned reason : {KVM_EXIT_INTR, KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_TPR_ACCESS, KVM_EXIT_NMI, KVM_EXIT_X86_BUS_LOCK})
        EXPECT_FALSE(exit(reason)) << exit_reason_name(reason);
    EXPECT_EQ(kvm.requests.shutdown, core::ShutdownCause::kNone);
    EXPECT_TRUE(kvm.ports.accesses.empty());
}

TEST_F(KvmExits, SetTprReachesTheLocalApic) {
    kvm.run().cr8 = 9;
    EXPECT_FALSE(exit(KVM_EXIT_SET_TPR));
    EXPECT_EQ(kvm.controller.priority, 9);
}

TEST_F(KvmExits, SetTprIsTheKernelsWhenItsApicIs) {
    FakeKvm split(KernelIrqchip::kSplit);
    split.run().cr8 = 9;
    split.run().exit_reason = KVM_EXIT_SET_TPR;
    EXPECT_FALSE(split.vcpu->handle_exit());
    EXPECT_EQ(split.controller.priority, 0);
}

TEST_F(KvmExits, IoapicEoiIsBroadcast) {
    kvm.run().eoi.vector = 0x61;
    EXPECT_FALSE(exit(KVM_EXIT_IOAPIC_EOI));
    EXPECT_EQ(kvm.ended, std::vector<std::uint8_t>{0x61});
}

TEST_F(KvmExits, MsrsThatKvmLeavesToUsRaiseGp) {
    for (const unsigned reason : {KVM_EXIT_X86_RDMSR, KVM_EXIT_X86_WRMSR}) {
        kvm.run().msr = {};
        kvm.run().msr.index = 0x12345;
        EXPECT_FALSE(exit(reason));
        EXPECT_EQ(kvm.run().msr.error, 1);
    }
}

TEST_F(KvmExits, HypercallsAreRefused) {
    kvm.run().hypercall = {};
    kvm.run().hypercall.nr = 12;
    EXPECT_FALSE(exit(KVM_EXIT_HYPERCALL));
    EXPECT_EQ(kvm.run().hypercall.ret, static_cast<std::uint64_t>(-1000)); // -KVM_ENOSYS
    kvm.run().hyperv = {};
    kvm.run().hyperv.type = KVM_EXIT_HYPERV_HCALL;
    EXPECT_FALSE(exit(KVM_EXIT_HYPERV));
    EXPECT_EQ(kvm.run().hyperv.u.hcall.result, 2u);
    kvm.run().hyperv.type = KVM_EXIT_HYPERV_SYNIC;
    EXPECT_FALSE(exit(KVM_EXIT_HYPERV));
    kvm.run().hyperv.type = 99;
    EXPECT_THAT(error_of(exit(KVM_EXIT_HYPERV)), HasSubstr("type 99"));
}

TEST_F(KvmExits, Notify) {
    kvm.run().notify.flags = 0;
    EXPECT_FALSE(exit(KVM_EXIT_NOTIFY));
    kvm.run().notify.flags = KVM_NOTIFY_CONTEXT_INVALID;
    EXPECT_THAT(error_of(exit(KVM_EXIT_NOTIFY)), HasSubstr("context is lost"));
}

TEST_F(KvmExits, UnknownHardwareExitAndException) {
    kvm.run().hw.hardware_exit_reason = 0x42;
    EXPECT_THAT(error_of(exit(KVM_EXIT_UNKNOWN)), HasSubstr("hardware exit 0x42"));
    kvm.run().ex.exception = 14;
    kvm.run().ex.error_code = 2;
    EXPECT_THAT(error_of(exit(KVM_EXIT_EXCEPTION)), HasSubstr("exception 14 (error code 0x2)"));
}

TEST_F(KvmExits, MemoryFaultNamesTheAddress) {
    const std::uint64_t fields[] = {8, 0xfeed0000, 0x1000};
    std::memcpy(kvm.run().padding, fields, sizeof fields);
    EXPECT_THAT(error_of(exit(39)), HasSubstr("0x1000 bytes at guest address 0xfeed0000"));
}

/// Those of other architectures, of capabilities that are off, and of kernels to come.
TEST_F(KvmExits, AllOthersEndTheVcpuByName) {
    static constexpr unsigned kHandled[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 17, 24, 26, 27, 29, 30, 33, 37, 39};
    for (unsigned reason = 0; reason < 200; ++reason) {
        if (std::ranges::count(kHandled, reason))
            continue;
        const std::string text = error_of(exit(reason));
        EXPECT_THAT(text, HasSubstr(fmt::format("KVM exit {} ({})", reason, exit_reason_name(reason))));
    }
    EXPECT_THAT(error_of(exit(0xffffffff)), HasSubstr("4294967295"));
    EXPECT_EQ(exit_reason_name(KVM_EXIT_DIRTY_RING_FULL), "dirty_ring_full");
    EXPECT_EQ(exit_reason_name(1000), "reason 1000");
}

} // namespace
} // namespace rhea::accel
