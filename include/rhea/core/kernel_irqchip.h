// Interrupt controllers and timers that live in the host's kernel: what devices need to act through them and to exchange state.
//
// The devices of hw/ that stand for such chips keep their one serialize(); they fetch the chip's state before they save and hand it
// over after a restore or reset. State travels in the terms of the datasheets, so that it fits the chips of hw/ too. Under the machine
// lock, the machine stopped (state) or running (messages).
#pragma once
#include <array>
#include <cstdint>
#include <functional>

namespace rhea::core {

/// One Intel 8259A.
struct PicState {
    std::uint8_t lines = 0; ///< levels of the inputs
    std::uint8_t irr = 0, isr = 0, imr = 0, elcr = 0;
    std::uint8_t vector_base = 0;
    std::uint8_t lowest_priority = 7; ///< an input
    std::uint8_t init_state = 0;      ///< 0: ready; 1, 2, 3: waits for ICW2, ICW3, ICW4
    bool needs_icw4 = false, auto_eoi = false, rotate_on_auto_eoi = false;
    bool special_mask = false, special_fully_nested = false, poll = false, read_isr = false;
};

/// An I/O APIC of 24 pins.
struct IoApicState {
    std::uint8_t select = 0, id = 0;
    std::uint32_t requests = 0; ///< level-triggered pins: the line; others: an edge whose message has not gone out
    std::array<std::uint64_t, 24> entries{};
};

/// One counter of an Intel 8254.
struct PitCounterState {
    std::uint8_t mode = 0;   ///< 0 to 5
    std::uint8_t access = 3; ///< 1 low byte, 2 high byte, 3 both
    bool bcd = false, gate = true;
    bool programmed = false; ///< has had a control word
    bool write_high_next = false, read_high_next = false;
    bool count_latched = false, status_latched = false;
    std::uint8_t write_low = 0, status_latch = 0;
    std::uint16_t count_latch = 0;
    std::uint32_t count = 65536; ///< 1 to 65536
    std::int64_t age_ns = 0;     ///< since it was loaded
};
struct PitState {
    std::array<PitCounterState, 3> counters;
    bool speaker = false; ///< port 0x61, bit 1
};

/// A local APIC: its register page (SDM vol. 3, table 11-1), index = offset / 16, the ID in xAPIC form.
struct LocalApicState {
    std::uint64_t apic_base = 0;    ///< IA32_APIC_BASE
    std::uint64_t tsc_deadline = 0; ///< IA32_TSC_DEADLINE
    std::array<std::uint32_t, 64> registers{};
};

class KernelIrqchip {
public:
    virtual ~KernelIrqchip() = default;

    /// Only the local APICs are in the kernel (kernel-irqchip=split): the machine brings 8259s, I/O APIC and PIT.
    virtual bool local_apics_only() const = 0;

    /// A message of an MSI-capable device or an I/O APIC; false: no local APIC took it.
    virtual bool send_msi(std::uint64_t address, std::uint32_t data) = 0;
    /// Descriptors that send messages (KVM_IRQFD): from now on a write to the eventfd `fd` sends this one, with nobody of ours in
    /// between. The result is a number for the other two calls; negative: the kernel has no room, or cannot.
    virtual int add_message_descriptor(int fd, std::uint64_t address, std::uint32_t data) = 0;
    virtual void change_message_descriptor(int number, std::uint64_t address, std::uint32_t data) = 0;
    virtual void remove_message_descriptor(int number, int fd) = 0;
    /// local_apics_only(): what I/O APIC pin `pin` would send now, so that EOIs of its vector are reported.
    virtual void set_pin_route(unsigned pin, std::uint64_t address, std::uint32_t data) = 0;
    /// Told of those EOIs, under the machine lock.
    virtual void set_eoi_handler(std::function<void(std::uint8_t vector)> handler) = 0;

    virtual LocalApicState local_apic(unsigned cpu) = 0;
    virtual void set_local_apic(unsigned cpu, const LocalApicState &state) = 0;

    // Not with local_apics_only().
    virtual std::array<PicState, 2> pics() = 0; ///< master, slave
    virtual void set_pics(const std::array<PicState, 2> &state) = 0;
    virtual IoApicState io_apic() = 0;
    virtual void set_io_apic(const IoApicState &state) = 0;
    virtual PitState pit() = 0;
    virtual void set_pit(const PitState &state) = 0;
};

} // namespace rhea::core
