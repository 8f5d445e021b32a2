// The producer "x86-code". Input:
//
//     mode: user64          a name of x86_code.cc; user64 when left out
//     at: 0xffd             page offset of the first byte; 0x100 when left out
//     48 01 d8              # add rax, rbx: bytes, and whatever helps the reader
//
// Output: "# G guest, H host", then each guest instruction with its host code on the hot path, then the
// cold parts. tests/golden/snippets.py writes inputs from assembly text.
#include <fmt/format.h>

#include <charconv>

#include "tests/golden/fixture.h"
#include "tests/golden/producers.h"
#include "tests/golden/x86_code.h"

namespace rhea::golden {

namespace {

constexpr std::string_view kMode = "mode:", kAt = "at:";

std::string_view value_of(const std::string& line, std::string_view key) {
    std::string_view value = std::string_view(line).substr(key.size());
    value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
    return value;
}

util::Result<GuestSnippet> parse_snippet(std::string_view input) {
    std::string mode = "user64", bytes;
    GuestSnippet snippet;
    for (const std::string& line : lines_of(input)) {
        if (line.starts_with(kMode)) {
            mode = value_of(line, kMode);
        } else if (line.starts_with(kAt)) {
            std::string_view text = value_of(line, kAt);
            text.remove_prefix(text.starts_with("0x") ? 2 : 0);
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(),
                                                      snippet.page_offset, 16);
            if (error != std::errc() || end != text.data() + text.size()) {
                return util::fail("\"at: \" needs a page offset in hexadecimal, not \"{}\"", text);
            }
        } else {
            bytes += line + "\n";
        }
    }
    const auto word = mode_by_name(mode);
    const auto code = parse_bytes(bytes);
    if (!word || !code) {
        return util::fail(!word ? word.error() : code.error());
    }
    snippet.mode = *word;
    snippet.bytes = *code;
    return snippet;
}

}  // namespace

util::Result<std::string> produce_x86_code(std::string_view input) {
    const auto snippet = parse_snippet(input);
    if (!snippet) {
        return util::fail(snippet.error());
    }
    const auto code = X86Code().translate(*snippet);
    if (!code) {
        return util::fail(code.error());
    }
    std::string text = fmt::format("# {} guest, {} host", code->insns.size(), code->host);
    for (const std::string& call : code->calls) {
        text += fmt::format(", calls {}", call);
    }
    text += "\n";
    for (const GuestInsnCode& insn : code->insns) {
        text += fmt::format("; {}\n", insn.guest);
        for (const HostLine& line : insn.host) {
            text += format_line(line);
        }
    }
    if (!code->cold.empty()) {
        text += "; cold\n";
    }
    for (const HostLine& line : code->cold) {
        text += format_line(line);
    }
    return text;
}

}  // namespace rhea::golden
