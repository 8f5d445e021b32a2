// What an IoContext is made of: one epoll descriptor that holds its wake-up eventfd, its timer and the descriptors that
// coroutines wait for. A joined event loop watches that one descriptor; run() waits on it.
#pragma once
#include <coroutine>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <queue>
#include <thread>
#include <vector>

#include "block/core/ring.h"
#include "block/core/thread_pool.h"
#include "rhea/block/io_context.h"

namespace rhea::block {

/// A pool job whose end resumes a coroutine in the context's thread.
struct ContextJob : PoolJob {
    IoContext::Impl *context = nullptr;
    std::coroutine_handle<> waiter;
    ContextJob *next_done = nullptr;
};

struct IoContext::Impl : std::enable_shared_from_this<IoContext::Impl> {
    Impl(util::EventLoop *event_loop, Engine wanted);
    ~Impl();

    /// Makes the descriptors; the context's thread. They stay.
    void activate();
    /// Handles what is ready; waits for something first, up to `timeout_ms` (-1: for ever).
    void turn(int timeout_ms);
    /// Hands over what was collected, unless somebody goes on collecting.
    void flush_batch() {
        if (depth == 0 && ring_)
            submit_ring();
    }
    void post(std::function<void()> function);
    void submit(ContextJob &job);

    struct FdWaiter {
        unsigned events;
        unsigned *result;
        std::coroutine_handle<> handle;
    };
    /// False: the descriptor cannot be waited for (a file is always ready).
    bool add_waiter(int fd, FdWaiter waiter);
    /// The ring, or null: requests go to the pool. Makes it when first asked for.
    Ring *ring();
    void add_timer(std::int64_t nanoseconds, std::coroutine_handle<> handle);

    util::EventLoop *loop;
    Engine engine; ///< wanted; once ring() was asked: had
    std::thread::id thread = std::this_thread::get_id();
    unsigned depth = 0; ///< of turns and batches: requests are handed over when it gets to 0

private:
    void submit_ring();
    void wake_locked();
    void run_posted();
    void run_timers();
    void fd_ready(int fd, unsigned epoll_events);
    bool set_interest(int fd, bool is_new);
    static void job_finished(PoolJob &job);

    int epoll_fd_ = -1, event_fd_ = -1, timer_fd_ = -1;
    std::unique_ptr<util::EventLoop::Watch> watch_;

    std::mutex mutex_; ///< over these four
    bool active_ = false, signalled_ = false;
    std::vector<std::function<void()>> posted_;
    ContextJob *done_ = nullptr, *done_last_ = nullptr;

    std::map<int, std::vector<FdWaiter>> waiters_;
    struct Timer {
        std::int64_t deadline;
        std::uint64_t sequence;
        std::coroutine_handle<> handle;
        bool operator>(const Timer &other) const {
            return deadline != other.deadline ? deadline > other.deadline : sequence > other.sequence;
        }
    };
    std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
    std::uint64_t timer_sequence_ = 0;
    std::unique_ptr<ThreadPool> pool_;
    std::unique_ptr<Ring> ring_;
};

} // namespace rhea::block
