// A cache of slices of metadata tables (L2 tables or refcount blocks), keyed by their offset in the file.
//
// Look-up (find) is synchronous and cheap; only a miss suspends (load). Whoever changes a slice marks it dirty; dirty
// slices stay until a commit (commit.cc) has written them, so nothing here decides about write order. A table that was
// made since the last commit is "fresh": nothing on disk names it yet, its slices are zeroes without being read,
// and the commit writes it whole.
//
// Memory grows with need up to `capacity` slices. Beyond it the least recently used clean slice is reused; when
// all are dirty or pinned the cache grows, and wants_commit() asks the writers for a commit.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "block/qcow2/flat_map.h"
#include "block/qcow2/host_file.h"
#include "rhea/block/co_sync.h"

namespace rhea::block::qcow2 {

struct Slice {
    std::uint64_t offset = 0;       ///< in the file
    std::uint8_t *data = nullptr;
    bool dirty = false;
    bool referenced = false;        ///< second chance of the clock
    unsigned pins = 0;              ///< a commit is writing it
};

class SliceCache {
public:
    SliceCache(HostFile &file, const char *what, unsigned table_bits, unsigned slice_bits, std::uint64_t capacity);

    std::uint64_t slice_size() const { return 1ull << slice_bits_; }
    std::uint64_t table_size() const { return 1ull << table_bits_; }
    std::uint64_t slice_start(std::uint64_t offset) const { return offset & ~(slice_size() - 1); }
    std::uint64_t table_start(std::uint64_t offset) const { return offset & ~(table_size() - 1); }

    /// The slice that starts at `offset` when it is here (or fresh), else null: load() it and look again.
    Slice *find(std::uint64_t offset) {
        Slice **found = index_.find(offset >> slice_bits_);
        if (found == nullptr)
            return fresh_.size() != 0 && fresh_.contains(table_start(offset)) ? insert(offset) : nullptr;
        (*found)->referenced = true;
        return *found;
    }
    Task<Result<void>> load(std::uint64_t offset);
    void mark_dirty(Slice &slice) {
        if (!slice.dirty) {
            slice.dirty = true;
            ++dirty_count_;
        }
    }
    void mark_clean(Slice &slice) {
        if (slice.dirty) {
            slice.dirty = false;
            --dirty_count_;
        }
    }

    /// A new table at `offset`, all zero.
    void make_fresh(std::uint64_t offset) {
        forget(offset);
        fresh_.set(offset, true);
    }
    bool is_fresh(std::uint64_t table) const { return fresh_.contains(table); }
    /// Forgets the table's slices: its cluster is free or gets other contents.
    void forget(std::uint64_t table);
    void forget_all();

    bool wants_commit() const { return dirty_count_ + fresh_.size() > capacity_ - capacity_ / 4; }
    std::uint64_t dirty_count() const { return dirty_count_; }
    std::uint64_t capacity() const { return capacity_; }
    std::uint64_t resident() const { return all_.size(); }
    bool clean() const { return dirty_count_ == 0 && fresh_.size() == 0; }

    // ---- what a commit takes ------------------------------------------------------------------------------------
    std::vector<Slice *> dirty_slices() const; ///< in file order
    std::vector<std::uint64_t> fresh_tables() const;
    void clear_fresh(std::uint64_t table) { fresh_.erase(table); }

private:
    struct Loading {
        std::uint64_t offset;
        CoQueue waiters;
    };
    Slice *insert(std::uint64_t offset);
    Slice *recycle();

    HostFile &file_;
    const char *what_;
    unsigned table_bits_, slice_bits_;
    std::uint64_t capacity_, dirty_count_ = 0;
    FlatMap<Slice *> index_;
    FlatMap<bool> fresh_;
    std::vector<std::unique_ptr<Slice>> all_;
    std::vector<std::unique_ptr<std::uint8_t[]>> memory_;
    std::vector<Slice *> unused_;
    std::vector<Loading *> loading_;
    std::size_t hand_ = 0; ///< of the clock
};

} // namespace rhea::block::qcow2
