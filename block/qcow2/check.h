// Checking an image, and repairing it.
//
// One walk over all that the header reaches counts the references to each cluster; the stored refcounts are compared
// with that. Tables are read many at a time. With the gate closed and the caches committed; reads the file directly.
#pragma once
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "block/qcow2/image.h"
#include "rhea/block/node.h"

namespace rhea::block::qcow2 {

/// A count for each cluster; memory for clusters that are never counted is never touched.
class Counts {
public:
    bool resize(std::uint64_t clusters, bool wide) {
        wide_ = wide;
        clusters_ = clusters;
        memory_.reset(std::calloc(std::max<std::uint64_t>(clusters, 1), wide ? 4 : 2));
        return memory_ != nullptr;
    }
    std::uint64_t size() const { return clusters_; }
    std::uint64_t get(std::uint64_t cluster) const { return wide_ ? u32()[cluster] : u16()[cluster]; }
    void set(std::uint64_t cluster, std::uint64_t value) {
        if (wide_)
            u32()[cluster] = static_cast<std::uint32_t>(std::min<std::uint64_t>(value, 0xffffffff));
        else
            u16()[cluster] = static_cast<std::uint16_t>(std::min<std::uint64_t>(value, 0xffff));
    }
    /// Stays at the most that it can hold.
    void add(std::uint64_t cluster) {
        if (wide_) {
            if (u32()[cluster] != 0xffffffff)
                ++u32()[cluster];
        } else if (u16()[cluster] != 0xffff) {
            ++u16()[cluster];
        }
    }
    void subtract(std::uint64_t cluster) { set(cluster, get(cluster) - 1); }

private:
    struct Free {
        void operator()(void *memory) const { std::free(memory); }
    };
    std::uint16_t *u16() const { return static_cast<std::uint16_t *>(memory_.get()); }
    std::uint32_t *u32() const { return static_cast<std::uint32_t *>(memory_.get()); }
    std::unique_ptr<void, Free> memory_;
    std::uint64_t clusters_ = 0;
    bool wide_ = false;
};

class Checker {
public:
    Checker(Image &image, CheckFix fix) : image_(image), g_(image.geometry), fix_(fix) {}
    Task<Result<CheckResult>> run();
    /// Writes all counts anew, from references, with another width (amend).
    Task<Result<void>> change_width(unsigned refcount_order);

private:
    /// An entry of an L2 or L1 table that is to be written differently.
    struct Fix {
        std::uint64_t offset; ///< of the 8 bytes in the file
        std::uint64_t word;
    };
    /// Whoever finds one says whether repair() knows what to do about it.
    void corruption(std::string message, bool fixable) {
        add_message(std::move(message), result_.corruptions);
        unfixable_ += fixable ? 0 : 1;
    }
    void leak(std::string message) { add_message(std::move(message), result_.leaks); }
    void add_message(std::string message, std::uint64_t &counter);
    /// One reference to each cluster of [offset, offset + bytes).
    void count(std::uint64_t offset, std::uint64_t bytes, const char *what);

    // check_walk.cc
    Task<Result<void>> read_tables(const std::vector<std::uint64_t> &offsets, std::size_t first, std::size_t number, std::vector<std::uint8_t> &into);
    Task<Result<void>> load_stored();
    Task<Result<void>> walk();
    Task<Result<void>> walk_l1(std::uint64_t offset, std::uint64_t bytes, const std::vector<std::uint64_t> &l1, bool active);
    void walk_l2(std::uint64_t table, std::uint64_t l1_index, const std::uint8_t *bytes, bool active);
    void walk_entry(std::uint64_t table, std::uint64_t index, std::uint64_t guest, const L2Entry &entry, bool active);
    Task<Result<void>> walk_bitmaps();
    void walk_refcounts();
    void compare();

    // check_repair.cc
    Task<Result<void>> repair();
    Task<Result<void>> set_counts(bool raise);
    Task<Result<void>> write_fixes();
    Task<Result<void>> rebuild();

    Image &image_;
    const Geometry &g_;
    CheckFix fix_;
    CheckResult result_;
    Counts counted_, stored_;
    std::vector<Fix> copied_fixes_, entry_fixes_;
    std::vector<std::uint64_t> raise_, lower_; ///< clusters whose stored count is too low, too high
    bool needs_rebuild_ = false;
    std::uint64_t unfixable_ = 0; ///< of the corruptions
    std::uint64_t highest_ = 0, next_contiguous_ = 0;
};

} // namespace rhea::block::qcow2
