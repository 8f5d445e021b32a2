// What turns a golden case's input into text, by the name in the file's "producer:" line.
//
// To add one: a function in a file of its own, declared here, and a row in producers.cc. It must
// give the same text on every run and every host that runs the test.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "rhea/util/result.h"

namespace rhea::golden {

struct Producer {
    std::string_view name;
    std::string_view help;
    util::Result<std::string> (*produce)(std::string_view input);
};

/// All of them.
std::span<const Producer> producers();
/// Null when there is none of that name.
const Producer* find_producer(std::string_view name);

/// "host-listing": the input is host code in hexadecimal.
util::Result<std::string> produce_host_listing(std::string_view input);

/// "x86-code": a guest snippet, translated (x86_snippet.cc).
util::Result<std::string> produce_x86_code(std::string_view input);

/// "x86-row-calls": decoder rows whose hot path calls something (x86_rows.cc).
util::Result<std::string> produce_x86_row_calls(std::string_view input);

}  // namespace rhea::golden
