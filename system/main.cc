// rhea-system-<arch>: the program.
#include <fmt/format.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <cstdio>
#include <string>

#include "command_line.h"
#include "emulator.h"

namespace {

/// A thread's own arena of glibc grows by an mprotect for every 4 KiB: thousands while a guest boots, as the translator's blocks
/// are allocated by vCPU threads. The main one grows by 128 KiB.
void use_one_arena() {
#ifdef __GLIBC__
    mallopt(M_ARENA_MAX, 1);
#endif
}

}  // namespace

int main(int argc, char** argv) {
    using namespace rhea::system;
    use_one_arena();
    std::string program = argc > 0 ? argv[0] : "rhea-system";
    program.erase(0, program.rfind('/') + 1);
    const auto refuse = [&](const rhea::util::Error& error) {
        fmt::print(stderr, "{}: {}\n", program, error.message());
        return 1;
    };

    auto line = parse_command_line({argv + 1, argv + std::max(argc, 1)});
    if (!line) {
        return refuse(line.error());
    }
    if (line->print_and_exit) {
        fmt::print("{}", *line->print_and_exit);
        return std::fflush(stdout) == 0 ? 0 : 1;
    }
    Emulator emulator(std::move(*line), program);
    const auto status = emulator.run();
    return status ? *status : refuse(status.error());
}
