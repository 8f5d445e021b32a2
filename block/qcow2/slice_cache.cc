#include "block/qcow2/slice_cache.h"

namespace rhea::block::qcow2 {

SliceCache::SliceCache(HostFile &file, const char *what, unsigned table_bits, unsigned slice_bits, std::uint64_t capacity)
    : file_(file), what_(what), table_bits_(table_bits), slice_bits_(slice_bits), capacity_(std::max<std::uint64_t>(capacity, 8)) {}

Slice *SliceCache::recycle() {
    if (!unused_.empty()) {
        Slice *slice = unused_.back();
        unused_.pop_back();
        return slice;
    }
    if (all_.size() < capacity_)
        return nullptr;
    for (std::size_t steps = 2 * all_.size(); steps != 0; --steps) {
        Slice &slice = *all_[hand_];
        hand_ = hand_ + 1 == all_.size() ? 0 : hand_ + 1;
        if (slice.dirty || slice.pins != 0)
            continue;
        if (slice.referenced) {
            slice.referenced = false;
            continue;
        }
        index_.erase(slice.offset >> slice_bits_);
        return &slice;
    }
    return nullptr;
}

Slice *SliceCache::insert(std::uint64_t offset) {
    Slice *slice = recycle();
    if (slice == nullptr) {
        // Memory comes in blocks of 64 KiB, so that a small cache of small slices is not all malloc headers.
        const std::size_t together = std::max<std::size_t>(1, 65536 >> slice_bits_);
        memory_.push_back(std::make_unique_for_overwrite<std::uint8_t[]>(together << slice_bits_));
        for (std::size_t i = 0; i < together; ++i) {
            all_.push_back(std::make_unique<Slice>());
            all_.back()->data = memory_.back().get() + (i << slice_bits_);
            unused_.push_back(all_.back().get());
        }
        slice = unused_.back();
        unused_.pop_back();
    }
    slice->offset = offset;
    slice->referenced = true;
    std::memset(slice->data, 0, slice_size());
    index_.set(offset >> slice_bits_, slice);
    return slice;
}

Task<Result<void>> SliceCache::load(std::uint64_t offset) {
    for (Loading *loading : loading_)
        if (loading->offset == offset) {
            co_await loading->waiters.wait();
            co_return Result<void>{}; // when that one failed, ours is tried by the next look
        }
    if (find(offset) != nullptr)
        co_return Result<void>{};
    Loading loading{offset, {}};
    loading_.push_back(&loading);
    const auto buffer = std::make_unique_for_overwrite<std::uint8_t[]>(slice_size());
    const std::span<std::uint8_t> bytes(buffer.get(), slice_size());
    auto done = co_await file_.read(offset, bytes, what_);
    if (done && index_.find(offset >> slice_bits_) == nullptr && !is_fresh(table_start(offset)))
        std::memcpy(insert(offset)->data, buffer.get(), slice_size());
    std::erase(loading_, &loading);
    loading.waiters.wake_all();
    co_return done;
}

void SliceCache::forget(std::uint64_t table) {
    fresh_.erase(table);
    for (std::uint64_t at = table; at < table + table_size(); at += slice_size())
        if (Slice **found = index_.find(at >> slice_bits_)) {
            Slice *slice = *found;
            mark_clean(*slice);
            index_.erase(at >> slice_bits_);
            unused_.push_back(slice);
        }
}

void SliceCache::forget_all() {
    index_.clear();
    fresh_.clear();
    unused_.clear();
    dirty_count_ = 0;
    for (const auto &slice : all_) {
        slice->dirty = false;
        unused_.push_back(slice.get());
    }
}

std::vector<Slice *> SliceCache::dirty_slices() const {
    std::vector<Slice *> dirty;
    dirty.reserve(dirty_count_);
    if (dirty_count_ != 0)
        index_.for_each([&](std::uint64_t, Slice *slice) {
            if (slice->dirty)
                dirty.push_back(slice);
        });
    std::sort(dirty.begin(), dirty.end(), [](const Slice *a, const Slice *b) { return a->offset < b->offset; });
    return dirty;
}

std::vector<std::uint64_t> SliceCache::fresh_tables() const {
    std::vector<std::uint64_t> tables;
    fresh_.for_each([&](std::uint64_t table, bool) { tables.push_back(table); });
    std::sort(tables.begin(), tables.end());
    return tables;
}

} // namespace rhea::block::qcow2
