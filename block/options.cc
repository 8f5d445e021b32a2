#include "rhea/block/options.h"

#include "rhea/util/nearest_name.h"
#include "rhea/util/option_list.h"

namespace rhea::block {

using util::fail;
using util::Result;

Result<NodeOptions> NodeOptions::from_text(std::string_view text, std::string_view implied_key) {
    NodeOptions options;
    util::OptionList list = util::OptionList::parse(text, implied_key);
    for (auto &[key, value] : list.take_rest()) {
        if (key.empty())
            return fail("a value without a key: '={}'", value);
        options.set(key, value);
    }
    return options;
}

bool NodeOptions::has(std::string_view key) const { return values_.contains(key); }

bool NodeOptions::has_child(std::string_view prefix) const {
    if (has(prefix))
        return true;
    const std::string dotted = std::string(prefix) + '.';
    const auto at = values_.lower_bound(dotted);
    return at != values_.end() && at->first.starts_with(dotted);
}

std::optional<std::string> NodeOptions::take(std::string_view key) {
    const auto at = values_.find(key);
    if (at == values_.end())
        return std::nullopt;
    std::string value = std::move(at->second);
    values_.erase(at);
    return value;
}

Result<bool> NodeOptions::take_bool(std::string_view key, bool fallback) {
    const auto text = take(key);
    if (!text)
        return fallback;
    if (const auto value = util::parse_bool(*text))
        return *value;
    return fail("'{}' takes on or off, not '{}'", key, *text);
}

Result<std::uint64_t> NodeOptions::take_size(std::string_view key, std::uint64_t fallback) {
    const auto text = take(key);
    if (!text)
        return fallback;
    auto size = util::parse_size(*text);
    if (!size)
        return fail(size.error().within(key));
    return *size;
}

Result<std::uint64_t> NodeOptions::take_unsigned(std::string_view key, std::uint64_t fallback) {
    const auto text = take(key);
    if (!text)
        return fallback;
    if (const auto value = util::parse_unsigned(*text))
        return *value;
    return fail("'{}' takes a number, not '{}'", key, *text);
}

NodeOptions NodeOptions::take_child(std::string_view prefix) {
    NodeOptions child;
    const std::string dotted = std::string(prefix) + '.';
    for (auto at = values_.lower_bound(dotted); at != values_.end() && at->first.starts_with(dotted);) {
        if (at->first.size() == dotted.size()) {
            ++at; // "file." names nothing: finish() refuses it
            continue;
        }
        child.set(at->first.substr(dotted.size()), std::move(at->second));
        at = values_.erase(at);
    }
    return child;
}

Result<void> NodeOptions::finish(const std::vector<std::string_view> &known) const {
    if (values_.empty())
        return {};
    const std::string &key = values_.begin()->first;
    if (const auto nearest = util::nearest_name(key, known); nearest && *nearest != key)
        return fail("unknown option '{}'; did you mean '{}'?", key, *nearest);
    return fail("unknown or unused option '{}'", key);
}

} // namespace rhea::block
