#include "core/timer_queue.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "rhea/core/machine_lock.h"

namespace rhea::core {
namespace {

std::int64_t host_ns(clockid_t id) {
    timespec now{};
    ::clock_gettime(id, &now);
    return now.tv_sec * kNanosecondsPerSecond + now.tv_nsec;
}

/// a + b, staying within the type: a deadline of "never" is a large number.
std::int64_t saturating_add(std::int64_t a, std::int64_t b) {
    std::int64_t sum;
    if (!__builtin_add_overflow(a, b, &sum)) {
        return sum;
    }
    return a > 0 ? INT64_MAX : INT64_MIN;
}

}  // namespace

// --- heap
// ------------------------------------------------------------------------------------------

bool TimerHeap::before(const Timer& a, const Timer& b) {
    return a.deadline_ns_ != b.deadline_ns_ ? a.deadline_ns_ < b.deadline_ns_
                                            : a.sequence_ < b.sequence_;
}

void TimerHeap::place(std::size_t index, Timer* timer) {
    timers_[index] = timer;
    timer->heap_index_ = index;
}

void TimerHeap::sift_up(std::size_t index) {
    Timer* timer = timers_[index];
    while (index != 0 && before(*timer, *timers_[(index - 1) / 2])) {
        place(index, timers_[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    place(index, timer);
}

void TimerHeap::sift_down(std::size_t index) {
    Timer* timer = timers_[index];
    for (std::size_t child; (child = index * 2 + 1) < timers_.size(); index = child) {
        if (child + 1 < timers_.size() && before(*timers_[child + 1], *timers_[child])) {
            ++child;
        }
        if (!before(*timers_[child], *timer)) {
            break;
        }
        place(index, timers_[child]);
    }
    place(index, timer);
}

void TimerHeap::insert(Timer& timer) {
    timers_.push_back(&timer);
    sift_up(timers_.size() - 1);
}

void TimerHeap::erase(Timer& timer) {
    const std::size_t index = timer.heap_index_;
    Timer* last = timers_.back();
    timers_.pop_back();
    if (last != &timer) {
        place(index, last);
        sift_up(index);
        sift_down(last->heap_index_);
    }
}

// --- clocks
// ----------------------------------------------------------------------------------------

TimerQueue::TimerQueue() : virtual_offset_(-host_ns(CLOCK_MONOTONIC)) {}

TimerQueue::~TimerQueue() {
    for (const int fd : {epoll_fd_, monotonic_.fd, realtime_.fd}) {
        if (fd >= 0) {
            ::close(fd);
        }
    }
}

std::int64_t TimerQueue::now(ClockType type) const {
    if (manual_.load(std::memory_order_relaxed)) {
        return manual_ns_.load(std::memory_order_relaxed);
    }
    if (type == ClockType::kHost) {
        return host_ns(CLOCK_REALTIME);
    }
    if (type == ClockType::kRealtime) {
        return host_ns(CLOCK_MONOTONIC);
    }
    if (!running_.load(std::memory_order_acquire)) {
        return stopped_at_.load(std::memory_order_relaxed);
    }
    return host_ns(CLOCK_MONOTONIC) + virtual_offset_.load(std::memory_order_relaxed);
}

void TimerQueue::set_running(bool running) {
    std::lock_guard lock(mutex_);
    if (running == running_.load(std::memory_order_relaxed)) {
        return;
    }
    if (running) {
        virtual_offset_ = stopped_at_ - host_ns(CLOCK_MONOTONIC);
    } else {
        stopped_at_ = host_ns(CLOCK_MONOTONIC) + virtual_offset_;
    }
    running_.store(running, std::memory_order_release);
    reprogram();
}

void TimerQueue::set_virtual(std::int64_t ns) {
    std::lock_guard lock(mutex_);
    if (manual_) {
        manual_ns_ = ns;
    }
    stopped_at_ = ns;
    virtual_offset_ = ns - host_ns(CLOCK_MONOTONIC);
    reprogram();
}

bool TimerQueue::ticking(ClockType type) const {
    return type != ClockType::kVirtual || running_ || manual_;
}

// --- timers
// ----------------------------------------------------------------------------------------

TimerHeap& TimerQueue::heap_of(const Timer& timer) {
    return heaps_[static_cast<std::size_t>(timer.type_)];
}

void TimerQueue::arm(Timer& timer, std::int64_t deadline) {
    std::lock_guard lock(mutex_);
    TimerHeap& heap = heap_of(timer);
    if (timer.armed_) {
        heap.erase(timer);
    }
    timer.deadline_ns_ = deadline;
    timer.sequence_ = next_sequence_++;
    timer.armed_ = true;
    heap.insert(timer);
    if (heap.first() == &timer) {
        program();
    }
}

void TimerQueue::disarm(Timer& timer) {
    std::lock_guard lock(mutex_);
    if (timer.armed_) {
        timer.armed_ = false;
        heap_of(timer).erase(timer);  // the descriptor may wake the loop once for nothing
    }
}

std::int64_t TimerQueue::first_deadline(ClockType type) const {
    const TimerHeap& heap = heaps_[static_cast<std::size_t>(type)];
    return heap.empty() || !ticking(type) ? kNever : heap.first()->deadline_ns_;
}

/// Takes out the earliest expired timer that was armed before `armed_before`.
Timer* TimerQueue::take_due(std::uint64_t armed_before) {
    for (const ClockType type : {ClockType::kVirtual, ClockType::kHost, ClockType::kRealtime}) {
        TimerHeap& heap = heaps_[static_cast<std::size_t>(type)];
        if (heap.empty() || !ticking(type) || heap.first()->deadline_ns_ > now(type)) {
            continue;
        }
        Timer* timer = heap.first();
        if (timer->sequence_ < armed_before) {
            heap.erase(*timer);
            timer->armed_ = false;
            return timer;
        }
    }
    return nullptr;
}

int TimerQueue::run_expired() {
    MachineLockGuard machine_lock;
    std::unique_lock lock(mutex_);
    monotonic_.acknowledge();
    realtime_.acknowledge();
    const std::uint64_t armed_before = next_sequence_;
    int fired = 0;
    while (Timer* timer = take_due(armed_before)) {
        lock.unlock();
        timer->callback_();
        ++fired;
        lock.lock();
    }
    program();
    return fired;
}

void TimerQueue::use_manual(std::int64_t start) {
    std::lock_guard lock(mutex_);
    manual_ = true;
    manual_ns_ = start;
}

void TimerQueue::advance(std::int64_t ns) {
    const std::int64_t target = manual_ns_ + ns;
    for (;;) {
        std::int64_t next = target;
        {
            std::lock_guard lock(mutex_);
            for (const TimerHeap& heap : heaps_) {
                if (!heap.empty()) {
                    next = std::min(next, heap.first()->deadline_ns_);
                }
            }
            manual_ns_ = std::max<std::int64_t>(next, manual_ns_);
        }
        if (run_expired() == 0 && next == target) {
            return;
        }
    }
}

// --- the descriptor
// --------------------------------------------------------------------------------

int TimerQueue::fd() {
    std::lock_guard lock(mutex_);
    if (epoll_fd_ < 0) {
        epoll_fd_ = ::epoll_create1(EPOLL_CLOEXEC);
        monotonic_.fd = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        realtime_.fd = ::timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
        epoll_event event{.events = EPOLLIN, .data = {}};
        ::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, monotonic_.fd, &event);
        ::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, realtime_.fd, &event);
        program();
    }
    return epoll_fd_;
}

/// Makes the descriptor fire in time for every deadline.
void TimerQueue::program() {
    if (epoll_fd_ < 0 || manual_) {
        return;
    }
    const std::int64_t virtual_first = first_deadline(ClockType::kVirtual);
    const std::int64_t virtual_as_monotonic =
        virtual_first == kNever ? kNever : saturating_add(virtual_first, -virtual_offset_);
    monotonic_.program(std::min(virtual_as_monotonic, first_deadline(ClockType::kRealtime)));
    realtime_.program(first_deadline(ClockType::kHost));
}

/// The same after the virtual clock jumped: what the timerfds are set for means nothing any more.
void TimerQueue::reprogram() {
    monotonic_.set_for = kNever;
    program();
}

void TimerQueue::Alarm::program(std::int64_t deadline) {
    if (deadline >= set_for) {
        return;
    }
    set_for = deadline;
    const std::int64_t at = std::max<std::int64_t>(deadline, 1);  // 0 would disarm
    itimerspec spec{};
    spec.it_value.tv_sec = at / kNanosecondsPerSecond;
    spec.it_value.tv_nsec = at % kNanosecondsPerSecond;
    ::timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, nullptr);
}

/// Whatever it was set for is about to be looked at.
void TimerQueue::Alarm::acknowledge() {
    if (fd < 0) {
        return;
    }
    std::uint64_t expirations;
    if (::read(fd, &expirations, sizeof expirations) == sizeof expirations) {
        set_for = kNever;
    }
}

}  // namespace rhea::core
