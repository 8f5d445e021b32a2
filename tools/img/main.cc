// rhea-img: makes, converts, checks and changes disk images; qemu-img's commands, options and exit codes.
#include <cstdio>

#include "tools/img/help.h"
#include "tools/img/run.h"
#include "rhea/util/nearest_name.h"

namespace {

using namespace rhea;

const img::Command* find(std::string_view name) {
    for (const img::Command& command : img::commands()) {
        if (command.name == name) {
            return &command;
        }
    }
    return nullptr;
}

int unknown(std::string_view name) {
    std::vector<std::string_view> names;
    for (const img::Command& command : img::commands()) {
        names.push_back(command.name);
    }
    const auto nearest = util::nearest_name(name, names);
    img::complain(fmt::format("there is no command '{}'; {}", name,
                              nearest ? fmt::format("did you mean '{}'?", *nearest)
                                      : "'rhea-img --help' lists the commands"));
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::string> words(argv + 1, argv + argc);
    if (words.empty()) {
        img::complain("no command; 'rhea-img --help' lists the commands");
        return 1;
    }
    const std::string first = words.front();
    if (first == "-h" || first == "--help" || first == "help") {
        fmt::print("{}", img::general_help());
        return 0;
    }
    if (first == "-V" || first == "--version") {
        fmt::print("rhea-img version {}\n", RHEA_VERSION);
        return 0;
    }
    if (first == "--man-page") {
        fmt::print("{}", img::man_page());
        return 0;
    }
    const img::Command* command = find(first);
    if (!command) {
        return unknown(first);
    }
    words.erase(words.begin());
    img::Run run(*command);
    util::Result<int> status = 1;
    if (auto parsed = run.parse(std::move(words)); !parsed) {
        status = util::fail(parsed.error());
    } else if (run.wants_help) {
        fmt::print("{}", img::command_help(*command));
        return 0;
    } else if (auto made = run.make_objects(); !made) {
        status = util::fail(made.error());
    } else {
        status = command->run(run);
    }
    if (!status) {
        img::complain(status.error().message());
        return 1;
    }
    if (std::fflush(stdout) != 0) {
        img::complain("cannot write to standard output");
        return 1;
    }
    return *status;
}
