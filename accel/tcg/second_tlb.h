// The second level of a window's TLB: what the inline one has no room for. Reached by slow paths in C++ before a page walk.
//
// Direct mapped, by another hash than the first level, so that pages which displace each other there do not do it here.
// Dropping everything is a change of generation. vCPU thread only.
#pragma once
#include "rhea/core/memory.h"

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace rhea::accel {

/// What a page walk found, for a whole page of RAM.
struct PageEntry {
    std::uint64_t linear_page = 0;
    const std::uint8_t *host_page = nullptr;
    core::RamBlock *block = nullptr;
    std::uint64_t offset = 0;      ///< of the page in `block`
    std::uint64_t page_size = 4096;
    std::uint32_t generation = 0;  ///< SecondTlb's
    bool read = false, write = false, execute = false, readonly = false, global = false;
};

class SecondTlb {
public:
    static constexpr unsigned kEntries = 4096;

    /// Null when the page is not known.
    const PageEntry *find(std::uint64_t linear_page) const {
        if (!entries_)
            return nullptr;
        const PageEntry &entry = entries_[index(linear_page)];
        return entry.linear_page == linear_page && entry.generation == (entry.global ? global_ : local_) ? &entry : nullptr;
    }
    void insert(PageEntry entry) {
        if (!entries_)
            entries_.reset(static_cast<PageEntry *>(std::calloc(kEntries, sizeof(PageEntry))));
        if (!entries_)
            return;
        entry.generation = entry.global ? global_ : local_;
        entries_[index(entry.linear_page)] = entry;
    }
    void drop(std::uint64_t linear_page) {
        if (entries_)
            entries_[index(linear_page)].generation = 0;
    }
    void drop_all(bool keep_global) {
        // A generation is never used again before every entry has been: at 2^32 drops forget the entries themselves.
        if (++local_ == 0 || (!keep_global && ++global_ == 0)) {
            entries_.reset();
            local_ = global_ = 1;
        }
    }

private:
    struct Free {
        void operator()(PageEntry *entries) const { std::free(entries); }
    };
    static unsigned index(std::uint64_t linear_page) {
        const std::uint64_t page = linear_page >> 12;
        return static_cast<unsigned>((page ^ page >> 10 ^ page >> 20) % kEntries);
    }
    std::unique_ptr<PageEntry[], Free> entries_; ///< zero pages until used
    std::uint32_t local_ = 1, global_ = 1;
};

} // namespace rhea::accel
