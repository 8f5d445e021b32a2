// The log behind `-d item,...` and `-D file`.
//
// Each line of the log belongs to one item (a bit of LogMask). Nothing is formatted unless the item
// is enabled: log_enabled() is one relaxed load, cheap enough for device code. The log goes to
// standard error until set_log_file() names a file.
//
// Threading: everything here may be called from any thread. One log_write() reaches the file in one
// piece. The mask and the file are process-wide state, because `-d` is an option of the process.
#pragma once

#include <fmt/core.h>

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/util/result.h"

namespace rhea::util {

/// A set of log items.
using LogMask = std::uint32_t;

inline constexpr LogMask kLogInAsm = 1u << 0;
inline constexpr LogMask kLogOp = 1u << 1;
inline constexpr LogMask kLogOpOpt = 1u << 2;
inline constexpr LogMask kLogOutAsm = 1u << 3;
inline constexpr LogMask kLogInt = 1u << 4;
inline constexpr LogMask kLogCpu = 1u << 5;
inline constexpr LogMask kLogExec = 1u << 6;
inline constexpr LogMask kLogGuestErrors = 1u << 7;
inline constexpr LogMask kLogUnimp = 1u << 8;
/// Not a kind of line, but a wish for the translator: leave blocks unchained.
inline constexpr LogMask kLogNoChain = 1u << 9;
/// Not a kind of line either: the translator writes /tmp/perf-PID.map.
inline constexpr LogMask kLogPerf = 1u << 10;

/// One item as the user sees it.
struct LogItem {
    std::string_view name;  ///< as in `-d name`
    LogMask mask;
    std::string_view help;
};

/// Every item, in the order in which `-d help` lists them.
[[nodiscard]] std::span<const LogItem> log_items();

/// The mask of a `-d` argument: item names separated by commas, or "all". Fails with a sentence that
/// names the unknown item and the nearest known one.
[[nodiscard]] Result<LogMask> parse_log_items(std::string_view list);

/// A range of guest addresses that `-dfilter` lets through.
struct LogRange {
    std::uint64_t first, last;  ///< inclusive
};

/// The ranges of a `-dfilter` argument: start..last, start+size (size bytes from start on) and
/// start-size (the size bytes that end at start), separated by commas.
[[nodiscard]] Result<std::vector<LogRange>> parse_log_ranges(std::string_view list);

/// Restricts the address-bound items (in_asm, op, op_opt, out_asm, exec, cpu) to these ranges; none: no
/// restriction. Before other threads log.
void set_log_ranges(std::vector<LogRange> ranges);

namespace detail {
extern std::atomic<LogMask> log_mask;
extern std::vector<LogRange> log_ranges;
[[nodiscard]] bool log_address_in_ranges(std::uint64_t address);
void log_vwrite(fmt::string_view format, fmt::format_args args);
}  // namespace detail

/// Whether any item of `mask` is enabled.
[[nodiscard]] inline bool log_enabled(LogMask mask) {
    return (detail::log_mask.load(std::memory_order_relaxed) & mask) != 0;
}

/// Whether any item of `mask` is enabled for code at the guest address `address` (`-dfilter`).
[[nodiscard]] inline bool log_enabled_at(LogMask mask, std::uint64_t address) {
    return log_enabled(mask) && detail::log_address_in_ranges(address);
}

/// The enabled items.
[[nodiscard]] LogMask log_mask();

/// Enables exactly the items of `mask`.
void set_log_mask(LogMask mask);

/// Sends the log to the file `path` (truncated) from now on; the first "%d" in the path becomes the
/// process id, as with QEMU. An empty path means standard error. On failure the log stays where it
/// was.
[[nodiscard]] Result<void> set_log_file(const std::string& path);

/// Writes fmt::format(format, args...) to the log when an item of `mask` is enabled. The text
/// carries its own newline.
template <typename... Args>
void log_write(LogMask mask, fmt::format_string<Args...> format, Args&&... args) {
    if (log_enabled(mask)) [[unlikely]] {
        detail::log_vwrite(format, fmt::make_format_args(args...));
    }
}

}  // namespace rhea::util
