#include "hw/acpi/generic_events.h"

#include "rhea/util/log.h"

#include <utility>

namespace rhea::hw {

GenericEvents::GenericEvents(core::MachineRequests &requests, core::IrqLine irq) : requests_(requests), irq_(irq) {
    core::Register events{.offset = 0, .size = 4, .name = "EVENTS"};
    events.on_read = [this](std::uint64_t) { return std::uint64_t{std::exchange(pending_, 0)}; };
    events_.add(std::move(events));
    core::Register control{.offset = 0, .size = 1, .name = "SLEEP_CONTROL"};
    control.write_value = [this](std::uint64_t, std::uint64_t value) {
        write_sleep_control(static_cast<std::uint8_t>(value));
        return std::uint64_t{0};
    };
    registers_.add(std::move(control));
    registers_.add({.offset = 1, .size = 1, .name = "SLEEP_STATUS", .write_mask = 0});
    core::Register reset{.offset = 2, .size = 1, .name = "RESET"};
    reset.write_value = [this](std::uint64_t, std::uint64_t value) {
        if (value == kResetValue)
            requests_.request_reset(core::ShutdownCause::kGuestReset);
        return std::uint64_t{0};
    };
    registers_.add(std::move(reset));
    events_region_ = core::MemoryRegion::io("acpi-ged", 4, events_, {.min = 4, .max = 4});
    registers_region_ = core::MemoryRegion::io("acpi-ged-regs", 3, registers_, {.min = 1, .max = 1});
}

void GenericEvents::map(core::MemoryRegion &memory_root) {
    memory_root.add(kBase, *events_region_, 1);
    memory_root.add(kRegisters, *registers_region_, 1);
}

void GenericEvents::press_power_button() {
    pending_ |= kPowerButton;
    irq_.pulse();
}

/// SLP_EN starts the transition that SLP_TYPx names; there is but one.
void GenericEvents::write_sleep_control(std::uint8_t value) {
    constexpr unsigned kEnable = 1u << 5;
    const unsigned type = value >> 2 & 7;
    if (!(value & kEnable))
        return;
    if (type == kSoftOff)
        requests_.request_shutdown(core::ShutdownCause::kGuestShutdown);
    else
        util::log_write(util::kLogGuestErrors, "acpi-ged: there is no sleep state of type {}\n", type);
}

} // namespace rhea::hw
