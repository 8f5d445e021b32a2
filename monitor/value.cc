#include "rhea/monitor/value.h"

#include <fmt/format.h>

namespace rhea::monitor {
namespace {

template <typename T, typename Data>
const T& contents(const Data& data) {
    static const T kEmpty{};
    const T* value = std::get_if<T>(&data);
    return value ? *value : kEmpty;
}

void write_string(std::string& out, std::string_view text) {
    out += '"';
    for (const char c : text) {
        switch (c) {
            case '"':
                out += "\\\"";
                break;
            case '\\':
                out += "\\\\";
                break;
            case '\n':
                out += "\\n";
                break;
            case '\r':
                out += "\\r";
                break;
            case '\t':
                out += "\\t";
                break;
            default:
                if (static_cast<unsigned char>(c) < 0x20) {
                    out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
                } else {
                    out += c;
                }
        }
    }
    out += '"';
}

}  // namespace

Value::Value(List value) : data_(std::move(value)) {}
Value::Value(Object value) : data_(std::move(value)) {}

bool Value::as_bool() const {
    return contents<bool>(data_);
}
std::int64_t Value::as_integer() const {
    return contents<std::int64_t>(data_);
}
const std::string& Value::as_string() const {
    return contents<std::string>(data_);
}
const Value::List& Value::as_list() const {
    return contents<List>(data_);
}
const Value::Object& Value::as_object() const {
    return contents<Object>(data_);
}

const Value& Value::operator[](std::string_view name) const {
    static const Value kNull;
    for (const Member& member : as_object()) {
        if (member.name == name) {
            return member.value;
        }
    }
    return kNull;
}

void Value::write_json(std::string& out) const {
    if (const auto* flag = std::get_if<bool>(&data_)) {
        out += *flag ? "true" : "false";
    } else if (const auto* number = std::get_if<std::int64_t>(&data_)) {
        out += std::to_string(*number);
    } else if (is_string()) {
        write_string(out, as_string());
    } else if (std::holds_alternative<List>(data_)) {
        const char* separator = "";
        out += '[';
        for (const Value& item : as_list()) {
            out += std::exchange(separator, ", ");
            item.write_json(out);
        }
        out += ']';
    } else if (std::holds_alternative<Object>(data_)) {
        const char* separator = "";
        out += '{';
        for (const Member& member : as_object()) {
            out += std::exchange(separator, ", ");
            write_string(out, member.name);
            out += ": ";
            member.value.write_json(out);
        }
        out += '}';
    } else {
        out += "null";
    }
}

std::string Value::to_json() const {
    std::string out;
    write_json(out);
    return out;
}

}  // namespace rhea::monitor
