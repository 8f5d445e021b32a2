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
    bool whole_large = false;      ///< SecondTlb::kLargeSize around it is one page in one piece of RAM
};

class SecondTlb {
public:
    static constexpr unsigned kEntries = 4096, kLargeEntries = 128;
    static constexpr std::uint64_t kLargeSize = 2u << 20; ///< what larger pages are cut into

    /// False when the page is not known.
    bool find(std::uint64_t linear_page, PageEntry &out) const {
        if (!entries_)
            return false;
        if (const PageEntry &entry = entries_[index(linear_page)]; matches(entry, linear_page)) {
            out = entry;
            return true;
        }
        const std::uint64_t within = linear_page & (kLargeSize - 1);
        const PageEntry &large = entries_[large_index(linear_page)];
        if (!matches(large, linear_page - within))
            return false;
        out = large;
        out.linear_page += within;
        out.host_page += within;
        out.offset += within;
        return true;
    }
    /// `whole_large`: the 2 MiB around it are mapped and backed alike.
    void insert(PageEntry entry, bool whole_large) {
        if (!entries_)
            entries_.reset(static_cast<PageEntry *>(std::calloc(kEntries + kLargeEntries, sizeof(PageEntry))));
        if (!entries_)
            return;
        entry.generation = entry.global ? global_ : local_;
        if (!whole_large) {
            entries_[index(entry.linear_page)] = entry;
            return;
        }
        const std::uint64_t within = entry.linear_page & (kLargeSize - 1);
        entry.linear_page -= within;
        entry.host_page -= within;
        entry.offset -= within;
        entries_[large_index(entry.linear_page)] = entry;
    }
    /// One small page: who drops a part of a large one drops everything.
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
    bool matches(const PageEntry &entry, std::uint64_t linear_page) const {
        return entry.linear_page == linear_page && entry.generation == (entry.global ? global_ : local_);
    }
    static unsigned index(std::uint64_t linear_page) {
        const std::uint64_t page = linear_page >> 12;
        return static_cast<unsigned>((page ^ page >> 10 ^ page >> 20) % kEntries);
    }
    static unsigned large_index(std::uint64_t linear_page) {
        return kEntries + static_cast<unsigned>((linear_page >> 21) % kLargeEntries);
    }
    std::unique_ptr<PageEntry[], Free> entries_; ///< zero pages until used
    std::uint32_t local_ = 1, global_ = 1;
};

} // namespace rhea::accel
