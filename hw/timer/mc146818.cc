#include "hw/timer/mc146818.h"

#include <algorithm>
#include <ctime>

#include "hw/timer/civil_time.h"

namespace rhea::hw {
namespace {

constexpr core::hwaddr kPort = 0x70;
constexpr std::int64_t kSecond = core::kNanosecondsPerSecond;

enum Index : std::uint8_t {
    kSeconds = 0x00,
    kSecondsAlarm = 0x01,
    kMinutes = 0x02,
    kMinutesAlarm = 0x03,
    kHours = 0x04,
    kHoursAlarm = 0x05,
    kDayOfWeek = 0x06,
    kDate = 0x07,
    kMonth = 0x08,
    kYear = 0x09,
    kRegisterA = 0x0a,
    kRegisterB = 0x0b,
    kRegisterC = 0x0c,
    kRegisterD = 0x0d,
    kCentury = 0x32,  ///< where PC firmware keeps it
};

constexpr std::uint8_t kUip = 0x80;
constexpr std::uint8_t kRateSelect = 0x0f;
constexpr std::uint8_t kDivider = 0x70;
constexpr std::uint8_t kDivider32768Hz = 0x20;

constexpr std::uint8_t kSet = 0x80;
constexpr std::uint8_t kPie = 0x40;
constexpr std::uint8_t kAie = 0x20;
constexpr std::uint8_t kUie = 0x10;
constexpr std::uint8_t kSqwe = 0x08;
constexpr std::uint8_t kBinary = 0x04;
constexpr std::uint8_t k24Hours = 0x02;

constexpr std::uint8_t kIrqf = 0x80;
constexpr std::uint8_t kPf = 0x40;
constexpr std::uint8_t kAf = 0x20;
constexpr std::uint8_t kUf = 0x10;

constexpr std::uint8_t kVrt = 0x80;
constexpr std::uint8_t kPm = 0x80;        ///< hours in 12-hour mode
constexpr std::uint8_t kDontCare = 0xc0;  ///< alarm bytes 0xc0..0xff match always

/// UIP is set for the 244 us before an update cycle and the 1984 us of it (datasheet, figure 14).
constexpr std::int64_t kUipNs = 244'000 + 1'984'000;
/// The first update comes half a second after the divider leaves reset.
constexpr std::int64_t kDividerPhaseNs = kSecond / 2;
/// Half a period of the 32,768 Hz crystal, as a fraction: 10^9 / 65,536 ns.
constexpr std::int64_t kHalfPeriodsPerSecond = 65'536;
/// 64 bits of nanoseconds reach from 1677 to 2262; the guest's clock is kept within these, so that
/// arithmetic on it does not overflow.
constexpr std::int64_t kEarliestSecond = -4'000'000'000;
constexpr std::int64_t kLatestSecond = 9'000'000'000;
/// How far a clock that was set to a limit may have run since.
constexpr std::int64_t kSlackSeconds = 100'000'000;
constexpr std::int64_t kNever = INT64_MAX;

std::int64_t zone_offset_ns(const core::Clocks& clocks) {
    const std::time_t now = clocks.now(core::ClockType::kHost) / kSecond;
    std::tm local{};
    return localtime_r(&now, &local) ? local.tm_gmtoff * kSecond : 0;
}

}  // namespace

Mc146818::Mc146818(core::Clocks& clocks, core::IrqLine irq8, Config config)
    : clocks_(clocks),
      irq8_(irq8),
      offset_ns_(
          std::clamp(config.offset_ns, kEarliestSecond * kSecond, -kEarliestSecond * kSecond) +
          (config.local_time ? zone_offset_ns(clocks) : 0)),
      timer_(clocks, core::ClockType::kHost,
             [this] {
                 catch_up();
                 arm_timer();
             }),
      ports_("mc146818rtc", 4) {
    const auto add = [this](core::hwaddr offset, std::string_view name, auto on_read, auto write) {
        ports_.add({.offset = offset,
                    .name = name,
                    .on_read = on_read,
                    .write_value = [write](std::uint64_t, std::uint64_t value) -> std::uint64_t {
                        write(static_cast<std::uint8_t>(value));
                        return 0;
                    }});
    };
    const auto nothing = [](std::uint64_t) -> std::uint64_t { return 0xff; };  // write-only
    // Bit 7 of port 0x70 masks NMI, which nothing in this machine raises through it.
    add(0, "INDEX", nothing, [this](std::uint8_t value) { index_ = value & 0x7f; });
    add(
        1, "DATA", [this](std::uint64_t) -> std::uint64_t { return read(index_); },
        [this](std::uint8_t value) { write(index_, value); });
    add(2, "EXTENDED INDEX", nothing,
        [this](std::uint8_t value) { extended_index_ = value | 0x80; });
    add(
        3, "EXTENDED DATA", [this](std::uint64_t) -> std::uint64_t { return reg(extended_index_); },
        [this](std::uint8_t value) { reg(extended_index_) = value; });
    region_ = core::MemoryRegion::io("rtc", 4, ports_, {.min = 1, .max = 1});
    extended_index_ = 0x80;
    reg(kRegisterA) = kDivider32768Hz | 6;
    reg(kRegisterB) = k24Hours;
    seen_ns_ = guest_ns();
}

void Mc146818::map(core::MemoryRegion& io_root) {
    io_root.add(kPort, *region_);
}

void Mc146818::reset() {
    // Datasheet, "RESET": interrupt enables, flags and SQWE are cleared; time and memory stay.
    reg(kRegisterB) &= static_cast<std::uint8_t>(~(kPie | kAie | kUie | kSqwe));
    reg(kRegisterC) = 0;
    index_ = 0;
    extended_index_ = 0x80;
    seen_ns_ = guest_ns();
    update_irq();
    arm_timer();
}

std::int64_t Mc146818::guest_ns() const {
    return clocks_.now(core::ClockType::kHost) + offset_ns_;
}

bool Mc146818::is_time(std::uint8_t index) const {
    return index == kCentury || (index <= kYear && index != kSecondsAlarm &&
                                 index != kMinutesAlarm && index != kHoursAlarm);
}

bool Mc146818::divider_reset() const {
    return (memory_[kRegisterA] & 0x60) == 0x60;
}

/// Updates do not happen; the time registers are plain memory then.
bool Mc146818::stopped() const {
    return (memory_[kRegisterB] & kSet) || (memory_[kRegisterA] & kDivider) != kDivider32768Hz;
}

std::uint8_t Mc146818::encode(int value) const {
    return static_cast<std::uint8_t>(memory_[kRegisterB] & kBinary ? value
                                                                   : value / 10 << 4 | value % 10);
}

int Mc146818::decode(std::uint8_t value) const {
    return memory_[kRegisterB] & kBinary ? value : (value >> 4) * 10 + (value & 0xf);
}

std::uint8_t Mc146818::encode_hour(int hour) const {
    if (memory_[kRegisterB] & k24Hours) {
        return encode(hour);
    }
    const int twelve = hour % 12 == 0 ? 12 : hour % 12;
    return static_cast<std::uint8_t>(encode(twelve) | (hour >= 12 ? kPm : 0));
}

int Mc146818::decode_hour(std::uint8_t value) const {
    if (memory_[kRegisterB] & k24Hours) {
        return decode(value);
    }
    const int twelve = decode(value & static_cast<std::uint8_t>(~kPm)) % 12;
    return twelve + (value & kPm ? 12 : 0);
}

void Mc146818::time_to_registers(std::int64_t seconds) {
    const CivilTime t = civil_from_seconds(seconds);
    const auto year = static_cast<int>(std::clamp<std::int64_t>(t.year, 0, 9999));
    reg(kSeconds) = encode(t.second);
    reg(kMinutes) = encode(t.minute);
    reg(kHours) = encode_hour(t.hour);
    reg(kDayOfWeek) = encode(t.weekday + 1);
    reg(kDate) = encode(t.day);
    reg(kMonth) = encode(t.month);
    reg(kYear) = encode(year % 100);
    reg(kCentury) = encode(year / 100);
}

std::int64_t Mc146818::registers_to_time() const {
    // The day of the week follows from the date.
    return seconds_from_civil({.year = decode(memory_[kCentury]) * 100 + decode(memory_[kYear]),
                               .month = decode(memory_[kMonth]),
                               .day = decode(memory_[kDate]),
                               .hour = decode_hour(memory_[kHours]),
                               .minute = decode(memory_[kMinutes]),
                               .second = decode(memory_[kSeconds])});
}

void Mc146818::set_guest_seconds(std::int64_t seconds, std::int64_t nanoseconds) {
    seconds = std::clamp(seconds, kEarliestSecond, kLatestSecond);
    offset_ns_ = seconds * kSecond + nanoseconds - clocks_.now(core::ClockType::kHost);
    seen_ns_ = guest_ns();
}

std::uint8_t Mc146818::read(std::uint8_t index) {
    if (index == kRegisterC) {
        catch_up();
        const std::uint8_t value = reg(kRegisterC);
        reg(kRegisterC) = 0;
        update_irq();
        arm_timer();
        return value;
    }
    if (index == kRegisterD) {
        return kVrt;
    }
    const std::int64_t now = guest_ns();
    const std::int64_t seconds = floor_div(now, kSecond);
    if (index == kRegisterA) {
        const bool updating = !stopped() && now - seconds * kSecond >= kSecond - kUipNs;
        return static_cast<std::uint8_t>(reg(kRegisterA) | (updating ? kUip : 0));
    }
    if (is_time(index) && !stopped()) {
        time_to_registers(seconds);
    }
    return reg(index);
}

void Mc146818::write(std::uint8_t index, std::uint8_t value) {
    if (index == kRegisterC || index == kRegisterD) {
        return;  // read-only
    }
    catch_up();
    if (index == kRegisterA || index == kRegisterB) {
        write_control(index, value);
    } else if (is_time(index) && !stopped()) {
        const std::int64_t now = guest_ns();
        const std::int64_t seconds = floor_div(now, kSecond);
        time_to_registers(seconds);
        reg(index) = value;
        set_guest_seconds(registers_to_time(), now - seconds * kSecond);
    } else {
        reg(index) = value;
    }
    arm_timer();
}

/// Registers A and B: what stops and starts the clock, and its formats.
void Mc146818::write_control(std::uint8_t index, std::uint8_t value) {
    const bool was_stopped = stopped();
    const bool was_reset = divider_reset();
    const std::int64_t now = guest_ns();
    const std::int64_t seconds = floor_div(now, kSecond);
    if (!was_stopped) {
        time_to_registers(seconds);
    }
    if (index == kRegisterA) {
        reg(kRegisterA) = value & static_cast<std::uint8_t>(~kUip);
    } else {
        // Datasheet, "SET": a one clears UIE.
        reg(kRegisterB) = value & kSet ? value & static_cast<std::uint8_t>(~kUie) : value;
        update_irq();
    }
    if (was_reset && !divider_reset()) {
        // The divider chain starts over; the seconds are still the registers'.
        set_guest_seconds(was_stopped ? registers_to_time() : seconds, kDividerPhaseNs);
    } else if (was_stopped && !stopped()) {
        set_guest_seconds(registers_to_time(), now - seconds * kSecond);
    }
}

/// The periodic interrupt's period in half periods of 32,768 Hz; 0: none.
std::int64_t Mc146818::periodic_half_periods() const {
    const unsigned rate = memory_[kRegisterA] & kRateSelect;
    if (rate == 0 || divider_reset()) {
        return 0;
    }
    // Table 5: rates 1 and 2 are those of 8 and 9 with a 32,768 Hz crystal.
    return std::int64_t{2} << ((rate <= 2 ? rate + 7 : rate) - 1);
}

/// The first time after `after_ns` at which PF is set.
std::int64_t Mc146818::next_periodic(std::int64_t after_ns) const {
    const std::int64_t period = periodic_half_periods();
    if (period == 0) {
        return kNever;
    }
    const auto ticks = static_cast<__int128>(after_ns) * kHalfPeriodsPerSecond;
    const __int128 unit = static_cast<__int128>(period) * kSecond;
    const __int128 done = ticks / unit - (ticks % unit < 0);
    const __int128 next = (done + 1) * unit;
    return static_cast<std::int64_t>((next + kHalfPeriodsPerSecond - 1) / kHalfPeriodsPerSecond);
}

/// The first second after `after` that matches the alarm, or kNever within a day and a bit.
std::int64_t Mc146818::next_alarm(std::int64_t after) const {
    const auto wanted = [&](std::uint8_t index, int value, bool hour) {
        const std::uint8_t raw = memory_[index];
        if (raw >= kDontCare) {
            return true;
        }
        return (hour ? decode_hour(raw) : decode(raw)) == value;
    };
    const std::int64_t first = after + 1;
    const std::int64_t hour_base = floor_div(first, 3600) * 3600;
    for (std::int64_t hour = hour_base; hour <= hour_base + kSecondsPerDay; hour += 3600) {
        if (!wanted(kHoursAlarm, static_cast<int>((hour / 3600 % 24 + 24) % 24), true)) {
            continue;
        }
        for (int minute = 0; minute < 60; ++minute) {
            if (hour + minute * 60 + 59 < first || !wanted(kMinutesAlarm, minute, false)) {
                continue;
            }
            for (int second = 0; second < 60; ++second) {
                const std::int64_t at = hour + minute * 60 + second;
                if (at >= first && wanted(kSecondsAlarm, second, false)) {
                    return at;
                }
            }
        }
    }
    return kNever;
}

/// Sets the flags of what has happened since they were last looked at.
void Mc146818::catch_up() {
    const std::int64_t now = guest_ns();
    const std::int64_t before = seen_ns_;
    seen_ns_ = now;
    if (now <= before) {
        return;
    }
    std::uint8_t& flags = reg(kRegisterC);
    if (next_periodic(before) <= now) {
        flags |= kPf;
    }
    const std::int64_t second_before = floor_div(before, kSecond);
    if (!stopped() && floor_div(now, kSecond) > second_before) {
        flags |= kUf;
        if (next_alarm(second_before) <= floor_div(now, kSecond)) {
            flags |= kAf;
        }
    }
    update_irq();
}

void Mc146818::update_irq() {
    std::uint8_t& flags = reg(kRegisterC);
    const bool raised = flags & reg(kRegisterB) & (kPf | kAf | kUf);
    flags = static_cast<std::uint8_t>(raised ? flags | kIrqf : flags & ~kIrqf);
    irq8_.set(raised);
}

/// Arms the timer for the next enabled interrupt; while IRQ 8 is up nothing can change it.
void Mc146818::arm_timer() {
    const std::uint8_t enabled = reg(kRegisterB) & (kPie | kAie | kUie);
    if (enabled == 0 || (reg(kRegisterC) & kIrqf)) {
        timer_.disarm();
        return;
    }
    std::int64_t next = kNever;
    if (enabled & kPie) {
        next = next_periodic(seen_ns_);
    }
    if (!stopped()) {
        const std::int64_t second = floor_div(seen_ns_, kSecond);
        if (enabled & kUie) {
            next = std::min(next, (second + 1) * kSecond);
        }
        if (enabled & kAie) {
            const std::int64_t alarm = next_alarm(second);
            next = std::min(next, alarm == kNever ? kNever : alarm * kSecond);
        }
    }
    if (next == kNever) {
        timer_.disarm();
    } else {
        timer_.arm(next - offset_ns_);
    }
}

void Mc146818::serialize(core::Archive& archive) {
    if (!archive.restoring() && !stopped()) {
        time_to_registers(floor_div(guest_ns(), kSecond));
    }
    archive.field("offset_ns", offset_ns_);
    archive.field("index", index_);
    archive.field("extended_index", extended_index_);
    archive.bytes("cmos", memory_);
    if (archive.restoring()) {
        const __int128 now =
            static_cast<__int128>(clocks_.now(core::ClockType::kHost)) + offset_ns_;
        if (now < static_cast<__int128>(kEarliestSecond - kSlackSeconds) * kSecond ||
            now > static_cast<__int128>(kLatestSecond + kSlackSeconds) * kSecond) {
            archive.fail("offset_ns is out of range");
            offset_ns_ = 0;
        }
        index_ &= 0x7f;
        extended_index_ |= 0x80;
        seen_ns_ = guest_ns();
        arm_timer();
    }
}

}  // namespace rhea::hw
