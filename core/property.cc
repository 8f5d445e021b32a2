#include "rhea/core/property.h"

#include "rhea/util/nearest_name.h"

#include <charconv>
#include <fmt/format.h>

namespace rhea::core {
namespace {

/// Decimal or 0x hexadecimal; the whole text.
bool parse_uint(std::string_view text, std::uint64_t &value) {
    int base = 10;
    if (text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        text.remove_prefix(2);
    }
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

template <typename T>
Property uint_property(std::string name, T &field, std::string description, std::uint64_t max, const char *type) {
    // A value out of range says that the property is not set.
    Property property{name, type, std::move(description), field <= max ? fmt::format("{}", field) : std::string{}, {}, {}};
    property.set = [&field, max, name](std::string_view text) -> util::Result<void> {
        std::uint64_t value = 0;
        if (!parse_uint(text, value))
            return util::fail("property '{}' takes a number, not '{}'", name, text);
        if (value > max)
            return util::fail("property '{}' takes at most {}, not {}", name, max, text);
        field = static_cast<T>(value);
        return {};
    };
    property.get = [&field] { return fmt::format("{}", field); };
    return property;
}

} // namespace

void PropertySet::add(Property property) { properties_.push_back(std::move(property)); }

void PropertySet::add_bool(std::string name, bool &field, std::string description) {
    Property property{name, "bool", std::move(description), field ? "on" : "off", {}, {}};
    property.set = [&field, name](std::string_view text) -> util::Result<void> {
        if (text == "on" || text == "yes" || text == "true" || text == "y")
            field = true;
        else if (text == "off" || text == "no" || text == "false" || text == "n")
            field = false;
        else
            return util::fail("property '{}' takes on or off, not '{}'", name, text);
        return {};
    };
    property.get = [&field] { return std::string(field ? "on" : "off"); };
    add(std::move(property));
}

void PropertySet::add_uint(std::string name, std::uint8_t &field, std::string description, std::uint64_t max) {
    add(uint_property(std::move(name), field, std::move(description), max, "uint8"));
}
void PropertySet::add_uint(std::string name, std::uint16_t &field, std::string description, std::uint64_t max) {
    add(uint_property(std::move(name), field, std::move(description), max, "uint16"));
}
void PropertySet::add_uint(std::string name, std::uint32_t &field, std::string description, std::uint64_t max) {
    add(uint_property(std::move(name), field, std::move(description), max, "uint32"));
}
void PropertySet::add_uint(std::string name, std::uint64_t &field, std::string description, std::uint64_t max) {
    add(uint_property(std::move(name), field, std::move(description), max, "uint64"));
}

void PropertySet::add_size(std::string name, std::uint64_t &field, std::string description) {
    Property property{name, "size", std::move(description), fmt::format("{}", field), {}, {}};
    property.set = [&field, name](std::string_view text) -> util::Result<void> {
        unsigned shift = 0;
        std::string_view digits = text;
        if (!text.empty()) {
            constexpr std::string_view kSuffixes = "bkmgt";
            const std::size_t at = kSuffixes.find(static_cast<char>(text.back() | 0x20));
            if (at != std::string_view::npos) {
                shift = static_cast<unsigned>(at) * 10;
                digits.remove_suffix(1);
            }
        }
        std::uint64_t value = 0;
        if (!parse_uint(digits, value) || (shift && value >> (64 - shift)))
            return util::fail("property '{}' takes a size such as 64k, 2M or 1G, not '{}'", name, text);
        field = value << shift;
        return {};
    };
    property.get = [&field] { return fmt::format("{}", field); };
    add(std::move(property));
}

void PropertySet::add_string(std::string name, std::string &field, std::string description) {
    Property property{name, "str", std::move(description), field, {}, {}};
    property.set = [&field](std::string_view text) -> util::Result<void> {
        field = text;
        return {};
    };
    property.get = [&field] { return field; };
    add(std::move(property));
}

const Property *PropertySet::find(std::string_view name) const {
    for (const Property &property : properties_) {
        if (property.name == name)
            return &property;
    }
    return nullptr;
}

util::Result<Property *> PropertySet::named(std::string_view name) {
    std::vector<std::string_view> names;
    for (Property &property : properties_) {
        if (property.name == name)
            return &property;
        names.push_back(property.name);
    }
    if (const auto nearest = util::nearest_name(name, names))
        return util::fail("there is no property '{}'; did you mean '{}'?", name, *nearest);
    return util::fail("there is no property '{}'", name);
}

util::Result<void> PropertySet::set(std::string_view name, std::string_view value) {
    const auto property = named(name);
    if (!property)
        return util::fail(property.error());
    (*property)->given = true;
    return (*property)->set(value);
}

util::Result<void> PropertySet::set_default(std::string_view name, std::string_view value) {
    const auto property = named(name);
    if (!property)
        return util::fail(property.error());
    return (*property)->given ? util::Result<void>{} : (*property)->set(value);
}

} // namespace rhea::core
