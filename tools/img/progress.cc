#include "tools/img/progress.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

namespace rhea::img {
namespace {

/// Set by SIGUSR1, which asks for one line on standard error. A signal handler has nowhere else to put it.
volatile sig_atomic_t asked = 0;

constexpr auto kInterval = std::chrono::milliseconds(100);

}  // namespace

Progress::Progress(bool shown, std::uint64_t total) : shown_(shown), total_(total) {
    struct sigaction action {};
    action.sa_handler = [](int) { asked = 1; };
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, nullptr);
    if (shown_) {
        print(true);
    }
}

Progress::~Progress() {
    if (shown_) {
        print(true);
        fmt::print("\n");
    }
}

double Progress::percent() const {
    return total_ == 0 ? 100.0 : std::min(100.0, 100.0 * static_cast<double>(done_) / static_cast<double>(total_));
}

void Progress::set(std::uint64_t done) {
    done_ = done;
    if (shown_) {
        print(false);
    }
    if (asked) {
        asked = 0;
        fmt::print(stderr, "    ({:.2f}/100%)\n", percent());
    }
}

void Progress::print(bool now) {
    const auto time = std::chrono::steady_clock::now();
    if (!now && time - printed_ < kInterval) {
        return;
    }
    printed_ = time;
    std::string bar;
    if (isatty(STDOUT_FILENO)) {
        constexpr std::size_t kWidth = 40;
        const auto filled = static_cast<std::size_t>(percent() / 100 * kWidth);
        bar = fmt::format(" [{}{}]", std::string(filled, '#'), std::string(kWidth - filled, '.'));
    }
    fmt::print("    ({:.2f}/100%){}\r", percent(), bar);
    std::fflush(stdout);
}

}  // namespace rhea::img
