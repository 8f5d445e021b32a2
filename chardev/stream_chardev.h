// A Chardev whose bytes go through an FdStream: the common part of file, stdio, pipe, pty, sockets.
#pragma once
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "chardev/fd_stream.h"
#include "rhea/chardev/chardev.h"

namespace rhea::chardev {

/// A descriptor that closes itself.
class OwnedFd {
  public:
    OwnedFd() = default;
    explicit OwnedFd(int fd) : fd_(fd) {}
    OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    OwnedFd& operator=(OwnedFd&& other) noexcept {
        reset(std::exchange(other.fd_, -1));
        return *this;
    }
    ~OwnedFd() { reset(); }
    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    void reset(int fd = -1) {
        if (fd_ >= 0) {
            ::close(fd_);
        }
        fd_ = fd;
    }

  private:
    int fd_ = -1;
};

class StreamChardev : public Chardev, private FdStreamOwner {
  public:
    void accept_input() override {
        if (stream_) {
            stream_->update_reading();
        }
    }
    void flush() override {
        if (stream_) {
            stream_->flush(kFlushMs);
        }
    }

  protected:
    static constexpr int kFlushMs = 1000;

    StreamChardev(std::string id, util::EventLoop& loop) : Chardev(std::move(id)), loop_(loop) {}

    /// Starts to use the descriptors, which stay the caller's. Main thread.
    void open_stream(int in, int out) {
        stream_ = std::make_unique<FdStream>(loop_, static_cast<FdStreamOwner&>(*this), in, out);
        set_connected(true);
    }
    void close_stream() { stream_.reset(); }
    bool streaming() const { return stream_ != nullptr; }
    /// End of input. By default the output stays open.
    virtual void stream_ended() {}

    std::size_t send(std::span<const std::uint8_t> bytes) override {
        return stream_ ? stream_->write(bytes) : bytes.size();
    }

    util::EventLoop& loop_;

  private:
    std::size_t stream_room() const override { return room(); }
    void stream_received(std::span<const std::uint8_t> bytes) override { deliver(bytes); }
    void stream_writable() override { tell_writable(); }
    void stream_closed() override { stream_ended(); }

    std::unique_ptr<FdStream> stream_;
};

}  // namespace rhea::chardev
