// NodeOptions from JSON: objects become dotted keys, lists dotted numbers. The one file of block/ that knows the JSON library.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "rhea/block/options.h"

namespace rhea::block {
namespace {

using nlohmann::json;
using util::fail;
using util::Result;

constexpr unsigned kMaxDepth = 64; ///< of nested objects: a chain of nodes is rarely deeper than ten

Result<void> flatten(const json &value, const std::string &key, unsigned depth, NodeOptions &into) {
    if (depth > kMaxDepth)
        return fail("'{}' is nested too deep", key);
    const auto inner = [&](const std::string &name) { return key.empty() ? name : key + '.' + name; };
    if (value.is_object()) {
        for (const auto &[name, member] : value.items()) {
            if (name.empty())
                return fail("an empty key in the JSON object{}", key.empty() ? "" : " '" + key + "'");
            if (auto done = flatten(member, inner(name), depth + 1, into); !done)
                return done;
        }
        return {};
    }
    if (value.is_array()) {
        std::size_t index = 0;
        for (const json &member : value)
            if (auto done = flatten(member, inner(std::to_string(index++)), depth + 1, into); !done)
                return done;
        return {};
    }
    if (value.is_string())
        into.set(key, value.get<std::string>());
    else if (value.is_boolean())
        into.set(key, value.get<bool>() ? "on" : "off");
    else if (value.is_null())
        into.set(key, ""); // "backing": null: none
    else
        into.set(key, value.dump());
    return {};
}

/// The parser recurses: text that nests deeper than any node chain never gets to it.
bool nests_too_deep(std::string_view text) {
    unsigned depth = 0;
    bool in_string = false, escaped = false;
    for (const char c : text) {
        if (in_string) {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        in_string = c == '"';
        if (c == '{' || c == '[') {
            if (++depth > kMaxDepth)
                return true;
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
        }
    }
    return false;
}

} // namespace

Result<NodeOptions> NodeOptions::from_json(std::string_view text) {
    if (nests_too_deep(text))
        return fail("JSON text is nested too deep");
    json value;
    try {
        value = json::parse(text);
    } catch (const json::parse_error &error) {
        return fail("JSON text is wrong near character {}", error.byte);
    }
    if (!value.is_object())
        return fail("JSON text is no object such as {\"driver\":...}");
    NodeOptions options;
    if (auto done = flatten(value, {}, 0, options); !done)
        return fail(done.error());
    return options;
}

} // namespace rhea::block
