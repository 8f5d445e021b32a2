#include "command_line.h"

#include <fmt/format.h>

#include <array>

#include "rhea/util/nearest_name.h"

namespace rhea::system {
namespace {

std::array<std::span<const Option>, 5> all_options() {
    return {machine_options(), drive_options(), boot_options(), character_options(), run_options()};
}

const Option* find_option(std::string_view name) {
    for (const auto& room : all_options()) {
        for (const Option& option : room) {
            if (option.name == name) {
                return &option;
            }
        }
    }
    return nullptr;
}

util::Failure refuse_unknown(std::string_view typed, std::string_view name) {
    for (const RefusedOption& option : refused_options()) {
        if (option.name == name) {
            return util::fail("{}: {}", typed, option.reason);
        }
    }
    std::vector<std::string_view> names;
    for (const auto& room : all_options()) {
        for (const Option& option : room) {
            names.push_back(option.name);
        }
    }
    if (const auto nearest = util::nearest_name(name, names)) {
        return util::fail("{}: invalid option; did you mean -{}?", typed, *nearest);
    }
    return util::fail("{}: invalid option; -help lists the options", typed);
}

util::Result<void> check_combinations(const CommandLine& line) {
    if (line.config.kernel.empty()) {
        if (!line.config.initrd.empty()) {
            return util::fail("-initrd is for the kernel of -kernel, which is missing");
        }
        if (!line.config.append.empty()) {
            return util::fail("-append is for the kernel of -kernel, which is missing");
        }
    }
    if (line.daemonize && line.nographic) {
        return util::fail("-nographic needs the terminal, which -daemonize gives up; use -display none");
    }
    return {};
}

}  // namespace

util::Result<CommandLine> parse_command_line(std::span<const char* const> arguments) {
    CommandLine line;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string_view typed = arguments[i];
        if (!typed.starts_with('-') || typed == "-") {
            return util::fail("{}: disk images are not in this version of Rhea; "
                              "-kernel starts a Linux kernel",
                              typed);
        }
        const std::string_view name = typed.substr(typed.starts_with("--") ? 2 : 1);
        const Option* option = find_option(name);
        if (!option) {
            return refuse_unknown(typed, name);
        }
        std::string_view argument;
        if (!option->argument.empty()) {
            if (++i == arguments.size()) {
                return util::fail("{}: requires an argument", typed);
            }
            argument = arguments[i];
        }
        if (auto done = option->handle(line, argument); !done) {
            return util::fail(done.error().within(
                argument.empty() ? std::string(typed) : fmt::format("{} {}", typed, argument)));
        }
        if (line.print_and_exit) {
            return line;
        }
    }
    if (auto done = check_combinations(line); !done) {
        return util::fail(done.error());
    }
    return line;
}

std::string option_help(std::string_view program) {
    std::string text = fmt::format("usage: {} [options]\n\n", program);
    for (const auto& room : all_options()) {
        for (const Option& option : room) {
            if (option.help.empty()) {
                continue;
            }
            const std::string head = option.argument.empty()
                                         ? fmt::format("-{}", option.name)
                                         : fmt::format("-{} {}", option.name, option.argument);
            std::string_view help = option.help;
            bool first = true;
            while (!help.empty()) {
                const std::string_view row = help.substr(0, help.find('\n'));
                help.remove_prefix(std::min(help.size(), row.size() + 1));
                if (first && head.size() >= 16) {
                    text += head + "\n";
                    first = false;
                }
                text += fmt::format("{:<16}{}\n", first ? head : "", row);
                first = false;
            }
        }
    }
    text += "\nDuring emulation with -nographic, Ctrl-A h lists the keys of the terminal.\n";
    return text;
}

std::string option_manual() {
    const auto escaped = [](std::string_view text) {
        std::string out;
        for (const char c : text) {
            if (c == '\\') {
                out += "\\e";
            } else if (c == '-') {
                out += "\\-";
            } else {
                out += c;
            }
        }
        return out;
    };
    std::string text;
    for (const auto& room : all_options()) {
        for (const Option& option : room) {
            if (option.help.empty()) {
                continue;
            }
            text += fmt::format(".TP\n\\fB\\-{}\\fR", escaped(option.name));
            if (!option.argument.empty()) {
                text += fmt::format(" \\fI{}\\fR", escaped(option.argument));
            }
            text += "\n";
            std::string_view help = option.help;
            while (!help.empty()) {
                const std::string_view row = help.substr(0, help.find('\n'));
                help.remove_prefix(std::min(help.size(), row.size() + 1));
                text += escaped(row) + (help.empty() ? "\n" : "\n.br\n");
            }
        }
    }
    return text;
}

}  // namespace rhea::system
