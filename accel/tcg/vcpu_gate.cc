#include "accel/tcg/vcpu_gate.h"

#include <algorithm>

namespace rhea::accel {

// ---- in and out ----------------------------------------------------------------------------------------------------

void VcpuGate::enter(GateMember &member) {
    if (mode_ == Mode::kOneAtATime) {
        std::unique_lock lock(mutex_);
        take_turn(lock, member);
    }
    for (;;) {
        // Either whoever wants to be alone sees us inside, or we see that it does.
        member.inside_.store(true, std::memory_order_seq_cst);
        if (!stop_.load(std::memory_order_seq_cst)) {
            drain(member);
            return;
        }
        member.inside_.store(false, std::memory_order_seq_cst);
        tell_waiters();
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return !stop_.load(std::memory_order_seq_cst); });
    }
}

void VcpuGate::leave(GateMember &member) {
    member.inside_.store(false, std::memory_order_seq_cst);
    if (mode_ == Mode::kOneAtATime) {
        const std::lock_guard lock(mutex_);
        ++now_served_;
        holder_ = nullptr;
        changed_.notify_all();
        return;
    }
    tell_waiters();
}

/// First come, first served. Who waits longer than a slice makes the holder give its turn back.
void VcpuGate::take_turn(std::unique_lock<std::mutex> &lock, GateMember &member) {
    const std::uint64_t turn = next_turn_++;
    while (now_served_ != turn) {
        if (changed_.wait_for(lock, kSlice) == std::cv_status::timeout && holder_) {
            slice_over_.store(true, std::memory_order_relaxed);
            holder_->kick();
        }
    }
    slice_over_.store(false, std::memory_order_relaxed);
    holder_ = &member;
}

void VcpuGate::tell_waiters() {
    if (waiters_.load(std::memory_order_seq_cst) == 0)
        return;
    { const std::lock_guard lock(mutex_); } // who waits has looked, and sleeps
    changed_.notify_all();
}

void VcpuGate::wait_for(const std::function<bool()> &done) {
    waiters_.fetch_add(1, std::memory_order_seq_cst);
    {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, done);
    }
    waiters_.fetch_sub(1, std::memory_order_seq_cst);
}

// ---- the others ----------------------------------------------------------------------------------------------------

void VcpuGate::exclusive(GateMember *self, const std::function<void()> &body) {
    if (!several()) {
        body();
        return;
    }
    // One at a time, everybody else is outside already, and waits for our turn to end.
    const bool step_out = self && self->inside() && mode_ == Mode::kParallel;
    if (step_out)
        leave(*self);
    {
        const std::lock_guard alone(exclusive_mutex_);
        stop_.store(true, std::memory_order_seq_cst);
        kick_others(self);
        wait_for([&] {
            return std::none_of(members_.begin(), members_.end(), [&](const GateMember *m) { return m != self && m->inside(); });
        });
        body();
        const std::lock_guard lock(mutex_);
        stop_.store(false, std::memory_order_seq_cst);
        changed_.notify_all();
    }
    if (step_out)
        enter(*self);
}

void VcpuGate::revoke_elsewhere(GateMember &self, const std::uint8_t *host_page, const std::function<bool(unsigned)> &concerns) {
    struct Wait {
        GateMember *member;
        std::uint64_t ticket;
    };
    std::vector<Wait> waits;
    for (GateMember *member : members_) {
        if (member == &self || !concerns(member->index()))
            continue;
        const std::lock_guard lock(member->mutex_);
        member->pages_.push_back(host_page);
        waits.push_back({member, member->posted_.fetch_add(1, std::memory_order_seq_cst) + 1});
    }
    const auto settled = [&] {
        return std::all_of(waits.begin(), waits.end(), [](const Wait &wait) {
            return !wait.member->inside() || wait.member->done_.load(std::memory_order_seq_cst) >= wait.ticket;
        });
    };
    if (settled())
        return;
    for (const Wait &wait : waits)
        wait.member->kick();
    // Two that wait for each other must not do so inside.
    leave(self);
    wait_for(settled);
    enter(self);
}

void VcpuGate::drain(GateMember &member) {
    if (member.posted_.load(std::memory_order_seq_cst) == member.done_.load(std::memory_order_relaxed))
        return;
    std::vector<const std::uint8_t *> pages;
    std::uint64_t ticket;
    {
        const std::lock_guard lock(member.mutex_);
        pages.swap(member.pages_);
        ticket = member.posted_.load(std::memory_order_relaxed);
    }
    for (const std::uint8_t *page : pages)
        member.revoke_(page);
    member.done_.store(ticket, std::memory_order_seq_cst);
    tell_waiters();
}

} // namespace rhea::accel
