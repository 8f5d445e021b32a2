// Translated blocks by physical identity: lookup, chaining, invalidation.
//
// A block is found by (ram_addr of its first byte, mode word). Every RAM page with blocks has a PageBlocks entry with a
// bitmap of 64-byte granules that hold translated bytes: a store to a page with code invalidates only the blocks whose
// bytes it touches.
//
// Threading: find() from any thread at any time, without a lock; everything else by one thread at a time (the owner's lock). What is
// dropped stays readable, and its code runnable up to its next way out, until collect_garbage().
#pragma once
#include "rhea/tcg/backend.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

namespace rhea::tcg {

class BlockCache {
public:
    /// Called with the ram_addr of each page that has no blocks left.
    using PageEmptied = std::function<void(std::uint64_t page)>;

    explicit BlockCache(CodeGenerator *generator);
    ~BlockCache();
    BlockCache(const BlockCache &) = delete;
    BlockCache &operator=(const BlockCache &) = delete;

    TranslationBlock *find(std::uint64_t ram_addr, std::uint32_t mode) const;

    /// Takes over a finished block and makes it visible; replaces one with the same key.
    TranslationBlock *insert(std::unique_ptr<TranslationBlock> block);

    /// Chains `slot` of one block to the entry of `target`.
    void chain(ExitSlot &slot, TranslationBlock &target);

    /// The block whose host code holds `host_pc`, or null. Also finds blocks that were invalidated since the last
    /// collect_garbage(): the running one may be among them.
    TranslationBlock *find_by_host_pc(std::uint64_t host_pc) const;

    /// The 64-byte granules of the page that hold translated bytes, as bits.
    std::uint64_t granules(std::uint64_t ram_addr) const;
    /// Does [ram_addr, ram_addr + length) touch a 64-byte granule with translated bytes?
    bool touches_code(std::uint64_t ram_addr, std::size_t length) const;
    /// Does it touch a byte of `block` but for those of one field (TranslationBlock::fields)?
    static bool overlaps(const TranslationBlock &block, std::uint64_t ram_addr, std::size_t length);

    /// Drops the blocks that overlaps() says of; returns how many.
    unsigned invalidate(std::uint64_t ram_addr, std::size_t length, const PageEmptied &page_emptied);
    /// Drops the blocks whose host code begins in [begin, begin + size); returns how many.
    unsigned drop_code(const std::uint8_t *begin, std::size_t size, const PageEmptied &page_emptied);
    /// Drops everything (the code memory is being thrown away).
    void clear(const PageEmptied &page_emptied);
    /// Frees what was dropped since the last call; only when no vCPU is inside generated code, or uses a block.
    void collect_garbage();
    bool has_garbage() const { return garbage() != 0; }
    /// Blocks that collect_garbage() would free. Any thread.
    std::size_t garbage() const { return garbage_.load(std::memory_order_relaxed); }

    // A page that a block is being made of stays marked (is not reported as emptied) while it is pinned.

    /// False: nobody has said settle() since the page was last emptied.
    bool pin(std::uint64_t page);
    void unpin(std::uint64_t page, const PageEmptied &page_emptied);
    /// Nobody can store to the pinned page unnoticed any more.
    void settle(std::uint64_t page) { pages_[page].settled = true; }

    std::size_t size() const { return live_; }
    std::uint64_t invalidated() const { return invalidated_; }

private:
    struct PageBlocks {
        std::uint64_t granules = 0;
        std::vector<TranslationBlock *> blocks;
        unsigned pins = 0;
        bool settled = false;
    };
    /// Its key never changes once it is set. It has all of the address and some bits of the mode: whether a block is the one that is
    /// looked for, the block itself says. Null: it was dropped.
    struct Bucket {
        std::atomic<std::uint64_t> key{kEmpty};
        std::atomic<TranslationBlock *> block{nullptr};
    };
    static constexpr std::uint64_t kEmpty = ~0ull;
    struct Table {
        explicit Table(std::size_t buckets) : bucket(buckets) {}
        std::size_t size() const { return bucket.size(); }
        std::vector<Bucket> bucket;
    };
    static const Bucket &slot_for(const Table &table, std::uint64_t ram_addr, std::uint32_t mode);
    Bucket &slot_for(std::uint64_t ram_addr, std::uint32_t mode) {
        return const_cast<Bucket &>(slot_for(*tables_.back(), ram_addr, mode));
    }
    void new_table(std::size_t buckets);
    void retire(TranslationBlock *block);
    void grow();
    void add_to_page(std::uint64_t page, TranslationBlock *block);
    void remove_from_page(std::uint64_t page, TranslationBlock *block, const PageEmptied &page_emptied);
    void kill(TranslationBlock *block, const PageEmptied &page_emptied);
    void unlink(TranslationBlock *block);
    void add_by_host(TranslationBlock *block);
    void remove_by_host(TranslationBlock *block);
    TranslationBlock *last_before(std::uint64_t part, const std::uint8_t *pc) const;

    CodeGenerator *generator_;
    std::vector<std::unique_ptr<Table>> tables_; ///< open addressing, power of two; the last one counts, readers may be in the others
    std::atomic<const Table *> table_{nullptr};
    std::size_t used_ = 0;      ///< buckets ever filled
    std::size_t live_ = 0;
    std::uint64_t invalidated_ = 0;
    std::unordered_map<std::uint64_t, PageBlocks> pages_;
    /// By parts of the address space, in order of code address.
    std::unordered_map<std::uint64_t, std::vector<TranslationBlock *>> by_host_;
    std::vector<std::unique_ptr<TranslationBlock>> retired_;
    std::atomic<std::size_t> garbage_{0};
};

} // namespace rhea::tcg
