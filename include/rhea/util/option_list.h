// What stands behind an option: `value,key=value,flag,sub.key=value`, with QEMU's spelling rules.
//
// A comma inside a value is written twice (,,). A first part without '=' is the value of the
// implied key. Another part without '=' is a flag: `flag` means flag=on, `noflag` means flag=off
// when the owner asks for "flag". `help` or `?` asks for help. The last of two equal keys wins.
//
// take_*() hands a value over and marks it used; finish() refuses what nobody took, so that no key
// is silently ignored. A plain value type; no threads.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rhea/util/result.h"

namespace rhea::util {

/// The number of bytes of "512", "64k", "1.5G" (suffixes b k M G T P E, powers of 1024). A number
/// without suffix counts in `unit` bytes. Fails with a sentence about the text.
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text, std::uint64_t unit = 1);

/// "on", "yes", "true", "y" and their opposites.
[[nodiscard]] std::optional<bool> parse_bool(std::string_view text);

/// Decimal or 0x hexadecimal, the whole text.
[[nodiscard]] std::optional<std::uint64_t> parse_unsigned(std::string_view text);

class OptionList {
  public:
    using Pairs = std::vector<std::pair<std::string, std::string>>;

    /// Parses `text`; `implied_key` is the key of a first part without '=' (empty: it is a flag).
    [[nodiscard]] static OptionList parse(std::string_view text, std::string_view implied_key = {});

    /// Was `help` or `?` among the parts?
    bool wants_help() const { return wants_help_; }

    bool has(std::string_view key) const;
    /// The value of `key`, which counts as used from now on.
    std::optional<std::string> take(std::string_view key);
    /// on/off value of `key` (also `nokey`), or `fallback` when absent; fails on another value.
    [[nodiscard]] Result<bool> take_bool(std::string_view key, bool fallback);
    [[nodiscard]] Result<std::uint64_t> take_unsigned(std::string_view key, std::uint64_t fallback);
    void add(std::string key, std::string value) {
        entries_.push_back({std::move(key), std::move(value), false, false});
    }
    /// Everything that nobody took so far, in order; all of it counts as used.
    Pairs take_rest();

    /// Fails with the first part that nobody took; the nearest of `known` is suggested.
    [[nodiscard]] Result<void> finish(const std::vector<std::string_view>& known) const;

  private:
    struct Entry {
        std::string key, value;
        bool flag = false;
        bool used = false;
    };
    Entry* find(std::string_view key);

    std::vector<Entry> entries_;
    bool wants_help_ = false;
};

}  // namespace rhea::util
