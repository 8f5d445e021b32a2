#include "hw/intc/apic_bus.h"

#include <algorithm>

#include "hw/intc/local_apic.h"
#include "rhea/core/vcpu.h"
#include "rhea/util/log.h"

namespace rhea::hw {

ApicBus::ApicBus()
    : window_(core::MemoryRegion::io("apic-msi", kMsiWindowSize, *this, {.min = 4, .max = 4})) {}

void ApicBus::map(core::MemoryRegion& memory_root) {
    // Above RAM and PCI: on hardware the CPU does not let these addresses out.
    memory_root.add(kMsiAddressBase, *window_, 100);
}

void ApicBus::set_irq(int input, bool level) {
    for (LocalApic* apic : apics_) {
        apic->set_irq(input, level);
    }
}

LocalApic* ApicBus::arbitrate(const std::vector<LocalApic*>& candidates) {
    // SDM vol. 3, 11.6.2.4: the lowest arbitration priority takes it; which of several CPUs with
    // the same one is the implementation's choice.
    LocalApic* best = nullptr;
    std::size_t best_place = 0;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
        const std::size_t place = (last_winner_ + 1 + i) % candidates.size();
        LocalApic* apic = candidates[place];
        if (apic->accepts_fixed() &&
            (!best || apic->processor_priority() < best->processor_priority())) {
            best = apic;
            best_place = place;
        }
    }
    last_winner_ = static_cast<unsigned>(best_place);
    return best;
}

bool ApicBus::deliver(const InterruptMessage& message) {
    if (message.mode == DeliveryMode::kLowestPriority) {
        std::vector<LocalApic*> candidates;
        std::copy_if(apics_.begin(), apics_.end(), std::back_inserter(candidates),
                     [&](const LocalApic* apic) { return apic->matches(message); });
        LocalApic* winner = candidates.empty() ? nullptr : arbitrate(candidates);
        return winner && winner->receive(message);
    }
    bool accepted = false;
    for (LocalApic* apic : apics_) {
        if (apic->matches(message)) {
            accepted = apic->receive(message) || accepted;
        }
    }
    return accepted;
}

void ApicBus::deliver_to_all(const InterruptMessage& message, const LocalApic* except) {
    for (LocalApic* apic : apics_) {
        if (apic != except) {
            apic->receive(message);
        }
    }
}

void ApicBus::send_msi(std::uint64_t address, std::uint32_t data) {
    if ((address & ~(kMsiWindowSize - 1)) != kMsiAddressBase) {
        util::log_write(util::kLogGuestErrors, "msi: address {:#x} is not an interrupt message\n",
                        address);
        return;
    }
    const InterruptMessage message = decode_msi(address, data);
    if (message.mode == DeliveryMode::kRemoteRead || message.mode == DeliveryMode::kStartUp) {
        util::log_write(util::kLogGuestErrors, "msi: reserved delivery mode in data {:#x}\n", data);
        return;
    }
    deliver(message);
}

void ApicBus::broadcast_eoi(std::uint8_t vector) {
    for (EoiListener* listener : eoi_listeners_) {
        listener->end_of_interrupt(vector);
    }
}

LocalApic* ApicBus::current() const {
    const core::Vcpu* vcpu = core::Vcpu::current();
    const std::size_t index = vcpu ? vcpu->index() : 0;
    return index < apics_.size() ? apics_[index] : nullptr;
}

std::uint64_t ApicBus::io_read(core::hwaddr offset, unsigned) {
    LocalApic* apic = current();
    return apic && offset < core::kPageSize ? apic->mmio_read(offset) : 0xffffffff;
}

void ApicBus::io_write(core::hwaddr offset, std::uint64_t value, unsigned) {
    if (offset >= core::kPageSize) {
        send_msi(kMsiAddressBase + offset, static_cast<std::uint32_t>(value));
    } else if (LocalApic* apic = current()) {
        apic->mmio_write(offset, static_cast<std::uint32_t>(value));
    }
}

}  // namespace rhea::hw
