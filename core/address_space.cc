// Publishing of views, transactions, listeners and ioeventfds. Accesses are in
// address_space_access.cc.
#include <algorithm>
#include <cassert>

#include "core/flat_view.h"
#include "core/memory_transaction.h"
#include "core/view_reclaim.h"
#include "rhea/core/machine_lock.h"
#include "rhea/core/memory.h"

namespace rhea::core {
namespace {

/// Guarded by the machine lock; process-wide, as begin_transaction() is.
struct Pending {
    unsigned depth = 0;
    std::vector<AddressSpace*> dirty;
};

Pending& pending() {
    static auto& the_pending = *new Pending;
    return the_pending;
}

}  // namespace

void MemoryTransaction::mark_dirty(AddressSpace& space) {
    assert(pending().depth > 0);
    std::vector<AddressSpace*>& dirty = pending().dirty;
    if (std::ranges::find(dirty, &space) == dirty.end()) {
        dirty.push_back(&space);
    }
}

void MemoryTransaction::forget(AddressSpace& space) {
    std::erase(pending().dirty, &space);
}

void AddressSpace::begin_transaction() {
    MachineLock::acquire();
    ++pending().depth;
}

void AddressSpace::commit_transaction() {
    Pending& p = pending();
    assert(p.depth > 0);
    // Listeners may change the tree; that is part of this transaction.
    while (p.depth == 1 && !p.dirty.empty()) {
        AddressSpace* space = p.dirty.front();
        p.dirty.erase(p.dirty.begin());
        space->rebuild();
    }
    --p.depth;
    MachineLock::release();
}

AddressSpace::AddressSpace(std::string name, MemoryRegion& root)
    : name_(std::move(name)), root_(root) {
    MachineLockGuard lock;
    root_.spaces_.push_back(this);
    view_.store(new FlatView{flatten(root_), {}}, std::memory_order_release);
}

AddressSpace::~AddressSpace() {
    MachineLockGuard lock;
    std::erase(root_.spaces_, this);
    MemoryTransaction::forget(*this);
    retire_view(view_.load(std::memory_order_relaxed));
}

void AddressSpace::rebuild() {
    std::vector<FlatRange> ranges = flatten(root_);
    if (ranges != view().ranges) {
        publish(std::move(ranges), view().ioeventfds, true);
    }
}

/// Under the machine lock. The old view stays readable until the listeners have seen it.
void AddressSpace::publish(std::vector<FlatRange> ranges, std::vector<IoEventFd> ioeventfds,
                           bool tell_listeners) {
    const auto* fresh = new FlatView{std::move(ranges), std::move(ioeventfds)};
    const FlatView* old = view_.exchange(fresh, std::memory_order_acq_rel);
    if (tell_listeners) {
        const std::vector<MemoryListener*> listeners = listeners_;
        for (MemoryListener* listener : listeners) {
            listener->view_changed(*old, *fresh);
        }
    }
    retire_view(old);
}

void AddressSpace::add_listener(MemoryListener& listener) {
    MachineLockGuard lock;
    listeners_.push_back(&listener);
    listener.view_changed(FlatView{}, view());
    for (const IoEventFd& binding : view().ioeventfds) {
        listener.ioeventfd_added(binding);
    }
}

void AddressSpace::remove_listener(MemoryListener& listener) {
    MachineLockGuard lock;
    std::erase(listeners_, &listener);
}

void AddressSpace::add_ioeventfd(const IoEventFd& binding) {
    MachineLockGuard lock;
    std::vector<IoEventFd> bindings = view().ioeventfds;
    bindings.insert(std::ranges::upper_bound(bindings, binding.addr, {}, &IoEventFd::addr),
                    binding);
    publish(view().ranges, std::move(bindings), false);
    for (MemoryListener* listener : listeners_) {
        listener->ioeventfd_added(binding);
    }
}

void AddressSpace::remove_ioeventfd(const IoEventFd& binding) {
    MachineLockGuard lock;
    std::vector<IoEventFd> bindings = view().ioeventfds;
    const auto found = std::ranges::find(bindings, binding);
    if (found == bindings.end()) {
        return;
    }
    bindings.erase(found);
    publish(view().ranges, std::move(bindings), false);
    for (MemoryListener* listener : listeners_) {
        listener->ioeventfd_removed(binding);
    }
}

}  // namespace rhea::core
