// Options of a block node as a flat map of dotted keys: "driver" = "qcow2", "file.driver" = "file", …
//
// -drive and -blockdev in k=v form are this already; JSON (and "json:{…}" file names) is flattened into it
// (options_json.cc). Each driver takes what it knows; finish() refuses the rest by name with the nearest known key.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/util/result.h"

namespace rhea::block {

class NodeOptions {
public:
    NodeOptions() = default;
    /// From the text of a JSON object; the sentence names the place of a mistake.
    static util::Result<NodeOptions> from_json(std::string_view text);
    /// From key=value,… with doubled commas.
    static util::Result<NodeOptions> from_text(std::string_view text, std::string_view implied_key = {});

    void set(std::string key, std::string value) { values_.insert_or_assign(std::move(key), std::move(value)); }
    void set_default(std::string key, std::string value) { values_.try_emplace(std::move(key), std::move(value)); }
    bool has(std::string_view key) const;
    bool has_child(std::string_view prefix) const; ///< `prefix` itself (a node's name) or any "prefix."
    bool empty() const { return values_.empty(); }

    std::optional<std::string> take(std::string_view key);
    util::Result<bool> take_bool(std::string_view key, bool fallback);
    util::Result<std::uint64_t> take_size(std::string_view key, std::uint64_t fallback); ///< 64k, 2M
    util::Result<std::uint64_t> take_unsigned(std::string_view key, std::uint64_t fallback);
    /// All "prefix.*" without the prefix; they count as taken.
    NodeOptions take_child(std::string_view prefix);
    /// Fails with the first key that nobody took.
    util::Result<void> finish(const std::vector<std::string_view> &known = {}) const;
    const std::map<std::string, std::string, std::less<>> &values() const { return values_; }

private:
    std::map<std::string, std::string, std::less<>> values_;
};

} // namespace rhea::block
