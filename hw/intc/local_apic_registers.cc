// The local APIC's registers: one table for the xAPIC page (offset = index << 4) and the x2APIC
// MSRs (0x800 + index). SDM vol. 3, tables 11-1 and 11-6.
#include <array>

#include "hw/intc/apic_bus.h"
#include "hw/intc/local_apic.h"
#include "hw/intc/local_apic_bits.h"
#include "rhea/core/machine_lock.h"
#include "rhea/util/log.h"

namespace rhea::hw {

using namespace apic;

/// The register table. `index` tells the registers of an array apart.
struct ApicRegisters {
    using Read = std::uint32_t (*)(const LocalApic& apic, unsigned index);
    using Write = void (*)(LocalApic& apic, unsigned index, std::uint32_t value);

    struct Register {
        const char* name = nullptr;
        Read read = nullptr;
        Write write = nullptr;
        std::uint32_t x2apic_valid = 0;  ///< bits that WRMSR may set; others give #GP
        bool in_xapic = true;
        bool in_x2apic = true;
        bool x2apic_read_only = false;
    };
    using Table = std::array<Register, 0x40>;

    static constexpr unsigned kIndexIcrLow = 0x30;
    static constexpr unsigned kIndexIcrHigh = 0x31;
    static const Table kTable;

    // Version 14h, six LVT entries (SDM vol. 3, 11.4.8).
    static constexpr std::uint32_t kVersion = 0x14 | (LocalApic::kLvtCount - 1) << 16;

    static std::uint32_t id(const LocalApic& apic, unsigned) {
        return apic.x2apic_mode() ? apic.config_.id : apic.config_.id << 24;
    }
    static std::uint32_t version(const LocalApic&, unsigned) { return kVersion; }
    static std::uint32_t tpr(const LocalApic& apic, unsigned) { return apic.tpr_; }
    static void set_tpr(LocalApic& apic, unsigned, std::uint32_t value) {
        apic.tpr_ = static_cast<std::uint8_t>(value);
        apic.update();
    }
    static std::uint32_t ppr(const LocalApic& apic, unsigned) { return apic.processor_priority(); }
    static std::uint32_t zero(const LocalApic&, unsigned) { return 0; }
    static void ignore(LocalApic&, unsigned, std::uint32_t) {}
    static void eoi(LocalApic& apic, unsigned, std::uint32_t) { apic.end_of_interrupt(); }
    static std::uint32_t ldr(const LocalApic& apic, unsigned) { return apic.logical_id(); }
    static void set_ldr(LocalApic& apic, unsigned, std::uint32_t value) {
        apic.ldr_ = value & 0xff000000;
    }
    static std::uint32_t dfr(const LocalApic& apic, unsigned) { return apic.dfr_; }
    static void set_dfr(LocalApic& apic, unsigned, std::uint32_t value) {
        apic.dfr_ = value | kDfrReserved;
    }
    static std::uint32_t svr(const LocalApic& apic, unsigned) { return apic.svr_; }
    static void set_svr(LocalApic& apic, unsigned, std::uint32_t value) {
        apic.write_spurious(value);
    }
    static std::uint32_t isr(const LocalApic& apic, unsigned index) { return apic.isr_[index & 7]; }
    static std::uint32_t tmr(const LocalApic& apic, unsigned index) { return apic.tmr_[index & 7]; }
    static std::uint32_t irr(const LocalApic& apic, unsigned index) { return apic.irr_[index & 7]; }
    static std::uint32_t esr(const LocalApic& apic, unsigned) { return apic.esr_; }
    static void set_esr(LocalApic& apic, unsigned, std::uint32_t) {
        // SDM vol. 3, 11.5.3: a write moves what was gathered to where reads see it.
        apic.esr_ = apic.esr_pending_;
        apic.esr_pending_ = 0;
    }
    static std::uint32_t icr_low(const LocalApic& apic, unsigned) { return apic.icr_low_; }
    static std::uint32_t icr_high(const LocalApic& apic, unsigned) { return apic.icr_high_; }
    static void set_icr_low(LocalApic& apic, unsigned, std::uint32_t value) {
        apic.write_icr(apic.icr_high_, value);
    }
    static void set_icr_high(LocalApic& apic, unsigned, std::uint32_t value) {
        apic.icr_high_ = value & 0xff000000;
    }
    static constexpr unsigned kIndexLvtTimer = 0x32;
    static std::uint32_t lvt(const LocalApic& apic, unsigned index) {
        return apic.lvt_[index - kIndexLvtTimer];
    }
    static void set_lvt(LocalApic& apic, unsigned index, std::uint32_t value) {
        apic.write_lvt(static_cast<LocalApic::Lvt>(index - kIndexLvtTimer), value);
    }
    static std::uint32_t initial_count(const LocalApic& apic, unsigned) {
        return apic.timer_.initial_count();
    }
    static void set_initial_count(LocalApic& apic, unsigned, std::uint32_t value) {
        apic.timer_.set_initial_count(value);
    }
    static std::uint32_t current_count(const LocalApic& apic, unsigned) {
        return apic.timer_.current_count();
    }
    static std::uint32_t divide(const LocalApic& apic, unsigned) {
        return apic.timer_.divide_configuration();
    }
    static void set_divide(LocalApic& apic, unsigned, std::uint32_t value) {
        apic.timer_.set_divide_configuration(value);
    }
    static void self_ipi(LocalApic& apic, unsigned, std::uint32_t value) {
        apic.self_interrupt(static_cast<std::uint8_t>(value));
    }

    static constexpr Table make_table();
};

constexpr ApicRegisters::Table ApicRegisters::make_table() {
    Table t{};
    t[0x02] = {.name = "ID", .read = id, .write = ignore, .x2apic_read_only = true};
    t[0x03] = {.name = "VERSION", .read = version, .write = ignore, .x2apic_read_only = true};
    t[0x08] = {.name = "TPR", .read = tpr, .write = set_tpr, .x2apic_valid = 0xff};
    t[0x09] = {.name = "APR", .read = ppr, .write = ignore, .in_x2apic = false};
    t[0x0a] = {.name = "PPR", .read = ppr, .write = ignore, .x2apic_read_only = true};
    t[0x0b] = {.name = "EOI", .write = eoi};
    t[0x0c] = {.name = "RRD", .read = zero, .write = ignore, .in_x2apic = false};
    t[0x0d] = {.name = "LDR", .read = ldr, .write = set_ldr, .x2apic_read_only = true};
    t[0x0e] = {.name = "DFR", .read = dfr, .write = set_dfr, .in_x2apic = false};
    t[0x0f] = {.name = "SVR", .read = svr, .write = set_svr, .x2apic_valid = kSvrWritable};
    for (unsigned i = 0; i < 8; ++i) {
        t[0x10 + i] = {.name = "ISR", .read = isr, .write = ignore, .x2apic_read_only = true};
        t[0x18 + i] = {.name = "TMR", .read = tmr, .write = ignore, .x2apic_read_only = true};
        t[0x20 + i] = {.name = "IRR", .read = irr, .write = ignore, .x2apic_read_only = true};
    }
    t[0x28] = {.name = "ESR", .read = esr, .write = set_esr};
    t[kIndexIcrLow] = {.name = "ICR", .read = icr_low, .write = set_icr_low};
    t[kIndexIcrHigh] = {
        .name = "ICR2", .read = icr_high, .write = set_icr_high, .in_x2apic = false};
    constexpr std::uint32_t kCommon = kLvtVector | kLvtMasked;
    constexpr std::uint32_t kWithMode = kCommon | kLvtMode;
    constexpr std::array<std::uint32_t, LocalApic::kLvtCount> kValid = {
        kCommon | kLvtTimerMode,
        kWithMode,
        kWithMode,
        kWithMode | kLvtPolarity | kLvtLevel,
        kWithMode | kLvtPolarity | kLvtLevel,
        kCommon};
    constexpr std::array<const char*, LocalApic::kLvtCount> kNames = {
        "LVT timer", "LVT thermal", "LVT performance", "LVT LINT0", "LVT LINT1", "LVT error"};
    for (unsigned i = 0; i < LocalApic::kLvtCount; ++i) {
        t[kIndexLvtTimer + i] = {
            .name = kNames[i], .read = lvt, .write = set_lvt, .x2apic_valid = kValid[i]};
    }
    t[0x38] = {.name = "initial count",
               .read = initial_count,
               .write = set_initial_count,
               .x2apic_valid = 0xffffffff};
    t[0x39] = {
        .name = "current count", .read = current_count, .write = ignore, .x2apic_read_only = true};
    t[0x3e] = {.name = "DCR", .read = divide, .write = set_divide, .x2apic_valid = 0xb};
    t[0x3f] = {.name = "SELF IPI", .write = self_ipi, .x2apic_valid = 0xff, .in_xapic = false};
    return t;
}

constexpr ApicRegisters::Table ApicRegisters::kTable = ApicRegisters::make_table();

std::uint32_t LocalApic::mmio_read(core::hwaddr offset) {
    if (!enabled() || x2apic_mode()) {
        return 0xffffffff;
    }
    const auto index = static_cast<unsigned>(offset >> 4);
    if ((offset & 0xf) != 0) {
        return 0;  // registers are at 16-byte boundaries; between them nothing is defined
    }
    if (index >= ApicRegisters::kTable.size() || !ApicRegisters::kTable[index].name ||
        !ApicRegisters::kTable[index].in_xapic) {
        raise_error(kEsrIllegalRegister);
        return 0;
    }
    const ApicRegisters::Register& reg = ApicRegisters::kTable[index];
    return reg.read ? reg.read(*this, index) : 0;
}

void LocalApic::mmio_write(core::hwaddr offset, std::uint32_t value) {
    if (!enabled() || x2apic_mode() || (offset & 0xf) != 0) {
        return;
    }
    const auto index = static_cast<unsigned>(offset >> 4);
    if (index >= ApicRegisters::kTable.size() || !ApicRegisters::kTable[index].name ||
        !ApicRegisters::kTable[index].in_xapic) {
        util::log_write(util::kLogGuestErrors, "apic: write to unknown register {:#x}\n", offset);
        raise_error(kEsrIllegalRegister);
        return;
    }
    ApicRegisters::kTable[index].write(*this, index, value);
}

namespace {

constexpr std::uint32_t kFirstMsr = 0x800;

/// The x2APIC register of `msr`, or null: #GP.
const ApicRegisters::Register* x2apic_register(std::uint32_t msr) {
    const std::uint32_t index = msr - kFirstMsr;
    if (index >= ApicRegisters::kTable.size()) {
        return nullptr;
    }
    const ApicRegisters::Register& reg = ApicRegisters::kTable[index];
    return reg.name && reg.in_x2apic ? &reg : nullptr;
}

}  // namespace

bool LocalApic::x2apic_read(std::uint32_t msr, std::uint64_t& value) {
    const core::MachineLockGuard lock;
    const ApicRegisters::Register* reg = x2apic_mode() ? x2apic_register(msr) : nullptr;
    if (!reg || !reg->read) {
        return false;
    }
    const std::uint32_t index = msr - kFirstMsr;
    value = reg->read(*this, index);
    if (index == ApicRegisters::kIndexIcrLow) {
        value |= static_cast<std::uint64_t>(icr_high_) << 32;
    }
    return true;
}

bool LocalApic::x2apic_write(std::uint32_t msr, std::uint64_t value) {
    const core::MachineLockGuard lock;
    const ApicRegisters::Register* reg = x2apic_mode() ? x2apic_register(msr) : nullptr;
    if (!reg || !reg->write || reg->x2apic_read_only) {
        return false;
    }
    const std::uint32_t index = msr - kFirstMsr;
    const auto low = static_cast<std::uint32_t>(value);
    if (index == ApicRegisters::kIndexIcrLow) {
        if (low & ~kIcrWritable) {
            return false;
        }
        write_icr(static_cast<std::uint32_t>(value >> 32), low);
        return true;
    }
    if (value & ~static_cast<std::uint64_t>(reg->x2apic_valid)) {
        return false;
    }
    reg->write(*this, index, low);
    return true;
}

void LocalApic::write_spurious(std::uint32_t value) {
    svr_ = value & kSvrWritable;
    if (!(svr_ & kSvrEnable)) {
        // SDM vol. 3, 11.4.7.2: all mask bits are set and stay set while disabled.
        for (std::uint32_t& entry : lvt_) {
            entry |= kLvtMasked;
        }
    }
    update();
}

void LocalApic::write_lvt(Lvt entry, std::uint32_t value) {
    const std::uint32_t valid =
        ApicRegisters::kTable[ApicRegisters::kIndexLvtTimer + entry].x2apic_valid;
    const std::uint32_t before = lvt_[entry];
    std::uint32_t now = value & valid;
    if (!(svr_ & kSvrEnable)) {
        now |= kLvtMasked;
    }
    if (now & kLvtLevel) {
        now |= before & kLvtRemoteIrr;
    }
    lvt_[entry] = now;
    if (entry == kTimer) {
        timer_.set_mode(static_cast<ApicTimer::Mode>((now & kLvtTimerMode) >> kLvtTimerModeShift));
    } else if (entry == kLint0 && lint_level_[0] && (now & kLvtLevel)) {
        raise_local(kLint0);  // a level that waited for its entry
    }
    update();
}

void LocalApic::self_interrupt(std::uint8_t vector) {
    if (vector < kFirstLegalVector) {
        raise_error(kEsrSendIllegalVector);
        return;
    }
    accept_fixed(vector, false);
}

void LocalApic::write_icr(std::uint32_t high, std::uint32_t low) {
    icr_high_ = high;
    icr_low_ = low & kIcrWritable;

    enum Shorthand : unsigned { kNone, kSelf, kAllIncludingSelf, kAllExcludingSelf };
    const auto shorthand = static_cast<Shorthand>(low >> kIcrShorthandShift & 3);
    const auto mode = static_cast<DeliveryMode>(low >> 8 & 7);
    const auto vector = static_cast<std::uint8_t>(low);
    if (mode == DeliveryMode::kInit && (low & kIcrLevel) && !(low & kIcrAssert)) {
        return;  // INIT level de-assert only set arbitration IDs, on CPUs of the past
    }
    if (mode == DeliveryMode::kRemoteRead || mode == DeliveryMode::kExtInt) {
        util::log_write(util::kLogGuestErrors, "apic: reserved delivery mode in ICR {:#x}\n", low);
        return;
    }
    const bool has_vector = mode == DeliveryMode::kFixed || mode == DeliveryMode::kLowestPriority;
    if (has_vector && vector < kFirstLegalVector) {
        raise_error(kEsrSendIllegalVector);
        return;
    }
    // Table 11-3: IPIs are edge-triggered, whatever ICR's trigger mode says.
    const InterruptMessage message{.destination = x2apic_mode() ? high : high >> 24,
                                   .wide = x2apic_mode(),
                                   .logical = (low & kIcrLogical) != 0,
                                   .mode = mode,
                                   .vector = vector};
    switch (shorthand) {
        case kNone:
            bus_.deliver(message);
            break;
        case kSelf:
            if (mode == DeliveryMode::kFixed) {
                accept_fixed(vector, false);
            } else {
                util::log_write(util::kLogGuestErrors, "apic: self IPI of mode {}\n",
                                static_cast<unsigned>(mode));
            }
            break;
        case kAllIncludingSelf:
            bus_.deliver_to_all(message, nullptr);
            break;
        case kAllExcludingSelf:
            bus_.deliver_to_all(message, this);
            break;
    }
}

}  // namespace rhea::hw
