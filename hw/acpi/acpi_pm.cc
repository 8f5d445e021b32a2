#include "hw/acpi/acpi_pm.h"

#include "rhea/util/log.h"

namespace rhea::hw {
namespace {

// PM1 status and enable (ACPI 4.8.4.1)
constexpr std::uint16_t kTimer = 1u << 0;
constexpr std::uint16_t kGlobal = 1u << 5;
constexpr std::uint16_t kPowerButton = 1u << 8;
constexpr std::uint16_t kRtc = 1u << 10;
constexpr std::uint16_t kWake = 1u << 15;
constexpr std::uint16_t kEnableBits = kTimer | kGlobal | kPowerButton | kRtc;
// PM1 control
constexpr std::uint16_t kSciEnable = 1u << 0;
constexpr std::uint16_t kSleepTypeShift = 10;
constexpr std::uint16_t kSleepTypeMask = 7u << kSleepTypeShift;
constexpr std::uint16_t kSleepEnable = 1u << 13;
constexpr std::uint16_t kControlStored = kSciEnable | 1u << 1 | kSleepTypeMask;

constexpr std::string_view kEnable = "PMEN";
constexpr std::string_view kControl = "PMCNTRL";
constexpr std::string_view kGpeStatus = "GPE0_STS";
constexpr std::string_view kGpeEnable = "GPE0_EN";

}  // namespace

AcpiPm::AcpiPm(core::Clocks& clocks, core::MachineRequests& requests, core::IrqLine sci,
               Config config)
    : clocks_(clocks),
      requests_(requests),
      sci_(sci),
      config_(config),
      overflow_timer_(clocks, core::ClockType::kVirtual, [this] { update(); }),
      registers_("acpi-pm", kBlockSize),
      gpe_("acpi-gpe", kGpeBlockSize) {
    using Value = std::uint64_t;
    const auto changed = [this](Value, Value) { update(); };
    registers_.add({.offset = 0x00,
                    .size = 2,
                    .name = "PMSTS",
                    .on_read = [this](Value) -> Value { return status(); },
                    .write_value = [this](Value, Value written) -> Value {
                        status_ &= static_cast<std::uint16_t>(~written);
                        if ((written & kTimer) && ticks() >= overflow_tick_) {
                            overflow_tick_ = (ticks() / half_range() + 1) * half_range();
                        }
                        update();
                        return 0;
                    }});
    registers_.add({.offset = 0x02,
                    .size = 2,
                    .name = kEnable,
                    .write_mask = kEnableBits,
                    .on_write = changed});
    registers_.add({.offset = 0x04,
                    .size = 2,
                    .name = kControl,
                    .on_write = changed,
                    .write_value = [this](Value, Value written) -> Value {
                        write_control(static_cast<std::uint16_t>(written));
                        return written & kControlStored;
                    }});
    registers_.add({.offset = 0x08,
                    .size = 4,
                    .name = "PMTMR",
                    .write_mask = 0,
                    .on_read = [this](Value) -> Value {
                        return static_cast<Value>(ticks()) &
                               (2 * static_cast<Value>(half_range()) - 1);
                    }});
    // What the PIIX4 has besides ACPI: storage without effect in a machine without SMM and without
    // the device monitors.
    registers_.add({.offset = 0x10, .size = 4, .name = "PCNTRL"});
    registers_.add({.offset = 0x14, .size = 1, .name = "PLVL2", .write_mask = 0});
    registers_.add({.offset = 0x15, .size = 1, .name = "PLVL3", .write_mask = 0});
    registers_.add({.offset = 0x18, .size = 2, .name = "GLBSTS", .write_mask = 0});
    registers_.add({.offset = 0x1c, .size = 4, .name = "DEVSTS", .write_mask = 0});
    registers_.add({.offset = 0x20, .size = 2, .name = "GLBEN"});
    registers_.add({.offset = 0x28, .size = 4, .name = "GLBCTL"});
    registers_.add({.offset = 0x2c, .size = 4, .name = "DEVCTL"});
    registers_.add({.offset = 0x30, .size = 4, .name = "GPIREG", .write_mask = 0});
    registers_.add({.offset = 0x34, .size = 4, .name = "GPOREG"});
    gpe_.add({.offset = 0,
              .size = 2,
              .name = kGpeStatus,
              .write_mask = 0,
              .clear_mask = 0xffff,
              .on_write = changed});
    gpe_.add({.offset = 2, .size = 2, .name = kGpeEnable, .on_write = changed});
    region_ = core::MemoryRegion::io("acpi-pm", kBlockSize, registers_);
    gpe_region_ = core::MemoryRegion::io("acpi-gpe0", kGpeBlockSize, gpe_);
    overflow_tick_ = half_range();
}

std::int64_t AcpiPm::ticks() const {
    return static_cast<std::int64_t>(static_cast<__int128>(clocks_.virtual_ns()) * kTimerHz /
                                     core::kNanosecondsPerSecond);
}

/// TMR_STS is set whenever the timer's highest bit changes (ACPI 4.8.3.3).
std::int64_t AcpiPm::half_range() const {
    return std::int64_t{1} << (config_.timer_32_bit ? 31 : 23);
}

std::uint16_t AcpiPm::status() const {
    return static_cast<std::uint16_t>(status_ | (ticks() >= overflow_tick_ ? kTimer : 0));
}

void AcpiPm::update() {
    const bool event = (status() & registers_.get(kEnable) & kEnableBits) ||
                       (gpe_.get(kGpeStatus) & gpe_.get(kGpeEnable));
    sci_.set(acpi_enabled() && event);
    if ((registers_.get(kEnable) & kTimer) && ticks() < overflow_tick_) {
        // Rounded up, so that the tick has come when the timer fires.
        overflow_timer_.arm(static_cast<std::int64_t>(
            (static_cast<__int128>(overflow_tick_) * core::kNanosecondsPerSecond + kTimerHz - 1) /
            kTimerHz));
    } else {
        overflow_timer_.disarm();
    }
}

bool AcpiPm::acpi_enabled() const {
    return registers_.get(kControl) & kSciEnable;
}

void AcpiPm::set_acpi_enabled(bool enabled) {
    const std::uint64_t control = registers_.get(kControl);
    registers_.set(kControl, enabled ? control | kSciEnable : control & ~std::uint64_t{kSciEnable});
    update();
}

void AcpiPm::press_power_button() {
    status_ |= kPowerButton;
    update();
}

void AcpiPm::raise_gpe(unsigned bit) {
    gpe_.set(kGpeStatus, gpe_.get(kGpeStatus) | (1u << (bit & 15)));
    update();
}

void AcpiPm::write_control(std::uint16_t value) {
    if (!(value & kSleepEnable)) {
        return;
    }
    const unsigned type = (value & kSleepTypeMask) >> kSleepTypeShift;
    const SleepTypes& types = config_.sleep_types;
    if (type == types.soft_off || type == types.suspend_to_disk) {
        requests_.request_shutdown(core::ShutdownCause::kGuestShutdown);
    } else if (type == types.suspend_to_ram) {
        // Not offered by the DSDT: whoever tries wakes up at once.
        util::log_write(util::kLogUnimp, "acpi-pm: suspend to RAM is not implemented\n");
        status_ |= kWake;
    } else {
        util::log_write(util::kLogGuestErrors, "acpi-pm: unknown sleep type {}\n", type);
    }
}

void AcpiPm::reset() {
    registers_.reset();
    gpe_.reset();
    status_ = 0;
    overflow_tick_ = (ticks() / half_range() + 1) * half_range();
    update();
}

void AcpiPm::serialize(core::Archive& archive) {
    archive.field("status", status_);
    archive.field("overflow_tick", overflow_tick_);
    archive.section("pm", 1, [this](core::Archive& a) { registers_.serialize(a); });
    archive.section("gpe", 1, [this](core::Archive& a) { gpe_.serialize(a); });
    if (archive.restoring()) {
        if (overflow_tick_ < 0 || overflow_tick_ > ticks() + half_range()) {
            archive.fail("overflow_tick is out of range");
            overflow_tick_ = (ticks() / half_range() + 1) * half_range();
        }
        update();
    }
}

}  // namespace rhea::hw
