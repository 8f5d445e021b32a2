#include "chardev/fd_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <string>

#include "rhea/core/machine_lock.h"

namespace rhea::chardev {
namespace {

bool is_type(int fd, unsigned type) {
    struct stat status{};
    return ::fstat(fd, &status) == 0 && (status.st_mode & S_IFMT) == type;
}

std::int64_t now_ms() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

int open_nonblocking_output(int fd) {
    if (is_type(fd, S_IFCHR) || is_type(fd, S_IFIFO)) {
        // A new open file description of the same thing has flags of its own.
        const std::string path = "/proc/self/fd/" + std::to_string(fd);
        const int opened = ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (opened >= 0) {
            return opened;
        }
    }
    // A regular file never makes its writer wait for long; a socket is written with MSG_DONTWAIT.
    return ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

FdStream::FdStream(util::EventLoop& loop, FdStreamOwner& owner, int in, int out)
    : loop_(loop), owner_(owner), in_(in), out_(out) {
    out_is_socket_ = out >= 0 && is_type(out, S_IFSOCK);
    const auto callback = [this](unsigned events) {
        const core::MachineLockGuard lock;
        ready(events);
    };
    reading_ = in_ >= 0 && owner_.stream_room() > 0;
    if (in_ >= 0) {
        in_watch_ = loop.watch(in_, reading_ ? util::EventLoop::kReadable : 0u, callback);
    }
    if (out_ >= 0 && out_ != in_ && !is_type(out_, S_IFREG)) {
        out_watch_ = loop.watch(out_, 0, [this](unsigned events) {
            const core::MachineLockGuard lock;
            if (events & util::EventLoop::kHangup) {
                out_failed_ = true;  // nobody reads any more
                out_watch_.reset();
            }
            drain();
        });
    }
}

void FdStream::update_events() {
    const bool writing = !queue_.empty();
    unsigned events = reading_ ? util::EventLoop::kReadable : 0u;
    if (out_ == in_ && writing) {
        events |= util::EventLoop::kWritable;
    }
    if (in_watch_) {
        in_watch_->set_events(events);
    }
    if (out_watch_) {
        out_watch_->set_events(writing ? util::EventLoop::kWritable : 0u);
    }
}

void FdStream::update_reading() {
    if (in_ < 0 || reading_ || owner_.stream_room() == 0) {
        return;
    }
    if (hung_up_) {
        // The watch is gone; the main thread reads what is left.
        loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
            if (alive.lock()) {
                const core::MachineLockGuard lock;
                read_some(true);
            }
        });
        return;
    }
    reading_ = true;
    update_events();
}

void FdStream::ready(unsigned events) {
    if (events & util::EventLoop::kWritable) {
        drain();
    }
    if (events & (util::EventLoop::kReadable | util::EventLoop::kHangup)) {
        read_some((events & util::EventLoop::kHangup) != 0);
    }
}

bool FdStream::read_some(bool hangup) {
    std::array<std::uint8_t, 4096> buffer;
    for (;;) {
        const std::size_t room = std::min(owner_.stream_room(), buffer.size());
        if (room == 0) {
            reading_ = false;
            if (hangup) {
                hung_up_ = true;  // a watch would report it for ever
                in_watch_.reset();
            } else {
                update_events();
            }
            return true;
        }
        const ssize_t got = ::read(in_, buffer.data(), room);
        if (got > 0) {
            const std::weak_ptr<bool> alive = alive_;
            owner_.stream_received(std::span(buffer.data(), static_cast<std::size_t>(got)));
            if (alive.expired()) {
                return false;
            }
            if (!hangup) {
                // A full front end stops the watch now, not at the next poll.
                if (owner_.stream_room() == 0) {
                    reading_ = false;
                    update_events();
                }
                return true;
            }
            continue;
        }
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno == EAGAIN && !hangup) {
            return true;
        }
        in_watch_.reset();
        in_ = -1;
        if (out_watch_ == nullptr && out_is_socket_) {
            out_failed_ = true;
        }
        owner_.stream_closed();
        return false;
    }
}

std::size_t FdStream::write_now(std::span<const std::uint8_t> bytes) {
    std::size_t done = 0;
    while (done < bytes.size()) {
        const auto rest = bytes.subspan(done);
        const ssize_t count =
            out_is_socket_ ? ::send(out_, rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                           : ::write(out_, rest.data(), rest.size());
        if (count > 0) {
            done += static_cast<std::size_t>(count);
        } else if (count < 0 && errno == EINTR) {
            continue;
        } else if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            break;
        } else {
            out_failed_ = true;
            return bytes.size();
        }
    }
    return done;
}

std::size_t FdStream::write(std::span<const std::uint8_t> bytes) {
    if (out_failed_ || out_ < 0) {
        return bytes.size();
    }
    std::size_t taken = queue_.empty() ? write_now(bytes) : 0;
    if (taken < bytes.size()) {
        const bool was_empty = queue_.empty();
        const std::size_t queued = std::min(bytes.size() - taken, kQueueLimit - queue_.size());
        const auto rest = bytes.subspan(taken, queued);
        queue_.insert(queue_.end(), rest.begin(), rest.end());
        taken += queued;
        if (was_empty) {
            update_events();
        }
    }
    refused_ = refused_ || taken < bytes.size();
    return taken;
}

void FdStream::drain() {
    while (!queue_.empty() && !out_failed_) {
        std::array<std::uint8_t, 4096> chunk;
        const std::size_t size = std::min(queue_.size(), chunk.size());
        std::copy_n(queue_.begin(), size, chunk.begin());
        const std::size_t done = write_now(std::span(chunk.data(), size));
        queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(done));
        if (done < size) {
            break;
        }
    }
    if (out_failed_) {
        queue_.clear();
    }
    update_events();
    if (refused_ && queue_.size() < kQueueLimit / 2) {
        refused_ = false;
        owner_.stream_writable();
    }
}

void FdStream::flush(int timeout_ms) {
    const std::int64_t deadline = now_ms() + timeout_ms;
    while (!queue_.empty() && !out_failed_) {
        const std::int64_t left = deadline - now_ms();
        pollfd poll_out{out_, POLLOUT, 0};
        if (left <= 0 || ::poll(&poll_out, 1, static_cast<int>(left)) <= 0) {
            return;
        }
        drain();
    }
}

}  // namespace rhea::chardev
