#include "hw/intc/kernel_apics.h"

#include "rhea/core/machine_lock.h"
#include "rhea/util/log.h"

namespace rhea::hw {

KernelApicBus::KernelApicBus(core::KernelIrqchip& kernel)
    : kernel_(kernel),
      window_(core::MemoryRegion::io("apic-msi", kMsiWindowSize, *this, {.min = 4, .max = 4})) {}

void KernelApicBus::map(core::MemoryRegion& memory_root) {
    memory_root.add(kMsiAddressBase, *window_, 100);
}

bool KernelApicBus::deliver(const InterruptMessage& message) {
    const MsiWrite msi = encode_msi(message);
    return kernel_.send_msi(msi.address, msi.data);
}

void KernelApicBus::send_msi(std::uint64_t address, std::uint32_t data) {
    if ((address & ~(kMsiWindowSize - 1)) != kMsiAddressBase) {
        util::log_write(util::kLogGuestErrors, "msi: address {:#x} is not an interrupt message\n",
                        address);
        return;
    }
    kernel_.send_msi(address, data);
}

void KernelApicBus::io_write(core::hwaddr offset, std::uint64_t value, unsigned) {
    if (offset >= core::kPageSize) {
        send_msi(kMsiAddressBase + offset, static_cast<std::uint32_t>(value));
    }
}

void ExtIntWire::connect(core::Vcpu& vcpu) {
    vcpu_ = &vcpu;
    vcpu.connect_apic(this);
}

void ExtIntWire::set_irq(int, bool level) {
    level_.store(level, std::memory_order_release);
    if (vcpu_ == nullptr) {
        return;
    }
    if (level) {
        vcpu_->request(core::kRequestIntr);
    } else {
        vcpu_->clear_request(core::kRequestIntr);
    }
}

int ExtIntWire::acknowledge() {
    const core::MachineLockGuard lock;
    return pic_.interrupt_asserted() ? pic_.acknowledge_interrupt() : -1;
}

}  // namespace rhea::hw
