#include "hw/intc/io_apic.h"

#include "rhea/util/log.h"

namespace rhea::hw {
namespace {

constexpr core::hwaddr kRegionSize = 0x1000;
// Registers in memory
constexpr core::hwaddr kIoRegSel = 0x00;
constexpr core::hwaddr kIoWin = 0x10;
constexpr core::hwaddr kEoi = 0x40;
// Registers behind IOREGSEL
constexpr unsigned kIoApicId = 0x00;
constexpr unsigned kIoApicVer = 0x01;
constexpr unsigned kIoApicArb = 0x02;
constexpr unsigned kIoRedTbl = 0x10;

constexpr std::uint32_t kVersion = 0x20;
constexpr unsigned kIdShift = 24;

// IOREDTBL
constexpr std::uint64_t kModeShift = 8;
constexpr std::uint64_t kDestinationModeLogical = 1u << 11;
constexpr std::uint64_t kDeliveryStatus = 1u << 12;
constexpr std::uint64_t kRemoteIrr = 1u << 14;
constexpr std::uint64_t kLevelTriggered = 1u << 15;
constexpr std::uint64_t kMasked = 1u << 16;
constexpr std::uint64_t kDestinationShift = 56;
constexpr std::uint64_t kReadOnly = kDeliveryStatus | kRemoteIrr;
constexpr std::uint64_t kWritable = 0xff0000000001ffffull & ~kReadOnly;

}  // namespace

IoApic::IoApic(InterruptMessagePort& port, core::KernelIrqchip* kernel)
    : port_(port), kernel_(kernel), registers_("ioapic", kRegionSize) {
    registers_.add({.offset = kIoRegSel,
                    .size = 4,
                    .name = "IOREGSEL",
                    .on_read = [this](std::uint64_t) -> std::uint64_t { return select_; },
                    .write_value = [this](std::uint64_t, std::uint64_t value) -> std::uint64_t {
                        select_ = static_cast<std::uint8_t>(value);
                        return 0;
                    }});
    registers_.add({.offset = kIoWin,
                    .size = 4,
                    .name = "IOWIN",
                    .on_read = [this](std::uint64_t) -> std::uint64_t { return read_indirect(); },
                    .write_value = [this](std::uint64_t, std::uint64_t value) -> std::uint64_t {
                        write_indirect(static_cast<std::uint32_t>(value));
                        return 0;
                    }});
    registers_.add({.offset = kEoi,
                    .size = 4,
                    .name = "EOI",
                    .write_value = [this](std::uint64_t, std::uint64_t value) -> std::uint64_t {
                        end_of_interrupt(static_cast<std::uint8_t>(value));
                        return 0;
                    }});
    region_ = core::MemoryRegion::io("ioapic", kRegionSize, registers_, {.min = 4, .max = 4});
    IoApic::reset();
}

void IoApic::map(core::MemoryRegion& memory_root, core::hwaddr base) {
    memory_root.add(base, *region_, 100);
}

void IoApic::reset() {
    select_ = 0;
    id_ = 0;
    waiting_ = 0;
    entries_.fill(kMasked);
    for (unsigned pin = 0; pin < kPins; ++pin) {
        announce(pin);
    }
    hand_over();
}

InterruptMessage IoApic::message(unsigned pin) const {
    const std::uint64_t entry = entries_[pin];
    const auto mode = static_cast<DeliveryMode>(entry >> kModeShift & 7);
    const bool has_eoi = mode == DeliveryMode::kFixed || mode == DeliveryMode::kLowestPriority;
    return {.destination = static_cast<std::uint32_t>(entry >> kDestinationShift),
            .logical = (entry & kDestinationModeLogical) != 0,
            .level_triggered = (entry & kLevelTriggered) && has_eoi,
            .mode = mode,
            .vector = static_cast<std::uint8_t>(entry)};
}

void IoApic::announce(unsigned pin) {
    if (route_changed_) {
        route_changed_(pin, message(pin));
    }
}

std::uint32_t IoApic::read_indirect() const {
    if (select_ >= kIoRedTbl && select_ < kIoRedTbl + 2 * kPins) {
        const std::uint64_t entry = entries_[(select_ - kIoRedTbl) / 2];
        return static_cast<std::uint32_t>(select_ & 1 ? entry >> 32 : entry);
    }
    if (select_ == kIoApicId || select_ == kIoApicArb) {
        return static_cast<std::uint32_t>(id_) << kIdShift;
    }
    return select_ == kIoApicVer ? kVersion | (kPins - 1) << 16 : 0;
}

void IoApic::write_indirect(std::uint32_t value) {
    if (select_ >= kIoRedTbl && select_ < kIoRedTbl + 2 * kPins) {
        write_entry((select_ - kIoRedTbl) / 2, select_ & 1, value);
    } else if (select_ == kIoApicId) {
        id_ = value >> kIdShift & 0xf;
    } else {
        util::log_write(util::kLogGuestErrors, "ioapic: write of {:#x} to register {:#x}\n", value,
                        select_);
    }
}

void IoApic::write_entry(unsigned pin, bool high, std::uint32_t value) {
    std::uint64_t& entry = entries_[pin];
    const std::uint64_t mask = kWritable & (high ? 0xffffffff00000000ull : 0xffffffffull);
    const std::uint64_t bits = high ? static_cast<std::uint64_t>(value) << 32 : value;
    entry = (entry & ~mask) | (bits & mask);
    if (!(entry & kLevelTriggered)) {
        // Remote IRR has no meaning for edges; kernels clear a stuck one this way.
        entry &= ~kRemoteIrr;
    }
    announce(pin);
    service(pin);
}

void IoApic::set_irq(int input, bool level) {
    if (input < 0 || input >= static_cast<int>(kPins)) {
        return;
    }
    const auto pin = static_cast<unsigned>(input);
    const std::uint32_t mask = 1u << pin;
    const bool rising = level && !(lines_ & mask);
    lines_ = level ? lines_ | mask : lines_ & ~mask;
    const std::uint64_t entry = entries_[pin];
    if (entry & kLevelTriggered) {
        service(pin);
    } else if (rising && !(entry & kMasked)) {
        // "Edge-sensitive interrupts signaled on a masked interrupt pin are ignored."
        waiting_ |= mask;
        service(pin);
    }
}

void IoApic::service(unsigned pin) {
    std::uint64_t& entry = entries_[pin];
    const std::uint32_t mask = 1u << pin;
    const bool level = entry & kLevelTriggered;
    if (level) {
        waiting_ &= ~mask;
    }
    if ((entry & kMasked) || !((level ? lines_ : waiting_) & mask) ||
        (level && (entry & kRemoteIrr))) {
        return;
    }
    const auto mode = static_cast<DeliveryMode>(entry >> kModeShift & 7);
    if (mode == DeliveryMode::kRemoteRead || mode == DeliveryMode::kStartUp) {
        util::log_write(util::kLogGuestErrors, "ioapic: pin {} has a reserved delivery mode\n",
                        pin);
        return;
    }
    // Before the message goes out: its receiver may answer with an EOI at once.
    waiting_ &= ~mask;
    const InterruptMessage sent = message(pin);
    if (sent.level_triggered) {
        entry |= kRemoteIrr;
    }
    const bool accepted = port_.deliver(sent);
    if (!accepted) {
        entry &= ~kRemoteIrr;
    }
}

void IoApic::end_of_interrupt(std::uint8_t vector) {
    for (unsigned pin = 0; pin < kPins; ++pin) {
        std::uint64_t& entry = entries_[pin];
        if ((entry & kRemoteIrr) && static_cast<std::uint8_t>(entry) == vector) {
            entry &= ~kRemoteIrr;
            service(pin);
        }
    }
}

void IoApic::fetch() {
    if (kernel_ == nullptr) {
        return;
    }
    const core::IoApicState state = kernel_->io_apic();
    select_ = state.select;
    id_ = state.id;
    lines_ = waiting_ = 0;
    for (unsigned pin = 0; pin < kPins; ++pin) {
        entries_[pin] = state.entries[pin] & (kWritable | kReadOnly);
        // Of an edge-triggered pin's line nothing is known once its message has gone out. Low is the
        // safe guess: a fall that comes then means nothing.
        const std::uint32_t request = state.requests & 1u << pin;
        lines_ |= request;
        waiting_ |= entries_[pin] & kLevelTriggered ? 0 : request;
    }
}

void IoApic::hand_over() {
    if (kernel_ == nullptr) {
        return;
    }
    core::IoApicState state{.select = select_, .id = id_, .requests = 0, .entries = entries_};
    for (unsigned pin = 0; pin < kPins; ++pin) {
        const std::uint32_t requests = entries_[pin] & kLevelTriggered ? lines_ : waiting_;
        state.requests |= requests & 1u << pin;
    }
    kernel_->set_io_apic(state);
}

void IoApic::serialize(core::Archive& archive) {
    if (!archive.restoring()) {
        fetch();
    }
    archive.field("select", select_);
    archive.field("id", id_);
    archive.field("lines", lines_);
    archive.field("waiting", waiting_);
    archive.field("entries", entries_);
    if (archive.restoring()) {
        for (unsigned pin = 0; pin < kPins; ++pin) {
            announce(pin);
        }
        hand_over();
    }
}

}  // namespace rhea::hw
