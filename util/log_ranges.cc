// The address filter of the log: `-dfilter`.
#include "rhea/util/log.h"
#include "rhea/util/option_list.h"

namespace rhea::util {
namespace {

Result<LogRange> parse_range(std::string_view text) {
    const auto refuse = [&] {
        return fail("'{}' is no address range; write start..last, start+size or start-size", text);
    };
    std::size_t at = text.find("..");
    const std::size_t separator = at != std::string_view::npos ? 2 : 1;
    if (at == std::string_view::npos) {
        at = text.find_first_of("+-");
    }
    if (at == std::string_view::npos) {
        return refuse();
    }
    const auto start = parse_unsigned(text.substr(0, at));
    const auto other = parse_unsigned(text.substr(at + separator));
    if (!start || !other) {
        return refuse();
    }
    LogRange range{*start, *other};
    if (separator == 1) {
        if (*other == 0) {
            return refuse();
        }
        range = text[at] == '+' ? LogRange{*start, *start + (*other - 1)}
                                : LogRange{*start - (*other - 1), *start};
    }
    if (range.first > range.last) {
        return fail("the address range '{}' is empty or wraps around", text);
    }
    return range;
}

}  // namespace

namespace detail {

std::vector<LogRange> log_ranges;

bool log_address_in_ranges(std::uint64_t address) {
    if (log_ranges.empty()) {
        return true;
    }
    for (const LogRange& range : log_ranges) {
        if (address >= range.first && address <= range.last) {
            return true;
        }
    }
    return false;
}

}  // namespace detail

Result<std::vector<LogRange>> parse_log_ranges(std::string_view list) {
    std::vector<LogRange> ranges;
    for (;;) {
        const std::size_t comma = list.find(',');
        const auto range = parse_range(list.substr(0, comma));
        if (!range) {
            return fail(range.error());
        }
        ranges.push_back(*range);
        if (comma == std::string_view::npos) {
            return ranges;
        }
        list.remove_prefix(comma + 1);
    }
}

void set_log_ranges(std::vector<LogRange> ranges) {
    detail::log_ranges = std::move(ranges);
}

}  // namespace rhea::util
