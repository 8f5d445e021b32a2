#include "accel/kvm/kvm_irqchip.h"

#include "accel/kvm/kvm_vcpu.h"
#include "accel/kvm/kvm_vm.h"
#include "rhea/core/machine_lock.h"
#include "rhea/util/log.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fmt/format.h>
#include <sys/ioctl.h>

namespace rhea::accel {
namespace {

// 82371AB 8.5.8: IRQ 0, 1, 2, 8 and 13 are always edge-triggered.
constexpr std::uint8_t kMasterElcrMask = 0xf8, kSlaveElcrMask = 0xde;
constexpr std::uint64_t kIoApicBase = 0xfec00000;
constexpr std::uint64_t kEntryMasked = 1u << 16;
/// A channel of KVM's 8254 that has had no control word.
constexpr std::uint8_t kPitUnprogrammed = 0xff;
/// KVM's byte states of a channel: low byte, high byte, low byte of a word, high byte of a word.
constexpr std::uint8_t kByteNone = 0, kByteLow = 1, kByteHigh = 2, kWordLow = 3, kWordHigh = 4;

std::int64_t monotonic_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

std::uint8_t byte_state(std::uint8_t access, bool high_next) {
    return access == 1 ? kByteLow : access == 2 ? kByteHigh : high_next ? kWordHigh : kWordLow;
}

/// kvm_irq_routing ends in a flexible array, which some versions of the kernel's header make larger in C++: so neither the structure nor
/// the request's number is taken from there.
class RoutingTable {
public:
    kvm_irq_routing_entry &add(unsigned gsi, unsigned type) {
        kvm_irq_routing_entry &entry = entries_.emplace_back();
        entry.gsi = gsi;
        entry.type = type;
        return entry;
    }
    void add_message(unsigned gsi, std::uint64_t address, std::uint32_t data) {
        kvm_irq_routing_entry &entry = add(gsi, KVM_IRQ_ROUTING_MSI);
        entry.u.msi.address_lo = static_cast<std::uint32_t>(address);
        entry.u.msi.address_hi = static_cast<std::uint32_t>(address >> 32);
        entry.u.msi.data = data;
    }
    bool publish(int vm_fd) const;

private:
    std::vector<kvm_irq_routing_entry> entries_;
};

void complain(const char *call) { util::log_write(util::kLogUnimp, "kvm: {}: {}\n", call, std::strerror(errno)); }

bool RoutingTable::publish(int vm_fd) const {
    constexpr unsigned long kSetGsiRouting = _IOC(_IOC_WRITE, KVMIO, 0x6a, 8);
    const std::uint32_t header[2] = {static_cast<std::uint32_t>(entries_.size()), 0}; // entries, flags
    std::vector<std::uint8_t> bytes(sizeof header + entries_.size() * sizeof(kvm_irq_routing_entry));
    std::memcpy(bytes.data(), header, sizeof header);
    std::memcpy(bytes.data() + sizeof header, entries_.data(), entries_.size() * sizeof(kvm_irq_routing_entry));
    if (::ioctl(vm_fd, kSetGsiRouting, bytes.data()) == 0)
        return true;
    complain("KVM_SET_GSI_ROUTING");
    return false;
}

void add_pc_interrupts(RoutingTable &table, unsigned pins) {
    const auto add = [&](unsigned gsi, unsigned chip, unsigned pin) {
        kvm_irq_routing_entry &entry = table.add(gsi, KVM_IRQ_ROUTING_IRQCHIP);
        entry.u.irqchip.irqchip = chip;
        entry.u.irqchip.pin = pin;
    };
    // ISA interrupts go to both controllers; IRQ 0 is I/O APIC pin 2, as ACPI's MADT says, and IRQ 2 does not exist.
    for (unsigned gsi = 0; gsi < pins; ++gsi) {
        if (gsi == 2)
            continue;
        if (gsi < 16)
            add(gsi, gsi / 8, gsi & 7); // KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE
        add(gsi, KVM_IRQCHIP_IOAPIC, gsi == 0 ? 2 : gsi);
    }
}

/// KVM takes 4096 routes at most (KVM_CAP_IRQ_ROUTING).
constexpr std::size_t kMaxMessages = 4000;

} // namespace

// ---- conversions ---------------------------------------------------------------------------------------------------

core::PicState from_kvm(const kvm_pic_state &in) {
    core::PicState out;
    out.lines = in.last_irr;
    out.irr = in.irr;
    out.isr = in.isr;
    out.imr = in.imr;
    out.elcr = in.elcr;
    out.vector_base = in.irq_base;
    out.lowest_priority = (in.priority_add + 7) & 7;
    out.init_state = in.init_state & 3;
    out.needs_icw4 = in.init4;
    out.auto_eoi = in.auto_eoi;
    out.rotate_on_auto_eoi = in.rotate_on_auto_eoi;
    out.special_mask = in.special_mask;
    out.special_fully_nested = in.special_fully_nested_mode;
    out.poll = in.poll;
    out.read_isr = in.read_reg_select;
    return out;
}

kvm_pic_state to_kvm(const core::PicState &in, bool master) {
    kvm_pic_state out{};
    out.last_irr = in.lines;
    out.irr = in.irr;
    out.isr = in.isr;
    out.imr = in.imr;
    out.elcr = in.elcr;
    out.elcr_mask = master ? kMasterElcrMask : kSlaveElcrMask;
    out.irq_base = in.vector_base;
    out.priority_add = (in.lowest_priority + 1) & 7;
    out.init_state = in.init_state & 3;
    out.init4 = in.needs_icw4;
    out.auto_eoi = in.auto_eoi;
    out.rotate_on_auto_eoi = in.rotate_on_auto_eoi;
    out.special_mask = in.special_mask;
    out.special_fully_nested_mode = in.special_fully_nested;
    out.poll = in.poll;
    out.read_reg_select = in.read_isr;
    return out;
}

core::IoApicState from_kvm(const kvm_ioapic_state &in) {
    core::IoApicState out;
    out.select = static_cast<std::uint8_t>(in.ioregsel);
    out.id = static_cast<std::uint8_t>(in.id & 0xf);
    out.requests = in.irr & 0xffffff;
    for (std::size_t pin = 0; pin < out.entries.size(); ++pin)
        out.entries[pin] = in.redirtbl[pin].bits;
    return out;
}

kvm_ioapic_state to_kvm(const core::IoApicState &in) {
    kvm_ioapic_state out{};
    out.base_address = kIoApicBase;
    out.ioregsel = in.select;
    out.id = in.id;
    out.irr = in.requests;
    for (std::size_t pin = 0; pin < in.entries.size(); ++pin)
        out.redirtbl[pin].bits = in.entries[pin];
    return out;
}

core::PitState from_kvm(const kvm_pit_state2 &in, std::int64_t now_ns) {
    core::PitState out;
    for (std::size_t i = 0; i < out.counters.size(); ++i) {
        const kvm_pit_channel_state &channel = in.channels[i];
        core::PitCounterState &counter = out.counters[i];
        counter.programmed = channel.mode <= 7;
        counter.mode = !counter.programmed ? 0 : channel.mode > 5 ? channel.mode & 3 : channel.mode;
        counter.access = channel.rw_mode >= 1 && channel.rw_mode <= 3 ? channel.rw_mode : 3;
        counter.bcd = channel.bcd;
        counter.gate = channel.gate;
        counter.write_high_next = channel.write_state == kWordHigh;
        counter.write_low = channel.write_latch;
        counter.count_latched = channel.count_latched != kByteNone;
        // While a count is latched, its state says which byte comes; a latched word goes from kWordLow to kByteHigh.
        counter.read_high_next = counter.count_latched ? counter.access == 3 && channel.count_latched == kByteHigh
                                                       : channel.read_state == kWordHigh;
        counter.count_latch = channel.latched_count;
        counter.status_latched = channel.status_latched;
        counter.status_latch = channel.status;
        counter.count = channel.count >= 1 && channel.count <= 65536 ? channel.count : 65536;
        counter.age_ns = std::max<std::int64_t>(now_ns - channel.count_load_time, 0);
    }
    out.speaker = in.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON;
    return out;
}

kvm_pit_state2 to_kvm(const core::PitState &in, std::int64_t now_ns) {
    kvm_pit_state2 out{};
    for (std::size_t i = 0; i < in.counters.size(); ++i) {
        const core::PitCounterState &counter = in.counters[i];
        kvm_pit_channel_state &channel = out.channels[i];
        channel.mode = counter.programmed ? counter.mode : kPitUnprogrammed;
        channel.rw_mode = counter.access;
        channel.bcd = counter.bcd;
        channel.gate = counter.gate;
        channel.write_state = byte_state(counter.access, counter.write_high_next);
        channel.write_latch = counter.write_low;
        channel.read_state = byte_state(counter.access, !counter.count_latched && counter.read_high_next);
        if (counter.count_latched)
            channel.count_latched = counter.access == 3 && counter.read_high_next ? kByteHigh
                                                                                  : byte_state(counter.access, false);
        channel.latched_count = counter.count_latch;
        channel.status_latched = counter.status_latched;
        channel.status = counter.status_latch;
        channel.count = counter.count;
        channel.count_load_time = now_ns - counter.age_ns;
    }
    out.flags = in.speaker ? KVM_PIT_FLAGS_SPEAKER_DATA_ON : 0u;
    return out;
}

// ---- messages ------------------------------------------------------------------------------------------------------

bool KvmIrqchip::send_msi(std::uint64_t address, std::uint32_t data) {
    kvm_msi message{};
    message.address_lo = static_cast<std::uint32_t>(address);
    message.address_hi = static_cast<std::uint32_t>(address >> 32);
    message.data = data;
    signalled_.fetch_add(1, std::memory_order_relaxed);
    return ::ioctl(vm_.vm_fd(), KVM_SIGNAL_MSI, &message) > 0;
}

void KvmIrqchip::set_pin_route(unsigned pin, std::uint64_t address, std::uint32_t data) {
    const Route route{address, data};
    if (pin >= kPins || routes_[pin] == route)
        return;
    routes_[pin] = route;
    publish_routes();
}

/// Pin n is GSI n. Of pins that are ours KVM scans the routes for the vectors whose EOI it reports (KVM_CAP_SPLIT_IRQCHIP).
bool KvmIrqchip::publish_routes() {
    RoutingTable table;
    if (!local_apics_only_)
        add_pc_interrupts(table, kPcPins);
    for (unsigned pin = 0; pin < kPins; ++pin) {
        if (routes_[pin] != Route{})
            table.add_message(pin, routes_[pin].address, routes_[pin].data);
    }
    for (std::size_t i = 0; i < messages_.size(); ++i) {
        if (messages_[i])
            table.add_message(kPins + static_cast<unsigned>(i), messages_[i]->address, messages_[i]->data);
    }
    return table.publish(vm_.vm_fd());
}

bool KvmIrqchip::set_irqfd(int fd, int number, bool assign) {
    const auto done = vm_.bind_irqfd(fd, kPins + static_cast<unsigned>(number), !assign);
    if (!done)
        util::log_write(util::kLogUnimp, "kvm: {}\n", done.error().message());
    return done.has_value();
}

int KvmIrqchip::add_message_descriptor(int fd, std::uint64_t address, std::uint32_t data) {
    auto at = std::ranges::find_if(messages_, [](const auto &each) { return !each.has_value(); });
    if (at == messages_.end()) {
        if (messages_.size() >= kMaxMessages)
            return -1;
        at = messages_.insert(messages_.end(), std::nullopt);
    }
    *at = Route{address, data};
    const auto number = static_cast<int>(at - messages_.begin());
    if (publish_routes() && set_irqfd(fd, number, true))
        return number;
    *at = std::nullopt;
    return -1;
}

void KvmIrqchip::change_message_descriptor(int number, std::uint64_t address, std::uint32_t data) {
    std::optional<Route> &route = messages_.at(static_cast<std::size_t>(number));
    if (route == Route{address, data})
        return;
    route = Route{address, data};
    publish_routes();
}

/// The route stays in the kernel's table until the next is published: nobody sends by it.
void KvmIrqchip::remove_message_descriptor(int number, int fd) {
    set_irqfd(fd, number, false);
    messages_.at(static_cast<std::size_t>(number)) = std::nullopt;
}

std::string KvmIrqchip::describe() const {
    const core::MachineLockGuard lock;
    const auto descriptors = std::ranges::count_if(messages_, [](const auto &each) { return each.has_value(); });
    return fmt::format("messages: {} by KVM_SIGNAL_MSI, {} descriptors (KVM_IRQFD)\n", signalled_.load(std::memory_order_relaxed), descriptors);
}

void KvmIrqchip::end_of_interrupt(std::uint8_t vector) {
    const core::MachineLockGuard lock;
    if (eoi_handler_)
        eoi_handler_(vector);
}

// ---- state ---------------------------------------------------------------------------------------------------------

core::LocalApicState KvmIrqchip::local_apic(unsigned cpu) {
    KvmVcpu *vcpu = vm_.vcpu(cpu);
    return vcpu ? vcpu->local_apic() : core::LocalApicState{};
}

void KvmIrqchip::set_local_apic(unsigned cpu, const core::LocalApicState &state) {
    if (KvmVcpu *vcpu = vm_.vcpu(cpu))
        vcpu->set_local_apic(state);
}

std::array<core::PicState, 2> KvmIrqchip::pics() {
    std::array<core::PicState, 2> state;
    for (unsigned chip = 0; chip < 2; ++chip) {
        kvm_irqchip request{};
        request.chip_id = chip; // KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE
        if (::ioctl(vm_.vm_fd(), KVM_GET_IRQCHIP, &request) < 0)
            complain("KVM_GET_IRQCHIP");
        else
            state[chip] = from_kvm(request.chip.pic);
    }
    return state;
}

void KvmIrqchip::set_pics(const std::array<core::PicState, 2> &state) {
    for (unsigned chip = 0; chip < 2; ++chip) {
        kvm_irqchip request{};
        request.chip_id = chip;
        request.chip.pic = to_kvm(state[chip], chip == 0);
        if (::ioctl(vm_.vm_fd(), KVM_SET_IRQCHIP, &request) < 0)
            complain("KVM_SET_IRQCHIP");
    }
}

core::IoApicState KvmIrqchip::io_apic() {
    kvm_irqchip request{};
    request.chip_id = KVM_IRQCHIP_IOAPIC;
    if (::ioctl(vm_.vm_fd(), KVM_GET_IRQCHIP, &request) < 0) {
        complain("KVM_GET_IRQCHIP");
        core::IoApicState state;
        state.entries.fill(kEntryMasked);
        return state;
    }
    return from_kvm(request.chip.ioapic);
}

void KvmIrqchip::set_io_apic(const core::IoApicState &state) {
    kvm_irqchip request{};
    request.chip_id = KVM_IRQCHIP_IOAPIC;
    request.chip.ioapic = to_kvm(state);
    if (::ioctl(vm_.vm_fd(), KVM_SET_IRQCHIP, &request) < 0)
        complain("KVM_SET_IRQCHIP");
}

core::PitState KvmIrqchip::pit() {
    kvm_pit_state2 state{};
    if (::ioctl(vm_.vm_fd(), KVM_GET_PIT2, &state) < 0) {
        complain("KVM_GET_PIT2");
        return {};
    }
    return from_kvm(state, monotonic_ns());
}

void KvmIrqchip::set_pit(const core::PitState &state) {
    kvm_pit_state2 request = to_kvm(state, monotonic_ns());
    if (::ioctl(vm_.vm_fd(), KVM_SET_PIT2, &request) < 0)
        complain("KVM_SET_PIT2");
}

} // namespace rhea::accel
