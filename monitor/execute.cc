// One HMP line: words, schema, handler, output.
#include <fmt/format.h>

#include "commands.h"
#include "rhea/util/option_list.h"

namespace rhea::monitor {
namespace {

void skip_blanks(std::string_view& text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
}

/// The next word; one in double quotes may hold blanks and \" \\ \n.
util::Result<std::string> take_word(std::string_view& text) {
    skip_blanks(text);
    std::string word;
    if (text.empty() || text.front() != '"') {
        while (!text.empty() && text.front() != ' ' && text.front() != '\t') {
            word += text.front();
            text.remove_prefix(1);
        }
        return word;
    }
    text.remove_prefix(1);
    while (!text.empty() && text.front() != '"') {
        char c = text.front();
        text.remove_prefix(1);
        if (c == '\\' && !text.empty()) {
            c = text.front() == 'n' ? '\n' : text.front();
            text.remove_prefix(1);
        }
        word += c;
    }
    if (text.empty()) {
        return util::fail("a quotation mark is missing");
    }
    text.remove_prefix(1);
    return word;
}

util::Result<void> take_flags(const Command& command, std::string_view& text,
                              Arguments& arguments) {
    for (skip_blanks(text); text.size() >= 2 && text.front() == '-'; skip_blanks(text)) {
        bool known = false;
        for (const Argument& argument : command.arguments) {
            if (argument.type == ArgumentType::kFlag && text.substr(1, 1) == argument.letter) {
                arguments.set(argument.name, true);
                known = true;
            }
        }
        if (!known) {
            return {};  // a negative number, perhaps
        }
        text.remove_prefix(2);
    }
    return {};
}

util::Result<void> take_argument(const Argument& argument, std::string_view& text,
                                 Arguments& arguments) {
    skip_blanks(text);
    if (argument.type == ArgumentType::kFormat) {
        if (text.starts_with('/')) {
            text.remove_prefix(1);
            arguments.set(argument.name, take_word(text).value());
        }
        return {};
    }
    if (text.empty()) {
        if (argument.optional) {
            return {};
        }
        return util::fail("the argument '{}' is missing", argument.name);
    }
    if (argument.type == ArgumentType::kRest) {
        while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
            text.remove_suffix(1);
        }
        arguments.set(argument.name, std::string_view(text));
        text = {};
        return {};
    }
    auto word = take_word(text);
    if (!word) {
        return util::fail(word.error());
    }
    if (argument.type == ArgumentType::kString) {
        arguments.set(argument.name, std::move(*word));
        return {};
    }
    const auto number = parse_integer(*word);
    if (!number) {
        return util::fail("'{}' is no number", *word);
    }
    arguments.set(argument.name, *number);
    return {};
}

}  // namespace

std::optional<std::int64_t> parse_integer(std::string_view text) {
    std::uint64_t sum = 0;
    bool negative = false, first = true;
    while (first || !text.empty()) {
        if (!first || text.starts_with('-') || text.starts_with('+')) {
            negative = text.front() == '-';
            text.remove_prefix(1);
        }
        const std::string_view term = text.substr(0, text.find_first_of("+-"));
        const auto value = util::parse_unsigned(term);
        if (!value) {
            return std::nullopt;
        }
        sum = negative ? sum - *value : sum + *value;
        text.remove_prefix(term.size());
        first = false;
    }
    return static_cast<std::int64_t>(sum);
}

util::Result<Arguments> parse_arguments(const Command& command, std::string_view text) {
    Arguments arguments;
    if (auto done = take_flags(command, text, arguments); !done) {
        return util::fail(done.error());
    }
    for (const Argument& argument : command.arguments) {
        if (argument.type == ArgumentType::kFlag) {
            continue;
        }
        if (auto done = take_argument(argument, text, arguments); !done) {
            return util::fail(done.error());
        }
    }
    skip_blanks(text);
    if (!text.empty()) {
        return util::fail("'{}' is more than the command takes", text);
    }
    return arguments;
}

std::string run_line(Host& host, std::string_view line) {
    skip_blanks(line);
    if (line.empty() || line.front() == '#') {
        return {};
    }
    // A format may follow a command directly: xp/4xw.
    const std::string_view word = line.substr(0, line.find_first_of(" \t/"));
    std::string_view rest = line.substr(word.size());
    const Command* command = find_command(word);
    if (!command && word == "info") {
        const auto second = take_word(rest);
        if (second && second->empty()) {
            return help_text("info");
        }
        command = second ? find_command(word, *second) : nullptr;
    }
    if (!command) {
        while (line.ends_with(' ')) {
            line.remove_suffix(1);
        }
        // `info foo` is named whole, another command by its first word.
        return fmt::format("unknown command: '{}'\n", word == "info" ? line : word);
    }
    const auto arguments = parse_arguments(*command, rest);
    if (!arguments) {
        return fmt::format("{}: {}\n\"help {}\" says what it takes\n", word,
                           arguments.error().message(), word);
    }
    const auto result = command->run(host, *arguments);
    if (!result) {
        return fmt::format("Error: {}\n", result.error().message());
    }
    if (command->print_for) {
        return command->print_for(host, *result);
    }
    return command->print ? command->print(*result) : result->as_string();
}

}  // namespace rhea::monitor
