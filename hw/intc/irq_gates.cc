#include "hw/intc/irq_gates.h"

namespace rhea::hw {
namespace {

constexpr unsigned kPicInputs = 16;
constexpr unsigned kTimerIrq = 0;
constexpr unsigned kTimerPin = 2;

}  // namespace

void GsiRouter::set_irq(int input, bool level) {
    if (input < 0 || input >= static_cast<int>(kSources * kInterrupts)) {
        return;
    }
    const unsigned source = static_cast<unsigned>(input) / kInterrupts;
    const unsigned number = static_cast<unsigned>(input) % kInterrupts;
    const std::uint32_t mask = 1u << number;
    const auto raised = [&] { return ((levels_[0] | levels_[1] | levels_[2]) & mask) != 0; };
    const bool before = raised();
    levels_[source] = level ? levels_[source] | mask : levels_[source] & ~mask;
    const bool now = raised();
    if (before == now) {
        return;
    }
    if (all_) {
        all_->set_irq(static_cast<int>(number), now);
        return;
    }
    if (pic_ && number < kPicInputs) {
        pic_->set_irq(static_cast<int>(number), now);
    }
    // Pin 0 belongs to the 8259's INT, pin 2 to the timer; IRQ 2 does not exist as an interrupt.
    if (io_apic_ && number != kTimerPin) {
        io_apic_->set_irq(static_cast<int>(number == kTimerIrq ? kTimerPin : number), now);
    }
}

void GsiRouter::serialize(core::Archive& archive) {
    archive.field("levels", levels_);
}

}  // namespace rhea::hw
