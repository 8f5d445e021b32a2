#include "rhea/core/clock.h"

#include "core/timer_queue.h"

namespace rhea::core {

Clocks::Clocks() : queue_(std::make_unique<TimerQueue>()) {}
Clocks::~Clocks() = default;

std::int64_t Clocks::now(ClockType type) const {
    return queue_->now(type);
}

void Clocks::set_running(bool running) {
    queue_->set_running(running);
}

bool Clocks::running() const {
    return queue_->running();
}

void Clocks::set_virtual_ns(std::int64_t ns) {
    queue_->set_virtual(ns);
}

int Clocks::fd() const {
    return queue_->fd();
}

int Clocks::run_expired() {
    return queue_->run_expired();
}

void Clocks::use_manual_time(std::int64_t start_ns) {
    queue_->use_manual(start_ns);
}

void Clocks::advance(std::int64_t ns) {
    queue_->advance(ns);
}

Timer::Timer(Clocks& clocks, ClockType type, std::function<void()> callback)
    : queue_(*clocks.queue_), type_(type), callback_(std::move(callback)) {}

Timer::~Timer() {
    disarm();
}

void Timer::arm(std::int64_t deadline_ns) {
    queue_.arm(*this, deadline_ns);
}

void Timer::disarm() {
    queue_.disarm(*this);
}

}  // namespace rhea::core
