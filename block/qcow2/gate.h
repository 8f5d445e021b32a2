// Who may run beside whom in one image.
//
// Gate: requests enter and leave; an operation that changes the image as a whole (snapshot, resize, check) closes
// it: it waits until all have left, and later ones wait for it.
//
// Grace: a cluster that nothing names any more may still be read, or written in place, by a request that looked its place
// up earlier. Clusters that wait to be free are handed back only when all those requests have ended.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "rhea/block/co_sync.h"

namespace rhea::block::qcow2 {

class Gate {
public:
    /// False: closed; co_await wait(), and ask again.
    bool try_enter() {
        if (closed_)
            return false;
        ++inside_;
        return true;
    }
    Task<void> enter() {
        while (!try_enter())
            co_await opened_.wait();
    }
    void leave() {
        if (--inside_ == 0 && closed_)
            empty_.wake_all();
    }
    Task<void> close() {
        while (closed_)
            co_await opened_.wait();
        closed_ = true;
        while (inside_ != 0)
            co_await empty_.wait();
    }
    void open() {
        closed_ = false;
        opened_.wake_all();
    }

private:
    std::uint64_t inside_ = 0;
    bool closed_ = false;
    CoQueue opened_, empty_;
};

/// Opens a closed gate at the end of a scope.
class GateClosed {
public:
    explicit GateClosed(Gate &gate) : gate_(&gate) {}
    GateClosed(const GateClosed &) = delete;
    GateClosed &operator=(const GateClosed &) = delete;
    ~GateClosed() { gate_->open(); }

private:
    Gate *gate_;
};

template <typename Item> class Grace {
public:
    unsigned enter() {
        ++inside_[epoch_];
        return epoch_;
    }
    void leave(unsigned epoch) {
        if (--inside_[epoch] == 0 && epoch != epoch_)
            advance();
    }
    /// `items` become ripe when everybody who is inside now has left.
    void retire(std::vector<Item> items) {
        if (items.empty())
            return;
        waiting_.insert(waiting_.end(), items.begin(), items.end());
        if (leaving_.empty())
            advance();
    }
    /// What nobody can be using any more.
    std::vector<Item> take_ripe() { return std::exchange(ripe_, {}); }
    bool idle() const { return leaving_.empty() && waiting_.empty() && ripe_.empty(); }

private:
    void advance() {
        // Those of the older epoch have left: what waited for them is ripe; then the next batch waits for the present ones.
        for (;;) {
            ripe_.insert(ripe_.end(), leaving_.begin(), leaving_.end());
            leaving_.clear();
            if (waiting_.empty())
                return;
            leaving_.swap(waiting_);
            epoch_ ^= 1;
            if (inside_[epoch_ ^ 1] != 0)
                return;
        }
    }
    unsigned epoch_ = 0;
    std::uint64_t inside_[2] = {0, 0};
    std::vector<Item> waiting_, leaving_, ripe_;
};

} // namespace rhea::block::qcow2
