// What a monitor command returns: data of JSON's shapes, which HMP prints for people and QMP sends.
//
// A plain value. Members of an object keep the order in which they were added.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace rhea::monitor {

class Value {
  public:
    struct Member;
    using List = std::vector<Value>;
    using Object = std::vector<Member>;

    Value() = default;
    Value(bool value) : data_(value) {}
    Value(std::int64_t value) : data_(value) {}
    Value(std::string value) : data_(std::move(value)) {}
    Value(std::string_view value) : data_(std::string(value)) {}
    Value(const char* value) : data_(std::string(value)) {}
    Value(List value);
    Value(Object value);

    bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
    bool is_string() const { return std::holds_alternative<std::string>(data_); }
    /// The contents; a value of another kind gives the empty one.
    bool as_bool() const;
    std::int64_t as_integer() const;
    const std::string& as_string() const;
    const List& as_list() const;
    const Object& as_object() const;
    /// The member of that name; null when there is none.
    const Value& operator[](std::string_view name) const;

    std::string to_json() const;

  private:
    void write_json(std::string& out) const;
    std::variant<std::monostate, bool, std::int64_t, std::string, List, Object> data_;
};

struct Value::Member {
    std::string name;
    Value value;
};

}  // namespace rhea::monitor
