// The terminal, or whatever standard input and output are.
#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <mutex>

#include "chardev/backends.h"
#include "chardev/stream_chardev.h"

namespace rhea::chardev {
namespace {

/// The state that the OS forces to be process-wide: a process has one controlling terminal, and
/// signal handlers must reach what to put back.
struct TerminalState {
    termios original{};
    termios raw{};
    std::atomic<bool> is_raw{false};
    std::atomic<bool> in_use{false};  ///< one stdio chardev a process
};
TerminalState g_terminal;

void make_terminal_raw(bool signals) {
    if (::tcgetattr(STDIN_FILENO, &g_terminal.original) != 0) {
        return;  // no terminal
    }
    termios raw = g_terminal.original;
    raw.c_iflag &= ~static_cast<tcflag_t>(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR |
                                          ICRNL | IXON);
    raw.c_oflag |= OPOST;
    raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | IEXTEN);
    if (!signals) {
        raw.c_lflag &= ~static_cast<tcflag_t>(ISIG);
    }
    raw.c_cflag = (raw.c_cflag & ~static_cast<tcflag_t>(CSIZE | PARENB)) | CS8;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    g_terminal.raw = raw;
    g_terminal.is_raw = true;
    static std::once_flag registered;
    std::call_once(registered, [] { std::atexit(restore_terminal); });
    ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

class StdioChardev final : public StreamChardev {
  public:
    StdioChardev(std::string id, util::EventLoop& loop, bool signals)
        : StreamChardev(std::move(id), loop), out_(open_nonblocking_output(STDOUT_FILENO)) {
        make_terminal_raw(signals);
        open_stream(STDIN_FILENO, out_ ? out_.get() : STDOUT_FILENO);
    }
    ~StdioChardev() override {
        close_stream();
        restore_terminal();
        g_terminal.in_use = false;
    }
    std::string describe() const override { return "stdio"; }

  private:
    OwnedFd out_;
};

}  // namespace

void restore_terminal() {
    if (g_terminal.is_raw.exchange(false)) {
        ::tcsetattr(STDIN_FILENO, TCSANOW, &g_terminal.original);
    }
}

void reenter_raw_terminal() {
    if (g_terminal.is_raw.load()) {
        ::tcsetattr(STDIN_FILENO, TCSANOW, &g_terminal.raw);
    }
}

util::Result<std::unique_ptr<Chardev>> make_stdio(const BackendContext& context, std::string id,
                                                  util::OptionList& options) {
    const auto signals = options.take_bool("signal", true);
    if (!signals) {
        return util::fail(signals.error());
    }
    if (g_terminal.in_use.exchange(true)) {
        return util::fail("another character device has the terminal already; "
                          "-serial mon:stdio shares it between the guest and the monitor");
    }
    return std::make_unique<StdioChardev>(std::move(id), context.loop, *signals);
}

}  // namespace rhea::chardev
