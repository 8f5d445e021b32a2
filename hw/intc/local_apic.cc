#include "hw/intc/local_apic.h"

#include <bit>

#include "hw/intc/apic_bus.h"
#include "hw/intc/local_apic_bits.h"
#include "rhea/core/machine_lock.h"
#include "rhea/util/log.h"

namespace rhea::hw {
namespace {

using namespace apic;

/// The highest vector set, or -1.
int highest(const std::array<std::uint32_t, 8>& bits) {
    for (int word = 7; word >= 0; --word) {
        if (const std::uint32_t value = bits[static_cast<unsigned>(word)]) {
            return word * 32 + 31 - std::countl_zero(value);
        }
    }
    return -1;
}

bool test(const std::array<std::uint32_t, 8>& bits, unsigned vector) {
    return bits[vector >> 5] >> (vector & 31) & 1;
}

void assign(std::array<std::uint32_t, 8>& bits, unsigned vector, bool value) {
    const std::uint32_t mask = 1u << (vector & 31);
    bits[vector >> 5] = value ? bits[vector >> 5] | mask : bits[vector >> 5] & ~mask;
}

}  // namespace

LocalApic::LocalApic(ApicBus& bus, core::Clocks& clocks, InterruptAcknowledge* ext_int,
                     Config config)
    : bus_(bus),
      ext_int_(ext_int),
      config_(config),
      timer_(clocks, [this] { raise_local(kTimer); }) {
    bus_.attach(*this);
    LocalApic::reset();
}

LocalApic::~LocalApic() {
    bus_.detach(*this);
}

void LocalApic::connect(core::Vcpu& vcpu) {
    vcpu_ = &vcpu;
    timer_.connect_tsc(vcpu.tsc_port());
    vcpu.connect_apic(this);
    pending_.store(false, std::memory_order_relaxed);
    update();
}

void LocalApic::reset() {
    apic_base_.store(kBaseAddress | kBaseEnable | (config_.bootstrap ? kBaseBsp : 0),
                     std::memory_order_relaxed);
    sipi_vector_.store(0, std::memory_order_relaxed);
    reset_registers();
    hand_over();
}

void LocalApic::init_reset() {
    const core::MachineLockGuard lock;
    reset_registers();
}

/// What power-up, INIT and disabling by IA32_APIC_BASE have in common (SDM vol. 3, 11.4.7.1).
void LocalApic::reset_registers() {
    timer_.reset();
    irr_ = isr_ = tmr_ = {};
    tpr_.store(0, std::memory_order_relaxed);
    ldr_ = 0;
    dfr_ = 0xffffffff;
    svr_ = kSvrReset;
    esr_ = esr_pending_ = 0;
    icr_low_ = icr_high_ = 0;
    lvt_.fill(kLvtMasked);
    ext_int_message_ = false;
    if (config_.bootstrap) {
        // Virtual wire mode, as a board's firmware leaves it: a kernel that is started without
        // firmware counts on the 8259 reaching the CPU.
        lvt_[kLint0] = static_cast<std::uint32_t>(DeliveryMode::kExtInt) << kLvtModeShift;
    }
    update();
}

bool LocalApic::enabled() const {
    return apic_base() & kBaseEnable;
}

bool LocalApic::x2apic_mode() const {
    return apic_base() & kBaseExtd;
}

std::uint32_t LocalApic::logical_id() const {
    // SDM vol. 3, 11.12.10.2: derived from the x2APIC ID.
    return x2apic_mode() ? (config_.id & 0xffff0) << 12 | 1u << (config_.id & 0xf) : ldr_;
}

bool LocalApic::accepts_fixed() const {
    return enabled() && (svr_ & kSvrEnable);
}

std::uint8_t LocalApic::processor_priority() const {
    const std::uint8_t tpr = tpr_.load(std::memory_order_relaxed);
    const int in_service = highest(isr_);
    if (in_service < 0 || (tpr & 0xf0) >= (in_service & 0xf0)) {
        return tpr;
    }
    return static_cast<std::uint8_t>(in_service & 0xf0);
}

/// The vector that the CPU would be given now, or -1.
int LocalApic::deliverable_vector() const {
    if (!enabled()) {
        return -1;
    }
    const int vector = highest(irr_);
    return vector >= 0 && (vector & 0xf0) > (processor_priority() & 0xf0) ? vector : -1;
}

bool LocalApic::ext_int_pending() const {
    if (!enabled()) {
        return lint_level_[0];  // the pin is INTR then (SDM vol. 3, 11.4.3)
    }
    constexpr auto kExtInt = static_cast<std::uint32_t>(DeliveryMode::kExtInt) << kLvtModeShift;
    const std::uint32_t lint0 = lvt_[kLint0];
    return ext_int_message_ ||
           (lint_level_[0] && !(lint0 & kLvtMasked) && (lint0 & kLvtMode) == kExtInt);
}

void LocalApic::update() {
    const bool pending = deliverable_vector() >= 0 || ext_int_pending();
    if (pending == pending_.load(std::memory_order_relaxed)) {
        return;
    }
    pending_.store(pending, std::memory_order_release);
    if (!vcpu_) {
        return;
    }
    if (pending) {
        vcpu_->request(core::kRequestIntr);
    } else {
        vcpu_->clear_request(core::kRequestIntr);
    }
}

int LocalApic::acknowledge() {
    const core::MachineLockGuard lock;
    const int vector = deliverable_vector();
    if (vector >= 0) {
        assign(irr_, static_cast<unsigned>(vector), false);
        assign(isr_, static_cast<unsigned>(vector), true);
        update();
        return vector;
    }
    if (ext_int_pending() && ext_int_) {
        ext_int_message_ = false;
        const std::uint8_t external = ext_int_->acknowledge_interrupt();
        update();
        return external;
    }
    update();
    return -1;
}

void LocalApic::set_cr8(std::uint8_t value) {
    if (value == cr8()) {
        return;
    }
    const core::MachineLockGuard lock;
    tpr_.store(static_cast<std::uint8_t>(value << 4), std::memory_order_relaxed);
    update();
}

bool LocalApic::set_apic_base(std::uint64_t value) {
    const core::MachineLockGuard lock;
    const std::uint64_t writable = (1ull << config_.physical_bits) - 1;
    constexpr std::uint64_t kReservedLow = 0xff | 1u << 9;
    if ((value & ~writable) || (value & kReservedLow)) {
        return false;
    }
    // SDM vol. 3, 11.12.5: what EN and EXTD may change to.
    const std::uint64_t before = apic_base();
    const auto mode = [](std::uint64_t base) { return base & (kBaseEnable | kBaseExtd); };
    constexpr std::uint64_t kX2apic = kBaseEnable | kBaseExtd;
    const std::uint64_t from = mode(before);
    const std::uint64_t to = mode(value);
    if (to == kBaseExtd || (to == kX2apic && (!config_.x2apic || from == 0)) ||
        (from == kX2apic && to == kBaseEnable)) {
        return false;
    }
    if ((value & ~0xfffull) != kBaseAddress) {
        util::log_write(util::kLogUnimp,
                        "apic: base {:#x} is kept, but the registers stay at {:#x}\n", value,
                        kBaseAddress);
    }
    apic_base_.store(value, std::memory_order_relaxed);
    if (from != 0 && to == 0) {
        reset_registers();
    }
    update();
    return true;
}

std::uint64_t LocalApic::tsc_deadline() const {
    const core::MachineLockGuard lock;
    return timer_.tsc_deadline();
}

void LocalApic::set_tsc_deadline(std::uint64_t tsc) {
    const core::MachineLockGuard lock;
    timer_.set_tsc_deadline(tsc);
}

void LocalApic::request(std::uint32_t bits) {
    if (vcpu_) {
        vcpu_->request(bits);
    }
}

/// SDM vol. 3, 11.6.2: does `message`'s destination name this APIC?
bool LocalApic::matches(const InterruptMessage& message) const {
    const std::uint32_t destination = message.destination;
    const std::uint32_t broadcast = message.wide ? 0xffffffff : 0xff;
    if (destination == broadcast && (!message.logical || message.wide)) {
        return true;
    }
    if (!message.logical) {
        return destination == (x2apic_mode() ? config_.id : config_.id & 0xff);
    }
    if (x2apic_mode()) {
        const std::uint32_t id = logical_id();
        return (destination >> 16) == (id >> 16) && (destination & id & 0xffff);
    }
    const std::uint32_t id = ldr_ >> 24;
    if (dfr_ >> 28 == kDfrFlat) {
        return destination & id & 0xff;
    }
    const std::uint32_t cluster = destination >> 4 & 0xf;
    return (cluster == 0xf || cluster == id >> 4) && (destination & id & 0xf);
}

bool LocalApic::receive(const InterruptMessage& message) {
    if (!enabled()) {
        return false;
    }
    // INIT, NMI, SMI and start-up IPIs are taken also while software has disabled the APIC
    // (SDM vol. 3, 11.4.7.2).
    switch (message.mode) {
        case DeliveryMode::kFixed:
        case DeliveryMode::kLowestPriority:
            return accept_fixed(message.vector, message.level_triggered);
        case DeliveryMode::kSmi:
            request(core::kRequestSmi);
            return true;
        case DeliveryMode::kNmi:
            request(core::kRequestNmi);
            return true;
        case DeliveryMode::kInit:
            request(core::kRequestInit);
            return true;
        case DeliveryMode::kStartUp:
            sipi_vector_.store(message.vector, std::memory_order_relaxed);
            request(core::kRequestSipi);
            return true;
        case DeliveryMode::kExtInt:
            ext_int_message_ = true;
            update();
            return true;
        case DeliveryMode::kRemoteRead:
            break;
    }
    return false;
}

bool LocalApic::accept_fixed(std::uint8_t vector, bool level_triggered) {
    if (!accepts_fixed()) {
        return false;
    }
    if (vector < kFirstLegalVector) {
        raise_error(kEsrReceiveIllegalVector);
        return false;
    }
    assign(irr_, vector, true);
    assign(tmr_, vector, level_triggered);
    update();
    return true;
}

void LocalApic::raise_error(std::uint32_t bit) {
    const bool is_new = !(esr_pending_ & bit);
    esr_pending_ |= bit;
    // An illegal vector in the error entry itself would come back here for ever.
    if (is_new && (lvt_[kError] & kLvtVector) >= kFirstLegalVector) {
        raise_local(kError);
    }
}

/// A local source signals: delivers what its LVT entry says.
void LocalApic::raise_local(Lvt entry) {
    const std::uint32_t value = lvt_[entry];
    if ((value & kLvtMasked) || !enabled()) {
        return;
    }
    const bool fixed_only = entry == kTimer || entry == kError;
    const auto mode = fixed_only ? DeliveryMode::kFixed
                                 : static_cast<DeliveryMode>((value & kLvtMode) >> kLvtModeShift);
    if (mode == DeliveryMode::kExtInt) {
        update();  // follows the pin
        return;
    }
    if (mode == DeliveryMode::kStartUp || mode == DeliveryMode::kLowestPriority) {
        return;  // not for local interrupts (figure 11-8)
    }
    // Level sensitivity exists for LINT0 only ("LINT1 ... software should set it to 0").
    const bool level = entry == kLint0 && mode == DeliveryMode::kFixed && (value & kLvtLevel);
    if (level) {
        if (value & kLvtRemoteIrr) {
            return;
        }
        lvt_[entry] |= kLvtRemoteIrr;
    }
    receive({.level_triggered = level,
             .mode = mode,
             .vector = static_cast<std::uint8_t>(value & kLvtVector)});
}

void LocalApic::set_irq(int input, bool level) {
    if (input < 0 || input > 1) {
        return;
    }
    bool& line = lint_level_[static_cast<unsigned>(input)];
    const bool rising = level && !line;
    line = level;
    if (rising) {
        raise_local(input == 0 ? kLint0 : kLint1);
    }
    update();
}

void LocalApic::end_of_interrupt() {
    const int vector = highest(isr_);
    if (vector < 0) {
        return;
    }
    const auto number = static_cast<unsigned>(vector);
    assign(isr_, number, false);
    const bool was_level = test(tmr_, number);
    update();
    if (!was_level) {
        return;
    }
    if ((lvt_[kLint0] & kLvtRemoteIrr) && (lvt_[kLint0] & kLvtVector) == number) {
        lvt_[kLint0] &= ~kLvtRemoteIrr;
        if (lint_level_[0]) {
            raise_local(kLint0);
        }
    }
    bus_.broadcast_eoi(static_cast<std::uint8_t>(vector));
}

void LocalApic::serialize(core::Archive& archive) {
    if (!archive.restoring()) {
        fetch();
    }
    std::uint64_t base = apic_base();
    std::uint8_t tpr = tpr_.load(std::memory_order_relaxed);
    std::uint8_t sipi = sipi_vector();
    archive.field("apic_base", base);
    archive.field("tpr", tpr);
    archive.field("sipi_vector", sipi);
    archive.field("irr", irr_);
    archive.field("isr", isr_);
    archive.field("tmr", tmr_);
    archive.field("ldr", ldr_);
    archive.field("dfr", dfr_);
    archive.field("svr", svr_);
    archive.field("esr", esr_);
    archive.field("esr_pending", esr_pending_);
    archive.field("icr_low", icr_low_);
    archive.field("icr_high", icr_high_);
    archive.field("lvt", lvt_);
    archive.field("lint0", lint_level_[0]);
    archive.field("lint1", lint_level_[1]);
    archive.field("ext_int_message", ext_int_message_);
    archive.section("timer", 1, [this](core::Archive& a) { timer_.serialize(a); });
    if (archive.restoring()) {
        apic_base_.store(base, std::memory_order_relaxed);
        tpr_.store(tpr, std::memory_order_relaxed);
        sipi_vector_.store(sipi, std::memory_order_relaxed);
        hand_over();
        update();
    }
    if (config_.kernel != nullptr) {
        timer_.suspend();
    }
}

}  // namespace rhea::hw
