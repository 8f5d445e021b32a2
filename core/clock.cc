#include "rhea/core/clock.h"

#include <algorithm>
#include <atomic>
#include <ctime>
#include <mutex>
#include <sys/timerfd.h>
#include <unistd.h>
#include <vector>

namespace rhea::core {
namespace {

std::int64_t host_ns(clockid_t id) {
    timespec now{};
    ::clock_gettime(id, &now);
    return now.tv_sec * kNanosecondsPerSecond + now.tv_nsec;
}

} // namespace

/// The heaps (one a clock) and the timerfd. The mutex covers all of it; callbacks run without it.
class TimerQueue {
public:
    TimerQueue() : virtual_offset_(-host_ns(CLOCK_MONOTONIC)) {}
    ~TimerQueue() {
        if (fd_ >= 0)
            ::close(fd_);
    }

    std::int64_t now(ClockType type) const {
        if (manual_.load(std::memory_order_relaxed))
            return manual_ns_.load(std::memory_order_relaxed);
        switch (type) {
        case ClockType::kHost:
            return host_ns(CLOCK_REALTIME);
        case ClockType::kRealtime:
            return host_ns(CLOCK_MONOTONIC);
        case ClockType::kVirtual:
            break;
        }
        if (!running_.load(std::memory_order_acquire))
            return stopped_at_.load(std::memory_order_relaxed);
        return host_ns(CLOCK_MONOTONIC) + virtual_offset_.load(std::memory_order_relaxed);
    }

    void set_running(bool running) {
        std::lock_guard lock(mutex_);
        if (running == running_.load())
            return;
        if (running) {
            virtual_offset_ = stopped_at_ - host_ns(CLOCK_MONOTONIC);
            running_.store(true, std::memory_order_release);
        } else {
            stopped_at_ = host_ns(CLOCK_MONOTONIC) + virtual_offset_;
            running_.store(false, std::memory_order_release);
        }
        program_locked();
    }
    bool running() const { return running_.load(std::memory_order_acquire); }

    void set_virtual(std::int64_t ns) {
        std::lock_guard lock(mutex_);
        if (manual_.load())
            manual_ns_ = ns;
        stopped_at_ = ns;
        virtual_offset_ = ns - host_ns(CLOCK_MONOTONIC);
        program_locked();
    }

    int fd() {
        std::lock_guard lock(mutex_);
        if (fd_ < 0) {
            fd_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
            program_locked();
        }
        return fd_;
    }

    int run_expired() {
        std::uint64_t ticks;
        if (fd_ >= 0)
            [[maybe_unused]] const ssize_t got = ::read(fd_, &ticks, sizeof ticks);
        int fired = 0;
        for (;;) {
            Timer *due = nullptr;
            {
                std::lock_guard lock(mutex_);
                for (unsigned type = 0; type < 3 && !due; ++type) {
                    if (static_cast<ClockType>(type) == ClockType::kVirtual && !running_ && !manual_)
                        continue;
                    if (!heaps_[type].empty() && heaps_[type][0]->deadline_ns_ <= now(static_cast<ClockType>(type)))
                        due = heaps_[type][0];
                }
                if (!due) {
                    program_locked();
                    return fired;
                }
                erase_locked(*due);
            }
            ++fired;
            due->callback_();
        }
    }

    void use_manual(std::int64_t start) {
        std::lock_guard lock(mutex_);
        manual_ = true;
        manual_ns_ = start;
    }

    void advance(std::int64_t ns) {
        const std::int64_t target = manual_ns_ + ns;
        for (;;) {
            std::int64_t next = target;
            {
                std::lock_guard lock(mutex_);
                for (const auto &heap : heaps_) {
                    if (!heap.empty())
                        next = std::min(next, std::max<std::int64_t>(heap[0]->deadline_ns_, manual_ns_));
                }
            }
            manual_ns_ = next;
            if (run_expired() == 0 && next == target)
                return;
        }
    }

    void arm(Timer &timer, std::int64_t deadline) {
        std::lock_guard lock(mutex_);
        if (timer.armed_)
            erase_locked(timer);
        timer.deadline_ns_ = deadline;
        auto &heap = heap_of(timer);
        timer.heap_index_ = heap.size();
        timer.armed_ = true;
        heap.push_back(&timer);
        sift_up(heap, timer.heap_index_);
        if (timer.heap_index_ == 0)
            program_locked();
    }

    void disarm(Timer &timer) {
        std::lock_guard lock(mutex_);
        if (timer.armed_)
            erase_locked(timer); // the timerfd may wake once for nothing
    }

private:
    using Heap = std::vector<Timer *>;
    Heap &heap_of(const Timer &timer) { return heaps_[static_cast<unsigned>(timer.type_)]; }

    static void place(Heap &heap, std::size_t index, Timer *timer) {
        heap[index] = timer;
        timer->heap_index_ = index;
    }
    static void sift_up(Heap &heap, std::size_t index) {
        Timer *timer = heap[index];
        while (index && timer->deadline_ns_ < heap[(index - 1) / 2]->deadline_ns_) {
            place(heap, index, heap[(index - 1) / 2]);
            index = (index - 1) / 2;
        }
        place(heap, index, timer);
    }
    static void sift_down(Heap &heap, std::size_t index) {
        Timer *timer = heap[index];
        for (;;) {
            std::size_t child = index * 2 + 1;
            if (child >= heap.size())
                break;
            if (child + 1 < heap.size() && heap[child + 1]->deadline_ns_ < heap[child]->deadline_ns_)
                ++child;
            if (heap[child]->deadline_ns_ >= timer->deadline_ns_)
                break;
            place(heap, index, heap[child]);
            index = child;
        }
        place(heap, index, timer);
    }
    void erase_locked(Timer &timer) {
        Heap &heap = heap_of(timer);
        const std::size_t index = timer.heap_index_;
        Timer *last = heap.back();
        heap.pop_back();
        timer.armed_ = false;
        if (last != &timer) {
            place(heap, index, last);
            sift_up(heap, index);
            sift_down(heap, last->heap_index_);
        }
    }

    void program_locked() {
        if (fd_ < 0 || manual_)
            return;
        bool any = false;
        std::int64_t delay = 0;
        for (unsigned type = 0; type < 3; ++type) {
            if (heaps_[type].empty() || (static_cast<ClockType>(type) == ClockType::kVirtual && !running_))
                continue;
            const std::int64_t until = std::max<std::int64_t>(heaps_[type][0]->deadline_ns_ - now(static_cast<ClockType>(type)), 1);
            delay = any ? std::min(delay, until) : until;
            any = true;
        }
        itimerspec spec{};
        if (any) {
            spec.it_value.tv_sec = delay / kNanosecondsPerSecond;
            spec.it_value.tv_nsec = delay % kNanosecondsPerSecond;
        }
        ::timerfd_settime(fd_, 0, &spec, nullptr);
    }

    mutable std::mutex mutex_;
    Heap heaps_[3];
    int fd_ = -1;
    std::atomic<bool> running_{true}, manual_{false};
    std::atomic<std::int64_t> virtual_offset_, stopped_at_{0}, manual_ns_{0};
};

Clocks::Clocks() : queue_(std::make_unique<TimerQueue>()) {}
Clocks::~Clocks() = default;
std::int64_t Clocks::now(ClockType type) const { return queue_->now(type); }
void Clocks::set_running(bool running) { queue_->set_running(running); }
bool Clocks::running() const { return queue_->running(); }
void Clocks::set_virtual_ns(std::int64_t ns) { queue_->set_virtual(ns); }
int Clocks::fd() const { return queue_->fd(); }
int Clocks::run_expired() { return queue_->run_expired(); }
void Clocks::use_manual_time(std::int64_t start_ns) { queue_->use_manual(start_ns); }
void Clocks::advance(std::int64_t ns) { queue_->advance(ns); }

Timer::Timer(Clocks &clocks, ClockType type, std::function<void()> callback)
    : queue_(*clocks.queue_), type_(type), callback_(std::move(callback)) {}
Timer::~Timer() { disarm(); }
void Timer::arm(std::int64_t deadline_ns) { queue_.arm(*this, deadline_ns); }
void Timer::disarm() { queue_.disarm(*this); }

} // namespace rhea::core
