// A pseudo-terminal: its path is announced, and whoever opens it is connected.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/inotify.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "chardev/backends.h"
#include "chardev/stream_chardev.h"
#include "rhea/core/machine_lock.h"

namespace rhea::chardev {
namespace {

/// While nobody has the slave open, a poll of the master reports a hang-up all the time: then the
/// master is left alone, and inotify says when somebody opens the slave.
class PtyChardev final : public StreamChardev {
  public:
    PtyChardev(std::string id, util::EventLoop& loop, OwnedFd master, std::string slave)
        : StreamChardev(std::move(id), loop), master_(std::move(master)), slave_(std::move(slave)),
          notify_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
        ::inotify_add_watch(notify_.get(), slave_.c_str(), IN_OPEN);
        opened_ = loop.watch(notify_.get(), util::EventLoop::kReadable, [this](unsigned) {
            char events[1024];
            while (::read(notify_.get(), events, sizeof events) > 0) {
            }
            const core::MachineLockGuard lock;
            look();
        });
        look();
    }
    ~PtyChardev() override { close_stream(); }
    std::string describe() const override {
        return connected() ? "pty:" + slave_ : "disconnected:pty:" + slave_;
    }

  private:
    void look() {
        pollfd state{master_.get(), 0, 0};
        if (!streaming() && ::poll(&state, 1, 0) == 0) {
            open_stream(master_.get(), master_.get());
        }
    }
    void stream_ended() override {
        close_stream();
        set_connected(false);
        look();  // it may have been opened again in the meantime
    }

    OwnedFd master_;
    std::string slave_;
    OwnedFd notify_;
    std::unique_ptr<util::EventLoop::Watch> opened_;
};

}  // namespace

util::Result<std::unique_ptr<Chardev>> make_pty(const BackendContext& context, std::string id,
                                                util::OptionList&) {
    OwnedFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
    char name[128];
    if (!master || ::grantpt(master.get()) != 0 || ::unlockpt(master.get()) != 0 ||
        ::ptsname_r(master.get(), name, sizeof name) != 0) {
        return util::fail("cannot make a pseudo-terminal: {}", std::strerror(errno));
    }
    OwnedFd slave(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
    termios raw{};
    if (!slave || ::tcgetattr(slave.get(), &raw) != 0) {
        return util::fail("cannot open the pseudo-terminal {}: {}", name, std::strerror(errno));
    }
    ::cfmakeraw(&raw);
    ::tcsetattr(slave.get(), TCSAFLUSH, &raw);
    slave.reset();
    context.announce(fmt::format("char device redirected to {} (label {})", name, id));
    return std::make_unique<PtyChardev>(std::move(id), context.loop, std::move(master), name);
}

}  // namespace rhea::chardev
