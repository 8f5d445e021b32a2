// A string as JSON text, for NodeInfo::Detail.
#pragma once
#include <fmt/format.h>

#include <string>
#include <string_view>

namespace rhea::block::qcow2 {

inline std::string json_quote(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\')
            (out += '\\') += c;
        else if (static_cast<unsigned char>(c) < 0x20)
            out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        else
            out += c;
    }
    return out + '"';
}

} // namespace rhea::block::qcow2
