// A vCPU without KVM: a fabricated kvm_run, a script of what KVM_RUN does, registers that are only a program counter.
#pragma once
#include "accel/kvm/kvm_vcpu.h"

#include <cerrno>
#include <cstring>
#include <functional>
#include <linux/kvm.h>
#include <vector>

namespace rhea::accel {

class FakeArch final : public core::KvmArchState {
public:
    util::Result<void> setup(int, int) override { return {}; }
    util::Result<void> put(int) override {
        ++puts;
        return {};
    }
    util::Result<void> get(int) override {
        ++gets;
        return {};
    }
    void reset() override {}
    void set_boot_state(const core::X86BootState &) override {}
    void serialize(core::Archive &) override {}
    std::string describe_registers() const override { return "RIP=the fake's\n"; }
    bool halted() const override { return is_halted; }
    void set_halted(bool halted) override { is_halted = halted; }
    void take_startup(std::uint32_t requests, core::LocalApicPort *) override {
        if (requests & core::kRequestInit)
            waits = true;
        if ((requests & core::kRequestSipi) && waits) {
            waits = false;
            ++starts;
        }
    }
    bool waits_for_startup() const override { return waits; }
    std::uint64_t pc() const override { return program_counter; }

    std::uint64_t program_counter = 0x100;
    bool is_halted = false, waits = false;
    int starts = 0;
    int puts = 0, gets = 0;
};

/// An interrupt controller with one vector, as often as the test says.
class FakeController final : public core::LocalApicPort {
public:
    int acknowledge() override {
        --waiting;
        return vector;
    }
    bool interrupt_pending() const override { return waiting > 0; }
    std::uint8_t cr8() const override { return priority; }
    void set_cr8(std::uint8_t value) override { priority = value; }
    std::uint64_t apic_base() const override { return 0; }
    bool set_apic_base(std::uint64_t) override { return false; }
    bool x2apic_read(std::uint32_t, std::uint64_t &) override { return false; }
    bool x2apic_write(std::uint32_t, std::uint64_t) override { return false; }
    std::uint64_t tsc_deadline() const override { return 0; }
    void set_tsc_deadline(std::uint64_t) override {}
    void init_reset() override {}
    std::uint8_t sipi_vector() const override { return 0; }

    int vector = 0x31, waiting = 0;
    std::uint8_t priority = 0;
};

class FakeIo final : public core::IoHandler {
public:
    std::uint64_t io_read(core::hwaddr offset, unsigned size) override {
        accesses.push_back({offset, 0, size, false});
        return next++;
    }
    void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override { accesses.push_back({offset, value, size, true}); }
    struct Access {
        core::hwaddr offset;
        std::uint64_t value;
        unsigned size;
        bool write;
        bool operator==(const Access &) const = default;
    };
    std::vector<Access> accesses;
    std::uint64_t next = 0x11223344;
};

class FakeRequests final : public core::MachineRequests {
public:
    void request_shutdown(core::ShutdownCause cause, int) override { shutdown = cause; }
    void request_reset(core::ShutdownCause cause) override { reset = cause; }
    void request_work(std::function<void()>) override {}
    core::ShutdownCause shutdown = core::ShutdownCause::kNone, reset = core::ShutdownCause::kNone;
};

class FakeKvm {
public:
    static constexpr core::hwaddr kDevice = 0x200000;
    static constexpr std::size_t kData = sizeof(kvm_run); ///< where port data begin

    explicit FakeKvm(KernelIrqchip irqchip = KernelIrqchip::kOff) : buffer_(kData + 4096) {
        memory_root->add(0, *ram_region);
        memory_root->add(kDevice, *device_region);
        io_root->add(0, *port_region);
        auto state = std::make_unique<FakeArch>();
        arch = state.get();
        vcpu = std::make_unique<KvmVcpu>(
            KvmVcpu::Fabricated{.run = &run(),
                                .run_size = buffer_.size(),
                                .ioctl = [this](unsigned long request, void *argument) { return ioctl(request, argument); },
                                .irqchip = irqchip,
                                .eoi = [this](std::uint8_t vector) { ended.push_back(vector); }},
            std::move(state), memory, io, requests);
        vcpu->connect_apic(&controller);
    }

    kvm_run &run() { return *reinterpret_cast<kvm_run *>(buffer_.data()); }
    std::uint8_t *data() { return buffer_.data() + kData; }
    /// The next KVM_RUN does this: fills kvm_run and gives 0, or an errno.
    void then(std::function<int(kvm_run &)> step) { steps_.push_back(std::move(step)); }
    void then_exit(unsigned reason) {
        then([reason](kvm_run &run) {
            run.exit_reason = reason;
            return 0;
        });
    }

    std::unique_ptr<core::MemoryRegion> memory_root = core::MemoryRegion::container("memory", 0),
                                        io_root = core::MemoryRegion::container("io", 0x10000);
    core::RamBlock block{"ram", 0, 1 << 20};
    std::unique_ptr<core::MemoryRegion> ram_region = core::MemoryRegion::ram("ram", block);
    FakeIo device, ports;
    std::unique_ptr<core::MemoryRegion> device_region = core::MemoryRegion::io("device", 0x1000, device, {.min = 1, .max = 8}),
                                        port_region = core::MemoryRegion::io("ports", 0x10000, ports, {.min = 1, .max = 4});
    core::AddressSpace memory{"memory", *memory_root}, io{"io", *io_root};
    FakeRequests requests;
    FakeController controller;
    FakeArch *arch = nullptr;
    std::vector<std::uint8_t> ended;              ///< EOIs of an I/O APIC outside the kernel
    std::vector<unsigned> injected;               ///< KVM_INTERRUPT
    int nmis = 0;                                 ///< KVM_NMI
    std::vector<std::uint8_t> immediate;          ///< immediate_exit at each KVM_RUN
    std::unique_ptr<KvmVcpu> vcpu;

private:
    int ioctl(unsigned long request, void *argument) {
        if (request == KVM_INTERRUPT)
            injected.push_back(static_cast<kvm_interrupt *>(argument)->irq);
        else if (request == KVM_NMI)
            ++nmis;
        else if (request == KVM_RUN)
            return enter();
        return 0;
    }
    int enter() {
        immediate.push_back(run().immediate_exit);
        if (run().immediate_exit) {
            errno = EINTR;
            return -1;
        }
        if (next_ == steps_.size()) { // the script is over: as if stopped from outside
            vcpu->request(core::kRequestExit);
            errno = EINTR;
            return -1;
        }
        const int error = steps_[next_++](run());
        errno = error;
        return error ? -1 : 0;
    }

    alignas(16) std::vector<std::uint8_t> buffer_;
    std::vector<std::function<int(kvm_run &)>> steps_;
    std::size_t next_ = 0;
};

} // namespace rhea::accel
