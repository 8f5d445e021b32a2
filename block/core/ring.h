// An io_uring of one IoContext: requests are collected and handed over together; the ring's descriptor is readable when one is
// done. All methods belong to the context's thread.
#pragma once
#include <liburing.h>

#include <coroutine>
#include <cstdint>
#include <memory>

namespace rhea::block {

/// One request; lives in the frame of the coroutine that waits for it.
struct RingJob {
    std::int64_t result = 0;
    std::coroutine_handle<> waiter;
};

class Ring {
public:
    /// Null where the host forbids io_uring (containers often do) or is too old.
    static std::unique_ptr<Ring> create();
    ~Ring();
    Ring(const Ring &) = delete;
    Ring &operator=(const Ring &) = delete;

    int fd() const { return ring_.ring_fd; }
    /// A free entry to prepare; null only when the host takes no more now. Queue it before anything else is done.
    io_uring_sqe *next_entry();
    /// The entry was prepared for `job`; it goes out at the next submit().
    void queue(io_uring_sqe &entry, RingJob &job);
    bool has_queued() const { return queued_ != 0; }
    void submit();
    /// Resumes those whose requests are done; true: some were.
    bool complete();

private:
    Ring() = default;
    io_uring ring_{};
    unsigned queued_ = 0;
};

} // namespace rhea::block
