// A VM of the host's KVM with a few instructions of guest code: eventfds in both directions, kicks. Skipped without /dev/kvm.
#include "accel/kvm/kvm_vcpu.h"
#include "rhea/core/machine_lock.h"
#include "rhea/target/x86/cpu_model.h"
#include "rhea/target/x86/kvm_state.h"
#include "tests/unit/accel/need_kvm.h"

#include <chrono>
#include <future>
#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>

namespace rhea::accel {
namespace {

using namespace std::chrono_literals;

class NoRequests final : public core::MachineRequests {
public:
    void request_shutdown(core::ShutdownCause, int) override {}
    void request_reset(core::ShutdownCause) override {}
    void request_work(std::function<void()>) override {}
};

class CountedPorts final : public core::IoHandler {
public:
    std::uint64_t io_read(core::hwaddr, unsigned) override { return ++reads; }
    void io_write(core::hwaddr, std::uint64_t, unsigned) override { ++writes; }
    std::atomic<unsigned> reads{0}, writes{0};
};

class EventFd {
public:
    EventFd() : fd_(::eventfd(0, EFD_CLOEXEC)) {}
    ~EventFd() { ::close(fd_); }
    int fd() const { return fd_; }
    void signal() {
        const std::uint64_t one = 1;
        EXPECT_EQ(::write(fd_, &one, sizeof one), 8);
    }
    /// How often it was signalled; 0 when it was not within a minute.
    std::uint64_t wait() {
        pollfd waiting{fd_, POLLIN, 0};
        std::uint64_t count = 0;
        if (::poll(&waiting, 1, 60'000) != 1 || ::read(fd_, &count, sizeof count) != 8)
            return 0;
        return count;
    }

private:
    int fd_;
};

/// 64 KiB of "firmware" with `code` at F000:0000, as on a PC, and 64 KiB of RAM.
class KvmVmTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (const char *why = no_kvm())
            GTEST_SKIP() << why;
    }
    void build(KernelIrqchip irqchip, std::vector<std::uint8_t> code) {
        code.resize(0x10000);
        const std::uint8_t jump[] = {0xea, 0, 0, 0, 0xf0}; // ljmpw $0xf000, $0
        std::memcpy(code.data() + 0xfff0, jump, sizeof jump);
        std::memcpy(rom_.host(), code.data(), code.size());
        memory_root_->add(0, *ram_region_);
        memory_root_->add(0xf0000, *low_rom_);
        memory_root_->add(0xffff0000, *rom_region_);
        io_root_->add(0, *port_region_);
        auto vm = KvmVm::create({.irqchip = irqchip});
        ASSERT_TRUE(vm) << vm.error().message();
        vm_ = std::move(*vm);
        vm_->attach(*memory_, *io_);
        ASSERT_TRUE(vm_->slot_status());
        auto available = target::x86::kvm_availability();
        ASSERT_TRUE(available);
        auto model = target::x86::parse_cpu_model("qemu64", *available);
        ASSERT_TRUE(model);
        auto vcpu = KvmVcpu::create(*vm_, 0, target::x86::make_kvm_state(*model, 0, irqchip != KernelIrqchip::kOff, clocks_), *memory_, *io_, requests_);
        ASSERT_TRUE(vcpu) << vcpu.error().message();
        vcpu_ = std::move(*vcpu);
        vcpu_->reset();
    }
    void TearDown() override {
        if (thread_.joinable())
            stop();
    }
    /// Runs the vCPU in a thread of its own until stop().
    void start() {
        stop_ = false;
        done_ = std::promise<core::VcpuExit>();
        result_ = done_.get_future();
        thread_ = std::thread([this] {
            for (;;) {
                core::VcpuExit exit = vcpu_->run();
                if (std::holds_alternative<core::vcpu_exit::Interrupted>(exit) && !stop_)
                    continue;
                done_.set_value(std::move(exit));
                return;
            }
        });
    }
    /// How long the vCPU took to leave guest code.
    std::chrono::nanoseconds stop() {
        const auto begin = std::chrono::steady_clock::now();
        stop_ = true;
        vcpu_->request(core::kRequestExit);
        if (result_.wait_for(60s) != std::future_status::ready) {
            ADD_FAILURE() << "the vCPU did not stop within a minute";
            std::abort(); // its thread cannot be ended
        }
        const auto took = std::chrono::steady_clock::now() - begin;
        thread_.join();
        last_ = result_.get();
        return took;
    }
    std::uint64_t exits(unsigned reason) { return vcpu_->counters().by_reason[reason].load(); }

    NoRequests requests_;
    core::Clocks clocks_;
    core::RamBlock ram_{"ram", 0, 0x10000}, rom_{"rom", 0x1000000, 0x10000};
    std::unique_ptr<core::MemoryRegion> memory_root_ = core::MemoryRegion::container("memory", 0),
                                        io_root_ = core::MemoryRegion::container("io", 0x10000);
    std::unique_ptr<core::MemoryRegion> ram_region_ = core::MemoryRegion::ram("ram", ram_), rom_region_ = core::MemoryRegion::rom("rom", rom_);
    std::unique_ptr<core::MemoryRegion> low_rom_ = core::MemoryRegion::alias("low rom", *rom_region_, 0, 0x10000);
    CountedPorts ports_;
    std::unique_ptr<core::MemoryRegion> port_region_ = core::MemoryRegion::io("ports", 0x10000, ports_);
    // Before the VM, which listens to them, is gone.
    std::unique_ptr<KvmVm> vm_;
    std::unique_ptr<core::AddressSpace> memory_ = std::make_unique<core::AddressSpace>("memory", *memory_root_),
                                        io_ = std::make_unique<core::AddressSpace>("io", *io_root_);
    std::unique_ptr<KvmVcpu> vcpu_;
    std::thread thread_;
    std::promise<core::VcpuExit> done_;
    std::future<core::VcpuExit> result_;
    std::atomic<bool> stop_{false};
    core::VcpuExit last_;
};

void bind(core::AddressSpace &io, const EventFd &event, core::hwaddr port) {
    const core::MachineLockGuard lock;
    io.add_ioeventfd({.addr = port, .size = 1, .fd = event.fd()});
}
void unbind(core::AddressSpace &io, const EventFd &event, core::hwaddr port) {
    const core::MachineLockGuard lock;
    io.remove_ioeventfd({.addr = port, .size = 1, .fd = event.fd()});
}

TEST_F(KvmVmTest, AnIoeventfdTakesWritesWithoutAnExit) {
    // mov $5,%cx; mov $0x500,%dx; 1: out %al,%dx; loop 1b; mov $0x600,%dx; out %al,%dx; 2: hlt; jmp 2b
    build(KernelIrqchip::kOff, {0xb9, 5, 0, 0xba, 0, 5, 0xee, 0xe2, 0xfd, 0xba, 0, 6, 0xee, 0xf4, 0xeb, 0xfd});
    EventFd event;
    bind(*io_, event, 0x500);
    vcpu_->run(); // to the HLT
    EXPECT_EQ(event.wait(), 5u);
    EXPECT_EQ(ports_.writes.load(), 1u) << "only the write to 0x600 reaches the ports";
    EXPECT_EQ(exits(KVM_EXIT_IO), 1u);
    unbind(*io_, event, 0x500);
    vcpu_->reset();
    vcpu_->run();
    EXPECT_EQ(ports_.writes.load(), 7u) << "unbound, all six do";
}

TEST_F(KvmVmTest, AnIoeventfdOfMemory) {
    // mov $0x9000,%ax; mov %ax,%ds; mov $3,%cx; 1: mov %al,(0); loop 1b; 2: hlt; jmp 2b
    build(KernelIrqchip::kOff, {0xb8, 0, 0x90, 0x8e, 0xd8, 0xb9, 3, 0, 0xa2, 0, 0, 0xe2, 0xfb, 0xf4, 0xeb, 0xfd});
    EventFd event;
    bind(*memory_, event, 0x90000);
    vcpu_->run();
    EXPECT_EQ(event.wait(), 3u);
    EXPECT_EQ(exits(KVM_EXIT_MMIO), 0u);
}

/// A guest that counts interrupts 0x25 at 0x7000 and tells of each by a write to port 0x500; the first write says that it is ready.
std::vector<std::uint8_t> counting_guest() {
    std::vector<std::uint8_t> code{
        0x31, 0xc0,                               // xor %ax,%ax
        0x8e, 0xd8, 0x8e, 0xd0,                   // mov %ax,%ds; mov %ax,%ss
        0xbc, 0x00, 0x60,                         // mov $0x6000,%sp
        0xa3, 0x00, 0x70,                         // mov %ax,(0x7000)
        0xc7, 0x06, 0x94, 0x00, 0x50, 0x00,       // movw $0x50,(0x25 * 4)
        0xc7, 0x06, 0x96, 0x00, 0x00, 0xf0,       // movw $0xf000,(0x25 * 4 + 2)
        0xb0, 0x11, 0xe6, 0x20,                   // ICW1
        0xb0, 0x20, 0xe6, 0x21,                   // ICW2: vectors from 0x20
        0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, // ICW3, ICW4
        0xb0, 0xdf, 0xe6, 0x21,                   // only IRQ 5
        0xba, 0x00, 0x05, 0xee,                   // mov $0x500,%dx; out %al,%dx: ready
        0xfb, 0xf4, 0xeb, 0xfd,                   // 1: sti; hlt; jmp 1b + 1
        0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
        // 0x50: incw (0x7000); EOI; mov $0x500,%dx; out %al,%dx; iret
    };
    static constexpr std::uint8_t kHandler[] = {0xff, 0x06, 0x00, 0x70, 0xb0, 0x20, 0xe6, 0x20, 0xba, 0x00, 0x05, 0xee, 0xcf};
    code.resize(0x50);
    code.insert(code.end(), std::begin(kHandler), std::end(kHandler));
    return code;
}

TEST_F(KvmVmTest, AnIrqfdInterruptsTheGuestWithoutAnExit) {
    build(KernelIrqchip::kOn, counting_guest()); // port 0x500 is an ioeventfd, IRQ 5 an irqfd
    EventFd from_guest, to_guest;
    bind(*io_, from_guest, 0x500);
    ASSERT_TRUE(vm_->bind_irqfd(to_guest.fd(), 5, false));
    start();
    ASSERT_EQ(from_guest.wait(), 1u) << "the guest is not ready";
    for (unsigned round = 1; round <= 10; ++round) {
        to_guest.signal();
        ASSERT_EQ(from_guest.wait(), 1u) << "no answer to interrupt " << round;
        EXPECT_EQ(ram_.host()[0x7000], round);
    }
    EXPECT_EQ(exits(KVM_EXIT_IO), 0u);
    EXPECT_EQ(ports_.writes.load(), 0u);
    EXPECT_LT(stop(), 30s) << "a vCPU that is halted in the kernel";
    EXPECT_TRUE(std::holds_alternative<core::vcpu_exit::Interrupted>(last_));
    ASSERT_TRUE(vm_->bind_irqfd(to_guest.fd(), 5, true));
}

TEST_F(KvmVmTest, AMessageByDescriptorInterruptsTheGuestWithoutAnExit) {
    build(KernelIrqchip::kOn, counting_guest());
    core::KernelIrqchip &chips = *vm_->chips();
    core::LocalApicState apic = chips.local_apic(0);
    apic.registers[0x0f] = 0x1ff; // software enable
    chips.set_local_apic(0, apic);
    const std::uint8_t vector_35[] = {0x50, 0x00, 0x00, 0xf0};
    std::memcpy(ram_.host() + 0x35 * 4, vector_35, sizeof vector_35);
    EventFd from_guest, to_guest, other;
    bind(*io_, from_guest, 0x500);
    const int number = chips.add_message_descriptor(to_guest.fd(), 0xfee00000, 0x25);
    ASSERT_GE(number, 0);
    const int second = chips.add_message_descriptor(other.fd(), 0xfee00000, 0x26);
    EXPECT_NE(second, number);
    start();
    ASSERT_EQ(from_guest.wait(), 1u) << "the guest is not ready";
    to_guest.signal();
    ASSERT_EQ(from_guest.wait(), 1u);
    EXPECT_EQ(ram_.host()[0x7000], 1);
    // Nobody tells the local APIC of the end: what comes now has to have a higher priority.
    chips.change_message_descriptor(number, 0xfee00000, 0x35);
    to_guest.signal();
    ASSERT_EQ(from_guest.wait(), 1u);
    EXPECT_EQ(ram_.host()[0x7000], 2);
    chips.remove_message_descriptor(number, to_guest.fd());
    to_guest.signal();
    EXPECT_EQ(to_guest.wait(), 1u) << "the kernel takes it no more";
    EXPECT_EQ(chips.add_message_descriptor(to_guest.fd(), 0xfee00000, 0x45), number) << "a number that is free";
    EXPECT_EQ(exits(KVM_EXIT_IO), 0u);
    stop();
    chips.remove_message_descriptor(number, to_guest.fd());
    chips.remove_message_descriptor(second, other.fd());
    unbind(*io_, from_guest, 0x500);
}

TEST_F(KvmVmTest, ASpinningGuestStopsSoonEachTime) {
    build(KernelIrqchip::kOn, {0xeb, 0xfe}); // jmp .
    std::chrono::nanoseconds worst{0};
    for (unsigned round = 0; round < 40; ++round) {
        const std::uint64_t before = vcpu_->counters().runs.load();
        start();
        if (round % 2 == 0) { // else the stop races with the entry
            while (vcpu_->counters().runs.load() == before)
                std::this_thread::yield();
        }
        const auto took = stop();
        worst = std::max(worst, std::chrono::nanoseconds(took));
        EXPECT_TRUE(std::holds_alternative<core::vcpu_exit::Interrupted>(last_));
    }
    EXPECT_LT(worst, 10s);
    EXPECT_GT(vcpu_->counters().kicks.load(), 0u);
    RecordProperty("worst_us", static_cast<int>(worst.count() / 1000));
}

TEST_F(KvmVmTest, RegistersOfASpinningGuest) {
    build(KernelIrqchip::kSplit, {0xb8, 0x34, 0x12, 0xeb, 0xfe}); // mov $0x1234,%ax; jmp .
    start();
    while (!vcpu_->counters().runs.load())
        std::this_thread::yield();
    stop();
    const std::string text = vcpu_->describe_registers();
    EXPECT_NE(text.find("CS =f000"), std::string::npos) << text;
}

TEST_F(KvmVmTest, AnInstructionThatKvmCannotEmulateIsPrinted) {
    // A jump into a port of memory that is a device: fetching from there cannot be done by KVM.
    build(KernelIrqchip::kOff, {0xea, 0x00, 0x00, 0x00, 0x90}); // ljmpw $0x9000,$0
    const core::VcpuExit exit = vcpu_->run();
    ASSERT_TRUE(std::holds_alternative<core::vcpu_exit::InternalError>(exit) || std::holds_alternative<core::vcpu_exit::Shutdown>(exit));
    if (const auto *error = std::get_if<core::vcpu_exit::InternalError>(&exit)) {
        EXPECT_NE(error->text.find("Code:"), std::string::npos) << error->text;
        EXPECT_NE(error->text.find("9000"), std::string::npos) << error->text;
    }
}

} // namespace
} // namespace rhea::accel
