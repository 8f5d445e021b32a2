// Calendar arithmetic of the real-time clock: seconds since 1970-01-01 00:00 and back, in the
// proleptic Gregorian calendar without leap seconds or time zones. Fields out of range (a guest may
// write any) carry over into the next unit. Pure functions.
#pragma once
#include <cstdint>

namespace rhea::hw {

struct CivilTime {
    std::int64_t year = 1970;
    int month = 1;  ///< 1..12
    int day = 1;    ///< 1..31
    int hour = 0;
    int minute = 0;
    int second = 0;
    int weekday = 4;  ///< 0: Sunday
};

[[nodiscard]] constexpr std::int64_t floor_div(std::int64_t a, std::int64_t b) {
    return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

inline constexpr std::int64_t kSecondsPerDay = 86'400;

[[nodiscard]] constexpr std::int64_t seconds_from_civil(const CivilTime& t) {
    // Years start in March, so that the leap day is the last day of a year; 400 years have 146,097
    // days.
    const std::int64_t months = t.year * 12 + (t.month - 1) - 2;
    const std::int64_t year = floor_div(months, 12);
    const std::int64_t month = months - year * 12;
    const std::int64_t era = floor_div(year, 400);
    const std::int64_t year_of_era = year - era * 400;
    const std::int64_t day_of_year = (153 * month + 2) / 5 + t.day - 1;
    const std::int64_t day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    const std::int64_t days = era * 146'097 + day_of_era - 719'468;
    return days * kSecondsPerDay + t.hour * 3600LL + t.minute * 60LL + t.second;
}

[[nodiscard]] constexpr CivilTime civil_from_seconds(std::int64_t seconds) {
    const std::int64_t days = floor_div(seconds, kSecondsPerDay);
    const std::int64_t rest = seconds - days * kSecondsPerDay;
    const std::int64_t shifted = days + 719'468;
    const std::int64_t era = floor_div(shifted, 146'097);
    const std::int64_t day_of_era = shifted - era * 146'097;
    const std::int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
    const std::int64_t day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const std::int64_t month = (5 * day_of_year + 2) / 153;
    CivilTime t;
    t.month = static_cast<int>(month < 10 ? month + 3 : month - 9);
    t.year = year_of_era + era * 400 + (t.month <= 2);
    t.day = static_cast<int>(day_of_year - (153 * month + 2) / 5 + 1);
    t.hour = static_cast<int>(rest / 3600);
    t.minute = static_cast<int>(rest / 60 % 60);
    t.second = static_cast<int>(rest % 60);
    t.weekday = static_cast<int>(((days + 4) % 7 + 7) % 7);
    return t;
}

}  // namespace rhea::hw
