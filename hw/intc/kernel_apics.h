// What a machine needs beside local APICs that live in the kernel: messages to them, and the wire from
// the 8259 pair's INT to the CPUs.
//
// KernelApicBus takes the place of ApicBus. ExtIntWire takes that of a local APIC's LINT0 pin where the
// 8259s are ours (kernel-irqchip=split): a CPU asks it for ExtINT vectors only; whether LINT0 lets them
// through the kernel knows. Under the machine lock; ExtIntWire's LocalApicPort from the CPU's thread.
#pragma once
#include <atomic>
#include <memory>

#include "hw/intc/isa_pic.h"
#include "hw/intc/msi.h"
#include "rhea/core/irq.h"
#include "rhea/core/kernel_irqchip.h"
#include "rhea/core/local_apic_port.h"
#include "rhea/core/memory.h"
#include "rhea/core/vcpu.h"

namespace rhea::hw {

class KernelApicBus final : public InterruptMessagePort, public MsiSink, private core::IoHandler {
  public:
    explicit KernelApicBus(core::KernelIrqchip& kernel);

    /// Places the MSI window; the local APICs' page in it the kernel handles before we see it.
    void map(core::MemoryRegion& memory_root);
    bool deliver(const InterruptMessage& message) override;
    void send_msi(std::uint64_t address, std::uint32_t data) override;
    [[nodiscard]] bool has_descriptors() const override { return true; }
    int add_descriptor(int fd, std::uint64_t address, std::uint32_t data) override {
        return kernel_.add_message_descriptor(fd, address, data);
    }
    void change_descriptor(int number, std::uint64_t address, std::uint32_t data) override {
        kernel_.change_message_descriptor(number, address, data);
    }
    void remove_descriptor(int number, int fd) override { kernel_.remove_message_descriptor(number, fd); }

  private:
    std::uint64_t io_read(core::hwaddr, unsigned) override { return 0xffffffff; }
    void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override;

    core::KernelIrqchip& kernel_;
    std::unique_ptr<core::MemoryRegion> window_;
};

class ExtIntWire final : public core::IrqSink, public core::LocalApicPort {
  public:
    explicit ExtIntWire(InterruptAcknowledge& pic) : pic_(pic) {}
    [[nodiscard]] core::IrqLine line() { return {*this, 0}; }
    /// The CPU that the wire ends at: the boot processor.
    void connect(core::Vcpu& vcpu);
    void set_irq(int input, bool level) override;

    int acknowledge() override;
    [[nodiscard]] bool interrupt_pending() const override {
        return level_.load(std::memory_order_acquire);
    }

    // The rest is the kernel's business; a run loop with local APICs there does not ask for it.
    [[nodiscard]] std::uint8_t cr8() const override { return 0; }
    void set_cr8(std::uint8_t) override {}
    [[nodiscard]] std::uint64_t apic_base() const override { return 0; }
    bool set_apic_base(std::uint64_t) override { return false; }
    bool x2apic_read(std::uint32_t, std::uint64_t&) override { return false; }
    bool x2apic_write(std::uint32_t, std::uint64_t) override { return false; }
    [[nodiscard]] std::uint64_t tsc_deadline() const override { return 0; }
    void set_tsc_deadline(std::uint64_t) override {}
    void init_reset() override {}
    [[nodiscard]] std::uint8_t sipi_vector() const override { return 0; }

  private:
    InterruptAcknowledge& pic_;
    core::Vcpu* vcpu_ = nullptr;
    std::atomic<bool> level_{false};
};

}  // namespace rhea::hw
