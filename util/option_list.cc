#include "rhea/util/option_list.h"

#include <charconv>
#include <cmath>

#include "rhea/util/nearest_name.h"

namespace rhea::util {
namespace {

/// The text up to the next single comma, with ,, made one; `rest` moves behind that comma.
std::string next_part(std::string_view& rest) {
    std::string part;
    while (!rest.empty()) {
        const char c = rest.front();
        rest.remove_prefix(1);
        if (c == ',') {
            if (rest.empty() || rest.front() != ',') {
                return part;
            }
            rest.remove_prefix(1);
        }
        part += c;
    }
    return part;
}

/// The power of two of a size suffix, or nothing.
std::optional<unsigned> suffix_shift(char suffix) {
    constexpr std::string_view kSuffixes = "bkmgtpe";
    const char lower = suffix >= 'A' && suffix <= 'Z' ? static_cast<char>(suffix + 32) : suffix;
    const std::size_t at = kSuffixes.find(lower);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    return static_cast<unsigned>(at) * 10;
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text, std::uint64_t unit) {
    const auto refuse = [&] {
        return fail("'{}' is no size; write a number with an optional suffix k, M, G or T", text);
    };
    std::string_view digits = text;
    double factor = static_cast<double>(unit);
    if (digits.empty()) {
        return refuse();
    }
    if (const auto value = parse_unsigned(digits)) {
        if (*value != 0 && unit > ~std::uint64_t{0} / *value) {
            return fail("size '{}' is too large", text);
        }
        return *value * unit;
    }
    if (const auto shift = suffix_shift(digits.back())) {
        factor = static_cast<double>(std::uint64_t{1} << *shift);
        digits.remove_suffix(1);
        if (const auto value = parse_unsigned(digits)) {
            if (*shift != 0 && *value >> (64 - *shift) != 0) {
                return fail("size '{}' is too large", text);
            }
            return *value << *shift;
        }
    }
    // A fraction: digits and one point, no sign, no exponent.
    if (digits.empty() || digits.find_first_not_of("0123456789.") != std::string_view::npos) {
        return refuse();
    }
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size()) {
        return refuse();
    }
    const double bytes = value * factor;
    if (bytes >= 18446744073709551615.0) {
        return fail("size '{}' is too large", text);
    }
    return static_cast<std::uint64_t>(bytes);
}

std::optional<bool> parse_bool(std::string_view text) {
    if (text == "on" || text == "yes" || text == "true" || text == "y") {
        return true;
    }
    if (text == "off" || text == "no" || text == "false" || text == "n") {
        return false;
    }
    return std::nullopt;
}

std::optional<std::uint64_t> parse_unsigned(std::string_view text) {
    int base = 10;
    if (text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        text.remove_prefix(2);
    }
    std::uint64_t value = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

OptionList OptionList::parse(std::string_view text, std::string_view implied_key) {
    OptionList list;
    bool first = true;
    while (!text.empty()) {
        std::string part = next_part(text);
        const std::size_t equals = part.find('=');
        if (equals != std::string::npos) {
            list.entries_.push_back({part.substr(0, equals), part.substr(equals + 1), false, false});
        } else if (part == "help" || part == "?") {
            list.wants_help_ = true;
        } else if (first && !implied_key.empty()) {
            list.entries_.push_back({std::string(implied_key), std::move(part), false, false});
        } else if (!part.empty()) {
            list.entries_.push_back({std::move(part), "on", true, false});
        }
        first = false;
    }
    return list;
}

OptionList::Entry* OptionList::find(std::string_view key) {
    Entry* found = nullptr;
    for (Entry& entry : entries_) {
        if (entry.key == key) {
            entry.used = true;
            found = &entry;
        }
    }
    return found;
}

bool OptionList::has(std::string_view key) const {
    for (const Entry& entry : entries_) {
        if (entry.key == key) {
            return true;
        }
    }
    return false;
}

std::optional<std::string> OptionList::take(std::string_view key) {
    const Entry* entry = find(key);
    return entry ? std::optional(entry->value) : std::nullopt;
}

Result<bool> OptionList::take_bool(std::string_view key, bool fallback) {
    bool value = fallback;
    for (Entry& entry : entries_) {
        if (entry.flag && entry.key.starts_with("no") && entry.key.substr(2) == key) {
            entry.used = true;
            value = false;
        } else if (entry.key == key) {
            entry.used = true;
            const auto given = parse_bool(entry.value);
            if (!given) {
                return fail("'{}' takes on or off, not '{}'", key, entry.value);
            }
            value = *given;
        }
    }
    return value;
}

Result<std::uint64_t> OptionList::take_unsigned(std::string_view key, std::uint64_t fallback) {
    const auto text = take(key);
    if (!text) {
        return fallback;
    }
    const auto value = parse_unsigned(*text);
    if (!value) {
        return fail("'{}' takes a number, not '{}'", key, *text);
    }
    return *value;
}

OptionList::Pairs OptionList::take_rest() {
    Pairs rest;
    for (Entry& entry : entries_) {
        if (!entry.used) {
            entry.used = true;
            rest.emplace_back(entry.key, entry.value);
        }
    }
    return rest;
}

Result<void> OptionList::finish(const std::vector<std::string_view>& known) const {
    for (const Entry& entry : entries_) {
        if (entry.used) {
            continue;
        }
        if (const auto nearest = nearest_name(entry.key, known); nearest && *nearest != entry.key) {
            return fail("unknown or unused parameter '{}'; did you mean '{}'?", entry.key,
                        *nearest);
        }
        return fail("unknown or unused parameter '{}'", entry.key);
    }
    return {};
}

}  // namespace rhea::util
