// A golden file: snippets, what they are turned into, and by which producer.
//
//     # Comment lines and empty lines may stand before the first case.
//     producer: host-listing
//
//     === name of the case
//     input, any number of lines
//     --- (three dashes alone)
//     expected output, up to the next "===" or the end of the file
//
// Text is compared line by line; trailing blanks and empty lines at the end of a part do not count.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/util/result.h"

namespace rhea::golden {

struct Case {
    std::string name;
    std::string input;
    std::string expected;
};

struct Fixture {
    std::string header;  ///< everything before the first case, kept as it is
    std::string producer;
    std::vector<Case> cases;
};

/// The lines of a text without trailing blanks, and without empty lines at the end.
std::vector<std::string> lines_of(std::string_view text);

/// Fails with a sentence that has the line number: no producer, a case twice or without "---".
util::Result<Fixture> parse_fixture(std::string_view text);
/// parse_fixture(format_fixture(f)) gives f.
std::string format_fixture(const Fixture& fixture);

util::Result<Fixture> read_fixture(const std::filesystem::path& path);
/// Replaces the file in one step.
util::Result<void> write_fixture(const std::filesystem::path& path, const Fixture& fixture);

/// What changed, one line each: "  same", "- expected", "+ actual", with three lines of context
/// ("..." for what is left out). Empty when the texts are equal by lines_of().
std::string line_diff(std::string_view expected, std::string_view actual);

/// Bytes written in hexadecimal; blanks are free, '#' and ';' begin a comment.
util::Result<std::vector<std::uint8_t>> parse_bytes(std::string_view text);

}  // namespace rhea::golden
