// rhea-system-<arch>: the program. So far it only tells what it is.

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <string_view>

#include "rhea/util/nearest_name.h"
#include "version.h"

namespace {

constexpr std::array<std::string_view, 4> kOptions = {"-h", "-help", "-version", "-V"};

void print_help(std::string_view program) {
    fmt::print(
        "usage: {} [options]\n"
        "\n"
        "-h or -help     display this help and exit\n"
        "-version        display version information and exit\n",
        program);
}

int refuse(std::string_view program, std::string_view argument) {
    const std::string_view name = argument.starts_with("--") ? argument.substr(1) : argument;
    const auto nearest = rhea::util::nearest_name(name, kOptions);
    fmt::print(stderr, "{}: {}: unknown option; {}\n", program, argument,
               nearest ? fmt::format("did you mean {}?", *nearest) : "-help lists the options");
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view program = argc > 0 ? argv[0] : "rhea-system";
    for (int i = 1; i < argc; ++i) {
        std::string_view option = argv[i];
        if (option.starts_with("--")) {
            option.remove_prefix(1);
        }
        if (option == "-version" || option == "-V") {
            fmt::print("Rhea emulator version {}\n", RHEA_VERSION);
            return 0;
        }
        if (option == "-help" || option == "-h") {
            print_help(program);
            return 0;
        }
        return refuse(program, argv[i]);
    }
    fmt::print(stderr, "{}: no machine can be started in this version; -help lists the options\n",
               program);
    return 1;
}
