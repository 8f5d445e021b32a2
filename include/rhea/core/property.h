// Typed properties: what `-device x,key=value` sets and `-device x,help` lists.
#pragma once
#include "rhea/util/result.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace rhea::core {

/// One settable property of one object, bound to its field.
struct Property {
    std::string name;
    std::string type;        ///< as QEMU spells it: bool, uint8, uint16, uint32, uint64, size, str, …
    std::string description;
    std::string default_text; ///< shown in help; empty: none
    std::function<util::Result<void>(std::string_view)> set;
    std::function<std::string()> get;
    bool given = false;      ///< set() has set it
};

/// The properties of an object; made once by its constructor.
class PropertySet {
public:
    void add_bool(std::string name, bool &field, std::string description);
    void add_uint(std::string name, std::uint8_t &field, std::string description, std::uint64_t max = 0xff);
    void add_uint(std::string name, std::uint16_t &field, std::string description, std::uint64_t max = 0xffff);
    void add_uint(std::string name, std::uint32_t &field, std::string description, std::uint64_t max = 0xffffffff);
    void add_uint(std::string name, std::uint64_t &field, std::string description, std::uint64_t max = ~0ull);
    void add_size(std::string name, std::uint64_t &field, std::string description); ///< 4k, 2M, 1G
    void add_string(std::string name, std::string &field, std::string description);
    void add(Property property);

    /// Sets by name; an unknown name or a bad value gives a sentence with the nearest valid name.
    util::Result<void> set(std::string_view name, std::string_view value);
    /// As set(), but what set() has set stays: another default (-global).
    util::Result<void> set_default(std::string_view name, std::string_view value);
    const Property *find(std::string_view name) const;
    const std::vector<Property> &all() const { return properties_; }

private:
    util::Result<Property *> named(std::string_view name);

    std::vector<Property> properties_;
};

} // namespace rhea::core
