// Delivery of exceptions and interrupts (SDM vol. 3, chapter 6).
#pragma once
#include <cstdint>

#include "cpu.h"
#include "fault.h"

namespace rhea::target::x86 {

enum class EventKind : std::uint8_t {
    kException,  ///< raised by the CPU: EXT set in error codes of nested faults
    kSoftware,   ///< INT n, INT3, INTO: gate DPL is checked
    kExternal,   ///< INTR and NMI
};

struct Event {
    std::uint8_t vector = 0;
    EventKind kind = EventKind::kException;
    bool has_error = false;
    std::uint32_t error = 0;
    std::uint8_t next_length = 0;  ///< added to the pushed instruction pointer
    bool resumes = false;          ///< #DB that pushes RF set
};

/// RFLAGS with RF as an event pushes it (SDM vol. 3, 17.3.1.1): faults set it, so that an instruction breakpoint at the same place
/// does not hit twice; software interrupts and traps find it cleared, as by each instruction that ends, unless a repeated one goes on.
constexpr std::uint64_t pushed_flags(std::uint64_t rflags, const Event& e) {
    const bool exception = e.kind == EventKind::kException, debug = e.vector == kVectorDB;
    const bool fault = exception && e.next_length == 0 && !debug && e.vector != kVectorDF && e.vector != kVectorMC;
    if (fault || (debug && e.resumes))
        return rflags | kFlagRF;
    const bool ended = e.kind == EventKind::kSoftware || (exception && (debug || e.next_length != 0));
    return ended ? rflags & ~std::uint64_t{kFlagRF} : rflags;
}

/// Delivers the event at head.pc, turning faults met on the way into #DF or a shutdown.
tcg::GuestFrontend::Outcome deliver_event(Cpu& cpu, Event event);
/// Delivers CpuState's pending exception.
tcg::GuestFrontend::Outcome deliver_pending(Cpu& cpu);

/// As deliver_pending() where quick_event() can; false: nothing has changed.
bool deliver_quickly(Cpu& cpu);

/// What a fault while an exception was being delivered becomes (SDM vol. 3, table 6-5): its own
/// vector, kVectorDF, or -1: shutdown.
int combine_faults(const Event& first, unsigned second_vector);

/// For transfers that may switch tasks: as guarded(), but a fault that belongs to the new task is
/// delivered at once, because what a helper leaves pending is delivered at the instruction that
/// called it.
void finish_transfer(Cpu& cpu, const Fault* fault);
template <typename Body>
std::uint64_t guarded_transfer(CpuState* state, Body&& body) {
    Cpu& cpu = Cpu::of(state);
    cpu.task_switched = cpu.task_trap = false;
    try {
        body(cpu);
        finish_transfer(cpu, nullptr);
    } catch (const Fault& fault) {
        finish_transfer(cpu, &fault);
    }
    return 0;
}

}  // namespace rhea::target::x86
