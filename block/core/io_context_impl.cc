#include "block/core/io_context_impl.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace rhea::block {
namespace {

/// Blocking requests in flight; more wait their turn.
constexpr unsigned kPoolThreads = 64;

int checked(int fd, const char *what) {
    if (fd < 0) {
        std::fprintf(stderr, "rhea: the block layer cannot go on without %s: %s\n", what, std::strerror(errno));
        std::abort();
    }
    return fd;
}

std::int64_t now_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

void add_to_epoll(int epoll_fd, int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    checked(::epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event), "epoll");
}

} // namespace

IoContext::Impl::Impl(util::EventLoop *event_loop, Engine wanted) : loop(event_loop), engine(wanted) {}

IoContext::Impl::~Impl() {
    pool_.reset(); // its last jobs still report here
    ring_.reset();
    watch_.reset();
    for (const int fd : {timer_fd_, event_fd_, epoll_fd_})
        if (fd >= 0)
            ::close(fd);
}

void IoContext::Impl::activate() {
    if (epoll_fd_ >= 0)
        return;
    epoll_fd_ = checked(::epoll_create1(EPOLL_CLOEXEC), "an epoll descriptor");
    event_fd_ = checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "an eventfd");
    add_to_epoll(epoll_fd_, event_fd_);
    if (loop)
        watch_ = loop->watch(epoll_fd_, util::EventLoop::kReadable, [this](unsigned) { turn(0); });
    const std::lock_guard lock(mutex_);
    active_ = true;
    if (done_ || !posted_.empty())
        wake_locked();
}

void IoContext::Impl::wake_locked() {
    if (!active_ || signalled_)
        return;
    signalled_ = true;
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(event_fd_, &one, sizeof one);
}

void IoContext::Impl::post(std::function<void()> function) {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(function));
    if (active_)
        wake_locked();
    else if (loop && posted_.size() == 1)
        loop->post([weak = weak_from_this()] {
            if (const auto self = weak.lock())
                self->activate();
        });
}

void IoContext::Impl::submit(ContextJob &job) {
    activate();
    if (!pool_)
        pool_ = std::make_unique<ThreadPool>(kPoolThreads);
    job.context = this;
    job.finished = job_finished;
    pool_->submit(job);
}

void IoContext::Impl::job_finished(PoolJob &job) {
    auto &done = static_cast<ContextJob &>(job);
    Impl &self = *done.context;
    const std::lock_guard lock(self.mutex_);
    (self.done_last_ ? self.done_last_->next_done : self.done_) = &done;
    self.done_last_ = &done;
    self.wake_locked();
}

Ring *IoContext::Impl::ring() {
    if (engine == Engine::kIoUring && !ring_) {
        activate();
        ring_ = Ring::create();
        if (ring_)
            add_to_epoll(epoll_fd_, ring_->fd());
        else
            engine = Engine::kThreads;
    }
    return ring_.get();
}

void IoContext::Impl::submit_ring() {
    // What the host has at hand (its page cache) is done when submit() returns; who goes on then may ask for more.
    ++depth;
    do
        ring_->submit();
    while (ring_->complete() && ring_->has_queued());
    --depth;
    if (ring_->has_queued())
        post([] {}); // the host is short of something: again at the next turn
}

void IoContext::Impl::turn(int timeout_ms) {
    ++depth;
    std::array<epoll_event, 32> events;
    const int count = ::epoll_wait(epoll_fd_, events.data(), static_cast<int>(events.size()), timeout_ms);
    if (count < 0 && ring_)
        ring_->complete(); // a completion ended the wait
    for (int i = 0; i < count; ++i) {
        const int fd = events[static_cast<std::size_t>(i)].data.fd;
        if (fd == event_fd_)
            run_posted();
        else if (fd == timer_fd_)
            run_timers();
        else if (ring_ && fd == ring_->fd())
            ring_->complete();
        else
            fd_ready(fd, events[static_cast<std::size_t>(i)].events);
    }
    --depth;
    flush_batch();
}

void IoContext::Impl::run_posted() {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(event_fd_, &count, sizeof count);
    std::vector<std::function<void()>> posted;
    ContextJob *done = nullptr;
    {
        const std::lock_guard lock(mutex_);
        signalled_ = false;
        posted.swap(posted_);
        done = std::exchange(done_, nullptr);
        done_last_ = nullptr;
    }
    while (done) {
        ContextJob *next = done->next_done;
        done->waiter.resume();
        done = next;
    }
    for (std::function<void()> &function : posted)
        function();
}

// ---- timers ------------------------------------------------------------------------------------------------------

void IoContext::Impl::add_timer(std::int64_t nanoseconds, std::coroutine_handle<> handle) {
    activate();
    if (timer_fd_ < 0) {
        timer_fd_ = checked(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "a timerfd");
        add_to_epoll(epoll_fd_, timer_fd_);
    }
    const Timer timer{now_ns() + std::max<std::int64_t>(nanoseconds, 0), timer_sequence_++, handle};
    const bool is_first = timers_.empty() || timers_.top() > timer;
    timers_.push(timer);
    if (is_first) {
        itimerspec when{};
        when.it_value.tv_sec = timer.deadline / 1'000'000'000;
        when.it_value.tv_nsec = timer.deadline % 1'000'000'000;
        ::timerfd_settime(timer_fd_, TFD_TIMER_ABSTIME, &when, nullptr);
    }
}

void IoContext::Impl::run_timers() {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(timer_fd_, &count, sizeof count);
    const std::int64_t now = now_ns();
    std::vector<std::coroutine_handle<>> due;
    while (!timers_.empty() && timers_.top().deadline <= now) {
        due.push_back(timers_.top().handle);
        timers_.pop();
    }
    if (!timers_.empty()) {
        itimerspec when{};
        when.it_value.tv_sec = timers_.top().deadline / 1'000'000'000;
        when.it_value.tv_nsec = timers_.top().deadline % 1'000'000'000;
        ::timerfd_settime(timer_fd_, TFD_TIMER_ABSTIME, &when, nullptr);
    }
    for (const std::coroutine_handle<> handle : due)
        handle.resume();
}

// ---- descriptors -------------------------------------------------------------------------------------------------

bool IoContext::Impl::add_waiter(int fd, FdWaiter waiter) {
    activate();
    auto &list = waiters_[fd];
    list.push_back(waiter);
    if (set_interest(fd, list.size() == 1))
        return true;
    list.pop_back();
    if (list.empty())
        waiters_.erase(fd);
    return false;
}

void IoContext::Impl::fd_ready(int fd, unsigned epoll_events) {
    const auto found = waiters_.find(fd);
    if (found == waiters_.end())
        return;
    unsigned events = 0;
    if (epoll_events & EPOLLIN)
        events |= util::EventLoop::kReadable;
    if (epoll_events & EPOLLOUT)
        events |= util::EventLoop::kWritable;
    if (epoll_events & (EPOLLHUP | EPOLLERR))
        events |= util::EventLoop::kHangup;
    std::vector<FdWaiter> woken;
    std::erase_if(found->second, [&](const FdWaiter &waiter) {
        const unsigned mine = events & (waiter.events | util::EventLoop::kHangup);
        if (mine) {
            *waiter.result = mine;
            woken.push_back(waiter);
        }
        return mine != 0;
    });
    if (found->second.empty()) {
        ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
        waiters_.erase(found);
    } else if (!woken.empty()) {
        set_interest(fd, false);
    }
    for (const FdWaiter &waiter : woken)
        waiter.handle.resume();
}

bool IoContext::Impl::set_interest(int fd, bool is_new) {
    unsigned wanted = 0;
    for (const FdWaiter &each : waiters_[fd])
        wanted |= each.events;
    epoll_event event{};
    event.events = ((wanted & util::EventLoop::kReadable) ? EPOLLIN : 0u) | ((wanted & util::EventLoop::kWritable) ? EPOLLOUT : 0u);
    event.data.fd = fd;
    return ::epoll_ctl(epoll_fd_, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) == 0;
}

} // namespace rhea::block
