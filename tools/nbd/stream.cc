#include "tools/nbd/stream.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace rhea::nbd {

using block::Task;
using util::EventLoop;

Stream::Stream(block::IoContext& context, int fd) : context_(context), fd_(fd) {
    fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK);
}

Stream::~Stream() {
    close(fd_);
}

void Stream::shut_down() {
    shutdown(fd_, SHUT_RDWR);
}

Task<bool> Stream::read(void* to, std::size_t length) {
    auto* at = static_cast<std::uint8_t*>(to);
    while (length) {
        const ssize_t got = recv(fd_, at, length, 0);
        if (got > 0) {
            at += got;
            length -= static_cast<std::size_t>(got);
        } else if (got < 0 && errno == EAGAIN) {
            co_await context_.wait_fd(fd_, EventLoop::kReadable);
        } else if (got == 0 || errno != EINTR) {
            co_return false;
        }
    }
    co_return true;
}

Task<bool> Stream::write(const void* from, std::size_t length) {
    const auto* at = static_cast<const std::uint8_t*>(from);
    while (length) {
        const ssize_t sent = send(fd_, at, length, MSG_NOSIGNAL);
        if (sent > 0) {
            at += sent;
            length -= static_cast<std::size_t>(sent);
        } else if (sent < 0 && errno == EAGAIN) {
            co_await context_.wait_fd(fd_, EventLoop::kWritable);
        } else if (errno != EINTR) {
            co_return false;
        }
    }
    co_return true;
}

Task<bool> Stream::skip(std::uint64_t length) {
    std::array<std::uint8_t, 4096> sink;
    while (length) {
        const std::size_t part = std::min<std::uint64_t>(length, sink.size());
        const bool there = co_await read(sink.data(), part);
        if (!there) {
            co_return false;
        }
        length -= part;
    }
    co_return true;
}

}  // namespace rhea::nbd
