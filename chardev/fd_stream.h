// Bytes to and from host descriptors without ever blocking: the engine of most backends.
//
// Reads only while the owner has room, so that the host's own buffers push back on the sender.
// write() hands over what the descriptor takes and queues the rest, up to kQueueLimit. Made and
// destroyed in the main thread; everything under the machine lock.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "rhea/util/event_loop.h"

namespace rhea::chardev {

class FdStreamOwner {
  public:
    virtual ~FdStreamOwner() = default;
    virtual std::size_t stream_room() const = 0;
    virtual void stream_received(std::span<const std::uint8_t> bytes) = 0;
    virtual void stream_writable() = 0;
    /// End of input or hang-up; the owner may destroy the stream in this call.
    virtual void stream_closed() = 0;
};

class FdStream {
  public:
    static constexpr std::size_t kQueueLimit = 64 * 1024;

    /// `in` or `out` may be -1, and may be the same. The descriptors stay the caller's. `poll_out` is
    /// false for a regular file, which is always ready.
    FdStream(util::EventLoop& loop, FdStreamOwner& owner, int in, int out);
    FdStream(const FdStream&) = delete;
    FdStream& operator=(const FdStream&) = delete;

    std::size_t write(std::span<const std::uint8_t> bytes);
    /// The owner may have room again.
    void update_reading();
    /// Waits up to `timeout_ms` for the queue to drain.
    void flush(int timeout_ms);

  private:
    void ready(unsigned events);
    /// False: the owner was told of the end, and this object may be gone.
    bool read_some(bool hangup);
    void drain();
    void update_events();
    /// Bytes written, 0 when the descriptor is not ready; an error makes the output a sink.
    std::size_t write_now(std::span<const std::uint8_t> bytes);

    util::EventLoop& loop_;
    FdStreamOwner& owner_;
    int in_, out_;
    bool out_is_socket_ = false;
    bool out_failed_ = false;
    bool reading_ = false;
    bool hung_up_ = false;
    bool refused_ = false;  ///< the front end has bytes that write() did not take
    std::deque<std::uint8_t> queue_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    std::unique_ptr<util::EventLoop::Watch> in_watch_, out_watch_;
};

/// A descriptor for `fd` (an open terminal, pipe, file or socket that others share) on which writes
/// do not block, without changing the shared one's flags; closes by the caller. -1: not possible.
int open_nonblocking_output(int fd);

}  // namespace rhea::chardev
