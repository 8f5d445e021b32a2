#include "rhea/block/io_context.h"

#include <fcntl.h>
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

Engine IoContext::engine() const { return impl_->engine; }
bool IoContext::in_thread() const { return impl_->thread == std::this_thread::get_id(); }
void IoContext::post(std::function<void()> function) { impl_->post(std::move(function)); }

void IoContext::spawn(Task<void> task) {
    const Batch batch(*this);
    run_detached(std::move(task));
}

void IoContext::begin_batch() { ++impl_->depth; }
void IoContext::end_batch() { --impl_->depth; }

void IoContext::run_until(const bool &done) {
    impl_->activate();
    while (!done)
        impl_->turn(-1);
}

Task<std::int64_t> IoContext::preadv(int fd, const IoVector &to, std::uint64_t offset) {
    PoolAwaiter job(*impl_, [fd, &to, offset] { return read_fully(fd, to.pieces(), offset); });
    co_return co_await job;
}

Task<std::int64_t> IoContext::pwritev(int fd, const IoVector &from, std::uint64_t offset, bool fua) {
    PoolAwaiter job(*impl_, [fd, &from, offset, fua] { return write_fully(fd, from.pieces(), offset, fua); });
    co_return co_await job;
}

Task<std::int64_t> IoContext::fdatasync(int fd) {
    PoolAwaiter job(*impl_, [fd] { return ::fdatasync(fd) == 0 ? std::int64_t{0} : std::int64_t{-errno}; });
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
