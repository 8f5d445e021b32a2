// The table, help, and lookup by name.
#include <fmt/format.h>

#include <algorithm>

#include "commands.h"

namespace rhea::monitor {
namespace {

/// Is `word` one of "cont|c"?
bool names(std::string_view list, std::string_view word) {
    while (!list.empty()) {
        const std::string_view name = list.substr(0, list.find('|'));
        if (name == word) {
            return true;
        }
        list.remove_prefix(std::min(list.size(), name.size() + 1));
    }
    return false;
}

constexpr std::string_view kInfo = "info ";

std::string usage(const Command& command) {
    return fmt::format("{}{}{} -- {}\n", command.name, command.parameters.empty() ? "" : " ",
                       command.parameters, command.help);
}

}  // namespace

std::span<const Command> command_table() {
    static const std::vector<Command> kCommands = [] {
        std::vector<Command> all;
        for (auto&& part : {run_commands(), block_commands(), memory_commands(), log_commands(), info_commands(),
                            block_info_commands()}) {
            all.insert(all.end(), part.begin(), part.end());
        }
        return all;
    }();
    return kCommands;
}

const Command* find_command(std::string_view word, std::string_view second_word) {
    for (const Command& command : command_table()) {
        const bool is_info = command.name.starts_with(kInfo);
        if (is_info ? word == "info" && names(command.name.substr(kInfo.size()), second_word)
                    : names(command.name, word)) {
            return &command;
        }
    }
    return nullptr;
}

std::string help_text(std::string_view name) {
    std::string text;
    if (name.empty()) {
        for (const Command& command : command_table()) {
            if (!command.name.starts_with(kInfo)) {
                text += usage(command);
            }
        }
        return text + "info [subcommand] -- what there is to know; 'help info' lists the subcommands\n";
    }
    if (name == "info") {
        for (const Command& command : command_table()) {
            if (command.name.starts_with(kInfo)) {
                text += usage(command);
            }
        }
        return text;
    }
    const std::size_t space = name.find(' ');
    const Command* command =
        space == std::string_view::npos
            ? find_command(name)
            : find_command(name.substr(0, space), name.substr(space + 1));
    return command ? usage(*command) : fmt::format("unknown command: '{}'\n", name);
}

std::vector<std::string> completions(std::string_view line) {
    std::vector<std::string> found;
    const bool info = line.starts_with(kInfo);
    const std::string_view word = info ? line.substr(kInfo.size()) : line;
    const auto offer = [&](std::string_view name) {
        if (name.starts_with(word) && std::find(found.begin(), found.end(), name) == found.end()) {
            found.emplace_back(name);
        }
    };
    for (const Command& command : command_table()) {
        if (command.name.starts_with(kInfo) != info) {
            continue;
        }
        const std::string_view list = info ? command.name.substr(kInfo.size()) : command.name;
        offer(list.substr(0, list.find('|')));
    }
    if (!info) {
        offer("info");
    }
    std::sort(found.begin(), found.end());
    return found;
}

}  // namespace rhea::monitor
