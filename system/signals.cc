#include "signals.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>

#include "rhea/chardev/chardev.h"

namespace rhea::system {
namespace {

constexpr std::array kEndSignals{SIGINT, SIGTERM, SIGHUP};

/// What the handlers share with the main loop: handlers have no other way to get at anything.
struct SignalState {
    std::atomic<int> event_fd{-1};
    std::atomic<int> signal{0}, sender{0};
};
SignalState g_signals;

void on_end_signal(int signal, siginfo_t* info, void*) {
    const int fd = g_signals.event_fd.load();
    int none = 0;
    if (fd < 0 || !g_signals.signal.compare_exchange_strong(none, signal)) {
        chardev::restore_terminal();
        ::_exit(1);
    }
    g_signals.sender = info->si_code <= 0 ? info->si_pid : 0;
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(fd, &one, sizeof one);
}

void on_continue(int) {
    chardev::reenter_raw_terminal();
}

/// A crash leaves a usable terminal, and then does what it would have done.
void on_abort(int signal) {
    chardev::restore_terminal();
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}

}  // namespace

Signals::Signals() {
    struct sigaction action{};
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    action.sa_sigaction = on_end_signal;
    for (const int signal : kEndSignals) {
        struct sigaction former{};
        ::sigaction(signal, nullptr, &former);
        if (former.sa_handler != SIG_IGN) {  // nohup
            ::sigaction(signal, &action, nullptr);
        }
    }
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGCONT, on_continue);
    std::signal(SIGABRT, on_abort);
}

Signals::~Signals() {
    for (const int signal : kEndSignals) {
        std::signal(signal, SIG_DFL);
    }
    watch_.reset();
    const int fd = g_signals.event_fd.exchange(-1);
    if (fd >= 0) {
        ::close(fd);
    }
    g_signals.signal = 0;
}

void Signals::watch(util::EventLoop& loop, std::function<void(int, int)> on_end) {
    const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    watch_ = loop.watch(fd, util::EventLoop::kReadable, [fd, on_end](unsigned) {
        std::uint64_t count;
        if (::read(fd, &count, sizeof count) == sizeof count) {
            on_end(g_signals.signal, g_signals.sender);
        }
    });
    g_signals.event_fd = fd;
}

}  // namespace rhea::system
