#include "tests/golden/fixture.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <fstream>
#include <set>
#include <sstream>

namespace rhea::golden {

namespace {

constexpr std::string_view kCase = "===", kDivider = "---", kProducer = "producer:";

std::string_view trimmed(std::string_view s) {
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\r')) {
        s.remove_suffix(1);
    }
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) {
        s.remove_prefix(1);
    }
    return s;
}

std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) {
        text += line;
        text += '\n';
    }
    return text;
}

}  // namespace

std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        std::string line(text.substr(0, end));
        while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back())) != 0) {
            line.pop_back();
        }
        lines.push_back(std::move(line));
        text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    }
    while (!lines.empty() && lines.back().empty()) {
        lines.pop_back();
    }
    return lines;
}

util::Result<Fixture> parse_fixture(std::string_view text) {
    Fixture fixture;
    std::set<std::string> names;
    enum class Part { kHeader, kInput, kExpected } part = Part::kHeader;
    const std::vector<std::string> lines = lines_of(text);
    std::vector<std::string> header, input, expected;
    const auto finish = [&] {
        if (!fixture.cases.empty()) {
            fixture.cases.back().input = joined(lines_of(joined(input)));
            fixture.cases.back().expected = joined(lines_of(joined(expected)));
        }
        input.clear();
        expected.clear();
    };
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const std::string& line = lines[i];
        if (line.starts_with(kCase)) {
            if (part == Part::kInput) {
                return util::fail("line {}: case \"{}\" has no line \"{}\"", i + 1,
                                  fixture.cases.back().name, kDivider);
            }
            finish();
            const std::string name(trimmed(std::string_view(line).substr(kCase.size())));
            if (name.empty() || !names.insert(name).second) {
                return util::fail("line {}: a case needs a name of its own, not \"{}\"", i + 1,
                                  name);
            }
            fixture.cases.push_back({name, {}, {}});
            part = Part::kInput;
        } else if (part == Part::kInput && line == kDivider) {
            part = Part::kExpected;
        } else if (part == Part::kHeader) {
            header.push_back(line);
            if (line.starts_with(kProducer)) {
                fixture.producer = trimmed(std::string_view(line).substr(kProducer.size()));
            } else if (!line.empty() && line[0] != '#') {
                return util::fail("line {}: before the first \"{}\" only comments and \"{} name\"",
                                  i + 1, kCase, kProducer);
            }
        } else {
            (part == Part::kInput ? input : expected).push_back(line);
        }
    }
    if (part == Part::kInput) {
        return util::fail("the last case has no line \"{}\"", kDivider);
    }
    finish();
    if (fixture.producer.empty()) {
        return util::fail("no line \"{} name\"", kProducer);
    }
    fixture.header = joined(lines_of(joined(header)));
    return fixture;
}

std::string format_fixture(const Fixture& fixture) {
    std::string text = fixture.header;
    for (const Case& c : fixture.cases) {
        text += "\n" + std::string(kCase) + " " + c.name + "\n";
        text += joined(lines_of(c.input)) + std::string(kDivider) + "\n";
        text += joined(lines_of(c.expected));
    }
    return text;
}

util::Result<Fixture> read_fixture(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    if (!file) {
        return util::fail("cannot read {}", path.string());
    }
    auto fixture = parse_fixture(text.str());
    if (!fixture) {
        return util::fail(fixture.error().within(path.string()));
    }
    return fixture;
}

util::Result<void> write_fixture(const std::filesystem::path& path, const Fixture& fixture) {
    const std::filesystem::path temporary = path.string() + ".new";
    {
        std::ofstream file(temporary);
        file << format_fixture(fixture);
        if (!file.flush()) {
            return util::fail("cannot write {}", temporary.string());
        }
    }
    std::error_code error;
    std::filesystem::rename(temporary, path, error);
    if (error) {
        return util::fail("cannot replace {}: {}", path.string(), error.message());
    }
    return {};
}

std::string line_diff(std::string_view expected, std::string_view actual) {
    const auto a = lines_of(expected), b = lines_of(actual);
    if (a == b) {
        return {};
    }
    // common[i][j]: length of the longest common subsequence of a[i..] and b[j..].
    std::vector<std::vector<std::uint32_t>> common(a.size() + 1,
                                                   std::vector<std::uint32_t>(b.size() + 1));
    for (std::size_t i = a.size(); i-- > 0;) {
        for (std::size_t j = b.size(); j-- > 0;) {
            common[i][j] = a[i] == b[j] ? common[i + 1][j + 1] + 1
                                        : std::max(common[i + 1][j], common[i][j + 1]);
        }
    }
    std::vector<std::string> script;
    for (std::size_t i = 0, j = 0; i < a.size() || j < b.size();) {
        if (i < a.size() && j < b.size() && a[i] == b[j]) {
            script.push_back("  " + a[i++]);
            ++j;
        } else if (j == b.size() || (i < a.size() && common[i + 1][j] >= common[i][j + 1])) {
            script.push_back("- " + a[i++]);
        } else {
            script.push_back("+ " + b[j++]);
        }
    }
    constexpr std::size_t kContext = 3;
    std::vector<bool> shown(script.size());
    for (std::size_t i = 0; i < script.size(); ++i) {
        if (script[i][0] != ' ') {
            const std::size_t end = std::min(script.size(), i + kContext + 1);
            for (std::size_t k = i - std::min(i, kContext); k < end; ++k) {
                shown[k] = true;
            }
        }
    }
    std::string text;
    for (std::size_t i = 0; i < script.size(); ++i) {
        if (shown[i]) {
            text += script[i] + "\n";
        } else if (i == 0 || shown[i - 1]) {
            text += "...\n";
        }
    }
    return text;
}

util::Result<std::vector<std::uint8_t>> parse_bytes(std::string_view text) {
    std::vector<std::uint8_t> bytes;
    for (const std::string& line : lines_of(text)) {
        int pending = -1;
        for (const char c : line) {
            if (c == '#' || c == ';') {
                break;
            }
            if (std::isspace(static_cast<unsigned char>(c)) != 0 && pending < 0) {
                continue;
            }
            if (std::isxdigit(static_cast<unsigned char>(c)) == 0) {
                return util::fail("not bytes in hexadecimal: \"{}\"", line);
            }
            const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
            if (pending < 0) {
                pending = digit;
            } else {
                bytes.push_back(static_cast<std::uint8_t>(pending << 4 | digit));
                pending = -1;
            }
        }
        if (pending >= 0) {
            return util::fail("half a byte in \"{}\"", line);
        }
    }
    return bytes;
}

}  // namespace rhea::golden
