// A local APIC's state as its register page, to and from an APIC in the kernel.
#include "hw/intc/local_apic.h"
#include "hw/intc/local_apic_bits.h"

namespace rhea::hw {
namespace {

using namespace apic;

// Offsets in the page, divided by 16 (SDM vol. 3, table 11-1)
enum Index : unsigned {
    kId = 0x02,
    kVersion = 0x03,
    kTpr = 0x08,
    kLdr = 0x0d,
    kDfr = 0x0e,
    kSvr = 0x0f,
    kIsr = 0x10,
    kTmr = 0x18,
    kIrr = 0x20,
    kEsr = 0x28,
    kIcrLow = 0x30,
    kIcrHigh = 0x31,
    kLvt = 0x32,
    kInitialCount = 0x38,
    kCurrentCount = 0x39,
    kDivide = 0x3e,
};

constexpr std::uint32_t kVersion14 = 0x14;

ApicTimer::Mode timer_mode(std::uint32_t lvt_timer) {
    return static_cast<ApicTimer::Mode>((lvt_timer & kLvtTimerMode) >> kLvtTimerModeShift);
}

}  // namespace

void LocalApic::fetch() {
    if (config_.kernel == nullptr) {
        return;
    }
    const core::LocalApicState state = config_.kernel->local_apic(config_.cpu);
    const auto& page = state.registers;
    apic_base_.store(state.apic_base, std::memory_order_relaxed);
    tpr_.store(static_cast<std::uint8_t>(page[kTpr]), std::memory_order_relaxed);
    ldr_ = page[kLdr] & 0xff000000;
    dfr_ = page[kDfr] | kDfrReserved;
    svr_ = page[kSvr] & kSvrWritable;
    esr_ = page[kEsr];
    esr_pending_ = 0;
    icr_low_ = page[kIcrLow] & kIcrWritable;
    icr_high_ = page[kIcrHigh];
    for (unsigned i = 0; i < isr_.size(); ++i) {
        isr_[i] = page[kIsr + i];
        tmr_[i] = page[kTmr + i];
        irr_[i] = page[kIrr + i];
    }
    for (unsigned i = 0; i < lvt_.size(); ++i) {
        lvt_[i] = page[kLvt + i];
    }
    lint_level_ = {ext_int_ != nullptr && ext_int_->interrupt_asserted(), false};
    ext_int_message_ = false;
    timer_.set_counts({.mode = timer_mode(lvt_[kTimer]),
                       .divide_configuration = page[kDivide],
                       .initial_count = page[kInitialCount],
                       .current_count = page[kCurrentCount],
                       .tsc_deadline = state.tsc_deadline});
}

void LocalApic::hand_over() {
    if (config_.kernel == nullptr) {
        return;
    }
    core::LocalApicState state{
        .apic_base = apic_base(), .tsc_deadline = timer_.tsc_deadline(), .registers = {}};
    auto& page = state.registers;
    page[kId] = config_.id << 24;
    page[kVersion] = kVersion14 | (kLvtCount - 1) << 16;
    page[kTpr] = tpr_.load(std::memory_order_relaxed);
    page[kLdr] = logical_id();
    page[kDfr] = dfr_;
    page[kSvr] = svr_;
    page[kEsr] = esr_;
    page[kIcrLow] = icr_low_;
    page[kIcrHigh] = icr_high_;
    for (unsigned i = 0; i < isr_.size(); ++i) {
        page[kIsr + i] = isr_[i];
        page[kTmr + i] = tmr_[i];
        page[kIrr + i] = irr_[i];
    }
    for (unsigned i = 0; i < lvt_.size(); ++i) {
        page[kLvt + i] = lvt_[i];
    }
    page[kInitialCount] = timer_.initial_count();
    page[kCurrentCount] = timer_.current_count();
    page[kDivide] = timer_.divide_configuration();
    config_.kernel->set_local_apic(config_.cpu, state);
}

}  // namespace rhea::hw
