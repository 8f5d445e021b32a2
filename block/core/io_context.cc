#include "rhea/block/io_context.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <cerrno>
#include <exception>

#include "block/core/file_transfer.h"
#include "block/core/io_context_impl.h"

namespace rhea::block {
namespace {

/// A coroutine that nobody waits for: it owns itself.
struct Detached {
    struct promise_type {
        static void *operator new(std::size_t size) { return allocate_frame(size); }
        static void operator delete(void *frame, std::size_t size) noexcept { free_frame(frame, size); }
        Detached get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
    };
};

Detached run_detached(Task<void> task) { co_await task; }

/// Awaits a pool job: `Work` is called in a pool thread.
template <typename Work> struct PoolAwaiter : ContextJob {
    PoolAwaiter(IoContext::Impl &owner, Work work_function) : impl(owner), function(std::move(work_function)) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
        waiter = handle;
        work = [](PoolJob &job) { return static_cast<PoolAwaiter &>(job).function(); };
        impl.submit(*this);
    }
    std::int64_t await_resume() const noexcept { return result; }

    IoContext::Impl &impl;
    Work function;
};

/// Awaits a ring job whose entry is prepared.
struct RingAwaiter : RingJob {
    RingAwaiter(Ring &owner, io_uring_sqe &prepared) { owner.queue(prepared, *this); }
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) { waiter = handle; }
    std::int64_t await_resume() const noexcept { return result; }
};

using Prepare = void (*)(io_uring_sqe *, int, const iovec *, unsigned, __u64, int);

/// Goes on until all is done, at the file's end, or at an error; -EAGAIN: the ring cannot do it now, a thread can.
Task<std::int64_t> ring_transfer(Ring &ring, int fd, const IoVector &memory, std::uint64_t offset, Prepare prepare, int flags) {
    const bool is_read = prepare == Prepare{io_uring_prep_readv2};
    std::uint64_t done = 0;
    IoVector rest; // what a short transfer left
    for (;;) {
        const std::span<const iovec> pieces = done ? rest.pieces() : memory.pieces();
        if (pieces.empty())
            co_return 0;
        io_uring_sqe *entry = ring.next_entry();
        if (!entry)
            co_return -EAGAIN;
        const std::span<const iovec> now = pieces.first(std::min<std::size_t>(pieces.size(), IOV_MAX));
        prepare(entry, fd, now.data(), static_cast<unsigned>(now.size()), offset + done, flags);
        RingAwaiter job(ring, *entry);
        const std::int64_t got = co_await job;
        if (got == -EINTR)
            continue;
        if (got < 0)
            co_return got;
        done += static_cast<std::uint64_t>(got);
        if (got == 0 || done == memory.size() ||
            (is_read && is_end_of_file(static_cast<std::uint64_t>(got), total_length(now), offset + done)))
            co_return static_cast<std::int64_t>(done);
        rest = memory.slice(done, memory.size() - done);
    }
}

struct TimerAwaiter {
    IoContext::Impl &impl;
    std::int64_t nanoseconds;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) { impl.add_timer(nanoseconds, handle); }
    void await_resume() const noexcept {}
};

struct FdAwaiter {
    IoContext::Impl &impl;
    int fd;
    unsigned events, result = 0;
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> handle) {
        if (impl.add_waiter(fd, {events, &result, handle}))
            return true;
        result = events; // a file: always ready; a bad descriptor: the next call says so
        return false;
    }
    unsigned await_resume() const noexcept { return result; }
};

} // namespace

IoContext::IoContext(util::EventLoop *loop, Engine engine) : impl_(std::make_shared<Impl>(loop, engine)) {}
IoContext::~IoContext() = default;

Engine IoContext::engine() { return impl_->ring() ? Engine::kIoUring : Engine::kThreads; }
bool IoContext::in_thread() const { return impl_->thread == std::this_thread::get_id(); }
void IoContext::post(std::function<void()> function) { impl_->post(std::move(function)); }

void IoContext::spawn(Task<void> task) {
    const Batch batch(*this);
    run_detached(std::move(task));
}

void IoContext::begin_batch() { ++impl_->depth; }
void IoContext::end_batch() {
    --impl_->depth;
    impl_->flush_batch();
}

void IoContext::run_until(const bool &done) {
    impl_->activate();
    while (!done)
        impl_->turn(-1);
}

Task<std::int64_t> IoContext::preadv(int fd, const IoVector &to, std::uint64_t offset, bool in_pool) {
    if (Ring *ring = in_pool ? nullptr : impl_->ring()) {
        const std::int64_t done = co_await ring_transfer(*ring, fd, to, offset, io_uring_prep_readv2, 0);
        if (done != -EAGAIN)
            co_return done;
    }
    PoolAwaiter job(*impl_, [fd, &to, offset] { return read_fully(fd, to.pieces(), offset); });
    co_return co_await job;
}

Task<std::int64_t> IoContext::pwritev(int fd, const IoVector &from, std::uint64_t offset, bool fua, bool in_pool) {
    if (Ring *ring = in_pool ? nullptr : impl_->ring()) {
        const std::int64_t done = co_await ring_transfer(*ring, fd, from, offset, io_uring_prep_writev2, fua ? RWF_DSYNC : 0);
        // A write of nothing into a piece of something: the device is full.
        if (done != -EAGAIN)
            co_return done >= 0 && static_cast<std::uint64_t>(done) < from.size() ? -ENOSPC : done;
    }
    PoolAwaiter job(*impl_, [fd, &from, offset, fua] { return write_fully(fd, from.pieces(), offset, fua); });
    co_return co_await job;
}

Task<std::int64_t> IoContext::fdatasync(int fd) {
    const auto sync = [fd] { return ::fdatasync(fd) == 0 ? std::int64_t{0} : std::int64_t{-errno}; };
    if (may_block_)
        co_return sync();
    if (Ring *ring = impl_->ring())
        if (io_uring_sqe *entry = ring->next_entry()) {
            io_uring_prep_fsync(entry, fd, IORING_FSYNC_DATASYNC);
            RingAwaiter job(*ring, *entry);
            co_return co_await job;
        }
    PoolAwaiter job(*impl_, sync);
    co_return co_await job;
}

Task<std::int64_t> IoContext::fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) {
    PoolAwaiter job(*impl_, [=] {
        while (::fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length)) != 0)
            if (errno != EINTR)
                return std::int64_t{-errno};
        return std::int64_t{0};
    });
    co_return co_await job;
}

Task<std::int64_t> IoContext::in_pool(std::function<std::int64_t()> work) {
    PoolAwaiter job(*impl_, std::move(work));
    co_return co_await job;
}

Task<void> IoContext::sleep(std::int64_t nanoseconds) {
    TimerAwaiter timer{*impl_, nanoseconds};
    co_await timer;
}

Task<unsigned> IoContext::wait_fd(int fd, unsigned events) {
    FdAwaiter waiter{*impl_, fd, events};
    co_return co_await waiter;
}

} // namespace rhea::block
