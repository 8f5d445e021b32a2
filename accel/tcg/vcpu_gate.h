// Who executes guest code, and how one vCPU makes the others stop, or forget that they may store to a page.
//
// A vCPU is inside from enter() to leave(). Only inside may it use what it knows of guest memory (TLB entries, host pointers) and
// translated blocks. Three things stand on that:
//  - exclusive(): everybody else is outside while the body runs. For what no vCPU may see happen: freeing blocks and code memory, a
//    locked operation on two pages.
//  - revoke_elsewhere(): the members named lose their write entries of a page. They do it themselves, at their next way in or between
//    two blocks (pass()); the call waits until they have, or are outside.
//  - one at a time (-accel tcg,thread=single): a queue for the inside, with time slices.
//
// Threading: enter(), leave() and pass() in the member's own thread, and no other lock held; exclusive() and
// revoke_elsewhere() in a member's thread outside generated code, with no lock held: another member may wait for that lock inside.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

namespace rhea::accel {

class GateMember {
public:
    using Revoke = std::function<void(const std::uint8_t *host_page)>;
    /// `exit_request`: VcpuHead's, what makes generated code come back. `revoke`: stores to the page take the slow path from now on;
    /// called in the member's thread, inside.
    GateMember(unsigned index, std::uint32_t &exit_request, Revoke revoke)
        : index_(index), exit_request_(exit_request), revoke_(std::move(revoke)) {}
    GateMember(const GateMember &) = delete;

    unsigned index() const { return index_; }
    bool inside() const { return inside_.load(std::memory_order_seq_cst); }
    /// Generated code comes back at its next poll.
    void kick() { std::atomic_ref<std::uint32_t>(exit_request_).store(1, std::memory_order_seq_cst); }

private:
    friend class VcpuGate;
    const unsigned index_;
    std::uint32_t &exit_request_;
    const Revoke revoke_;
    std::atomic<bool> inside_{false};
    std::atomic<std::uint64_t> posted_{0}, done_{0}; ///< pages to revoke, ever
    std::mutex mutex_;
    std::vector<const std::uint8_t *> pages_; ///< not drained yet
};

class VcpuGate {
public:
    enum class Mode : std::uint8_t { kParallel, kOneAtATime };
    explicit VcpuGate(Mode mode) : mode_(mode) {}

    /// While no member is inside.
    void add(GateMember &member) { members_.push_back(&member); }
    void remove(GateMember &member) { std::erase(members_, &member); }
    bool several() const { return members_.size() > 1; }
    bool one_at_a_time() const { return mode_ == Mode::kOneAtATime; }

    void enter(GateMember &member);
    void leave(GateMember &member);
    /// Between two blocks: does what others asked of the member, and lets those in who wait for it.
    void pass(GateMember &member) {
        if (stop_.load(std::memory_order_seq_cst) || slice_over_.load(std::memory_order_relaxed)) [[unlikely]] {
            leave(member);
            enter(member);
        } else {
            drain(member);
        }
    }
    /// One at a time: the others may have their turn (at the next pass()).
    void yield() { slice_over_.store(true, std::memory_order_relaxed); }

    /// Runs `body` while nobody else is inside; `self` (null: a thread that is none) counts as outside while it waits for that.
    void exclusive(GateMember *self, const std::function<void()> &body);

    /// The members for which `mask` has bit index % 32 lose their write entries of the page at `host_page`.
    void revoke_elsewhere(GateMember &self, const std::uint8_t *host_page, const std::function<bool(unsigned index)> &concerns);
    void kick_others(const GateMember *self) {
        for (GateMember *member : members_) {
            if (member != self)
                member->kick();
        }
    }

private:
    static constexpr std::chrono::milliseconds kSlice{2};

    void drain(GateMember &member);
    void take_turn(std::unique_lock<std::mutex> &lock, GateMember &member);
    /// Waits outside until `done`, which members make true by leaving or draining.
    void wait_for(const std::function<bool()> &done);
    void tell_waiters();

    const Mode mode_;
    std::vector<GateMember *> members_;
    std::atomic<bool> stop_{false};       ///< somebody wants to be, or is, alone
    std::atomic<bool> slice_over_{false};
    std::atomic<unsigned> waiters_{0};    ///< threads in wait_for()
    std::mutex mutex_, exclusive_mutex_;
    std::condition_variable changed_;
    std::uint64_t next_turn_ = 0, now_served_ = 0;
    GateMember *holder_ = nullptr;        ///< one at a time: whose turn it is
};

} // namespace rhea::accel
