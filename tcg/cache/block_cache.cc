#include "rhea/tcg/block_cache.h"

#include "rhea/core/types.h"

#include <algorithm>
#include <memory>
#include <new>

namespace rhea::tcg {
namespace {

constexpr std::size_t kInitialBuckets = 1u << 12;

std::size_t hash(std::uint64_t ram_addr, std::uint32_t mode) {
    std::uint64_t h = (ram_addr ^ (static_cast<std::uint64_t>(mode) << 40)) * 0x9e3779b97f4a7c15ull;
    return static_cast<std::size_t>(h >> 24);
}

constexpr unsigned kAddressBits = 46; ///< of RAM addresses, which number the bytes of RAM

/// What a bucket is found by.
std::uint64_t key_of(std::uint64_t ram_addr, std::uint32_t mode) {
    const std::uint32_t mixed = (mode ^ mode >> 16 ^ mode >> 8) & ((1u << (63 - kAddressBits)) - 1);
    return ram_addr | std::uint64_t{mixed} << kAddressBits;
}

std::uint64_t page_of(std::uint64_t ram_addr) { return ram_addr & core::kPageMask; }

/// The block's byte ranges: one, or two when it crosses a page.
struct Extent {
    std::uint64_t first, first_length, second, second_length;
};

Extent extent_of(const TranslationBlock &block) {
    const std::uint64_t in_page = core::kPageSize - (block.ram_addr & ~core::kPageMask);
    if (block.byte_length <= in_page)
        return {block.ram_addr, block.byte_length, 0, 0};
    return {block.ram_addr, in_page, block.ram_addr2, block.byte_length - in_page};
}

bool intersects(std::uint64_t a, std::uint64_t a_length, std::uint64_t b, std::uint64_t b_length) {
    return a < b + b_length && b < a + a_length;
}

/// Are those of the bytes that belong to the block's first page all in one field, which it reads as it runs?
bool only_a_field(const TranslationBlock &block, const Extent &extent, std::uint64_t ram_addr, std::uint64_t length) {
    const std::uint64_t begin = std::max(ram_addr, extent.first);
    const std::uint64_t end = std::min(ram_addr + length, extent.first + extent.first_length);
    for (const ir::CodeField &field : block.fields()) {
        const std::uint64_t at = page_of(extent.first) + field.page_offset;
        if (begin >= at && end <= at + field.length)
            return true;
    }
    return false;
}

constexpr unsigned kHostPartBits = 14; ///< of code addresses: blocks that begin in one part are in one list
constexpr unsigned kMostHostParts = 8; ///< that a block may reach over
std::uint64_t host_part(const std::uint8_t *pc) { return reinterpret_cast<std::uintptr_t>(pc) >> kHostPartBits; }

std::uint64_t granule_mask(std::uint64_t ram_addr, std::uint64_t length) {
    if (length == 0)
        return 0;
    const unsigned first = static_cast<unsigned>((ram_addr & ~core::kPageMask) >> 6);
    const std::uint64_t last_byte = std::min<std::uint64_t>((ram_addr & ~core::kPageMask) + length - 1, core::kPageSize - 1);
    const unsigned last = static_cast<unsigned>(last_byte >> 6);
    const std::uint64_t up_to_last = last == 63 ? ~0ull : (1ull << (last + 1)) - 1;
    return up_to_last & ~((1ull << first) - 1);
}

} // namespace

std::unique_ptr<TranslationBlock> TranslationBlock::make(std::span<const ExitSlot> exits, std::span<const std::uint8_t> side_table,
                                                         std::span<const ir::CodeField> fields) {
    static_assert(sizeof(TranslationBlock) % alignof(ExitSlot) == 0 && alignof(ExitSlot) % alignof(ir::CodeField) == 0);
    auto *const memory = static_cast<std::uint8_t *>(
        ::operator new(sizeof(TranslationBlock) + exits.size_bytes() + fields.size_bytes() + side_table.size()));
    std::unique_ptr<TranslationBlock> block(new (memory) TranslationBlock);
    auto *const slots = reinterpret_cast<ExitSlot *>(memory + sizeof(TranslationBlock));
    std::uninitialized_copy(exits.begin(), exits.end(), slots);
    auto *const places = reinterpret_cast<ir::CodeField *>(slots + exits.size());
    std::uninitialized_copy(fields.begin(), fields.end(), places);
    auto *const table = reinterpret_cast<std::uint8_t *>(places + fields.size());
    std::uninitialized_copy(side_table.begin(), side_table.end(), table);
    block->exits = {slots, exits.size()};
    block->field_count = static_cast<std::uint16_t>(fields.size());
    block->side_table = {table, side_table.size()};
    for (ExitSlot &exit : block->exits)
        exit.source = block.get();
    return block;
}

BlockCache::BlockCache(CodeGenerator *generator) : generator_(generator) { new_table(kInitialBuckets); }

BlockCache::~BlockCache() {
    for (Bucket &bucket : tables_.back()->bucket)
        delete bucket.block.load(std::memory_order_relaxed);
}

/// The bucket that has the block, or one where it can be.
const BlockCache::Bucket &BlockCache::slot_for(const Table &table, std::uint64_t ram_addr, std::uint32_t mode) {
    const std::size_t mask = table.size() - 1;
    const std::uint64_t key = key_of(ram_addr, mode);
    const Bucket *dropped = nullptr; // may be another mode's
    for (std::size_t i = hash(ram_addr, mode) & mask;; i = (i + 1) & mask) {
        const Bucket &bucket = table.bucket[i];
        const std::uint64_t found = bucket.key.load(std::memory_order_acquire);
        if (found == kEmpty)
            return dropped ? *dropped : bucket;
        if (found != key)
            continue;
        const TranslationBlock *const block = bucket.block.load(std::memory_order_acquire);
        if (block && block->mode == mode)
            return bucket;
        if (!block && !dropped)
            dropped = &bucket;
    }
}

TranslationBlock *BlockCache::find(std::uint64_t ram_addr, std::uint32_t mode) const {
    const Table &table = *table_.load(std::memory_order_acquire);
    const std::size_t mask = table.size() - 1;
    const std::uint64_t key = key_of(ram_addr, mode);
    for (std::size_t i = hash(ram_addr, mode) & mask;; i = (i + 1) & mask) {
        const Bucket &bucket = table.bucket[i];
        const std::uint64_t found = bucket.key.load(std::memory_order_acquire);
        if (found == key) {
            TranslationBlock *const block = bucket.block.load(std::memory_order_acquire);
            if (block && block->mode == mode)
                return block;
        } else if (found == kEmpty) {
            return nullptr; // its block may be set by now, for another key
        }
    }
}

void BlockCache::new_table(std::size_t buckets) {
    auto fresh = std::make_unique<Table>(buckets);
    used_ = 0;
    if (!tables_.empty()) {
        for (const Bucket &old : tables_.back()->bucket) {
            TranslationBlock *const block = old.block.load(std::memory_order_relaxed);
            if (!block)
                continue;
            auto &bucket = const_cast<Bucket &>(slot_for(*fresh, block->ram_addr, block->mode));
            bucket.block.store(block, std::memory_order_relaxed);
            bucket.key.store(key_of(block->ram_addr, block->mode), std::memory_order_relaxed);
            ++used_;
        }
        ++garbage_;
    }
    tables_.push_back(std::move(fresh));
    table_.store(tables_.back().get(), std::memory_order_release);
}

void BlockCache::grow() {
    const std::size_t size = tables_.back()->size();
    new_table(std::max(kInitialBuckets, live_ * 4 > size ? size * 2 : size));
}

void BlockCache::retire(TranslationBlock *block) {
    retired_.emplace_back(block);
    garbage_.fetch_add(1, std::memory_order_relaxed);
}

void BlockCache::collect_garbage() {
    retired_.clear();
    tables_.erase(tables_.begin(), tables_.end() - 1);
    garbage_.store(0, std::memory_order_relaxed);
}

TranslationBlock *BlockCache::insert(std::unique_ptr<TranslationBlock> owned) {
    TranslationBlock *block = owned.release();
    if (used_ * 2 >= tables_.back()->size())
        grow();
    Bucket &bucket = slot_for(block->ram_addr, block->mode);
    if (TranslationBlock *former = bucket.block.load(std::memory_order_relaxed))
        kill(former, [](std::uint64_t) {});
    const bool is_new = bucket.key.load(std::memory_order_relaxed) == kEmpty;
    used_ += is_new;
    bucket.block.store(block, std::memory_order_release);
    if (is_new)
        bucket.key.store(key_of(block->ram_addr, block->mode), std::memory_order_release);
    ++live_;
    if (block->entry)
        add_by_host(block);
    const Extent extent = extent_of(*block);
    add_to_page(page_of(extent.first), block);
    pages_[page_of(extent.first)].granules |= granule_mask(extent.first, extent.first_length);
    if (extent.second_length) {
        add_to_page(page_of(extent.second), block);
        pages_[page_of(extent.second)].granules |= granule_mask(extent.second, extent.second_length);
    }
    return block;
}

void BlockCache::add_by_host(TranslationBlock *block) {
    auto &part = by_host_[host_part(block->entry)];
    if (part.empty() || part.back()->entry < block->entry) {
        part.push_back(block);
        return;
    }
    part.insert(std::upper_bound(part.begin(), part.end(), block->entry,
                                 [](const std::uint8_t *pc, const TranslationBlock *b) { return pc < b->entry; }),
                block);
}

void BlockCache::remove_by_host(TranslationBlock *block) {
    const auto it = by_host_.find(host_part(block->entry));
    if (it == by_host_.end())
        return;
    auto &part = it->second;
    const auto at = std::lower_bound(part.begin(), part.end(), block->entry,
                                     [](const TranslationBlock *b, const std::uint8_t *pc) { return b->entry < pc; });
    if (at != part.end() && *at == block)
        part.erase(at);
    if (part.empty())
        by_host_.erase(it);
}

bool BlockCache::pin(std::uint64_t page) {
    PageBlocks &entry = pages_[page];
    ++entry.pins;
    return entry.settled;
}

void BlockCache::unpin(std::uint64_t page, const PageEmptied &page_emptied) {
    auto it = pages_.find(page);
    if (it == pages_.end() || --it->second.pins != 0 || !it->second.blocks.empty())
        return;
    pages_.erase(it);
    page_emptied(page);
}

void BlockCache::add_to_page(std::uint64_t page, TranslationBlock *block) { pages_[page].blocks.push_back(block); }

void BlockCache::remove_from_page(std::uint64_t page, TranslationBlock *block,
                                  const PageEmptied &page_emptied) {
    auto it = pages_.find(page);
    if (it == pages_.end())
        return;
    PageBlocks &entry = it->second;
    std::erase(entry.blocks, block);
    if (entry.blocks.empty() && entry.pins == 0) {
        pages_.erase(it);
        page_emptied(page);
        return;
    }
    entry.granules = 0;
    for (const TranslationBlock *other : entry.blocks) {
        const Extent extent = extent_of(*other);
        if (page_of(extent.first) == page)
            entry.granules |= granule_mask(extent.first, extent.first_length);
        if (extent.second_length && page_of(extent.second) == page)
            entry.granules |= granule_mask(extent.second, extent.second_length);
    }
}

void BlockCache::chain(ExitSlot &slot, TranslationBlock &target) {
    if (slot.target || !slot.source || !slot.source->valid || !target.valid || !target.entry)
        return;
    slot.target = &target;
    slot.next_to_target = target.incoming;
    target.incoming = &slot;
    generator_->patch_exit(*slot.source, slot, target.entry);
}

void BlockCache::unlink(TranslationBlock *block) {
    for (ExitSlot *slot = block->incoming; slot;) {
        ExitSlot *next = slot->next_to_target;
        slot->target = nullptr;
        slot->next_to_target = nullptr;
        generator_->patch_exit(*slot->source, *slot, nullptr);
        slot = next;
    }
    block->incoming = nullptr;
    for (ExitSlot &exit : block->exits) {
        if (!exit.target)
            continue;
        for (ExitSlot **at = &exit.target->incoming; *at; at = &(*at)->next_to_target) {
            if (*at == &exit) {
                *at = exit.next_to_target;
                break;
            }
        }
        exit.target = nullptr;
    }
}

void BlockCache::kill(TranslationBlock *block, const PageEmptied &page_emptied) {
    block->valid = false;
    unlink(block);
    slot_for(block->ram_addr, block->mode).block.store(nullptr, std::memory_order_release);
    --live_;
    ++invalidated_;
    if (block->entry) {
        generator_->retire(*block);
        remove_by_host(block);
    }
    const Extent extent = extent_of(*block);
    remove_from_page(page_of(extent.first), block, page_emptied);
    if (extent.second_length)
        remove_from_page(page_of(extent.second), block, page_emptied);
    retire(block);
}

/// The block of this part that begins last of those that begin at or before pc.
TranslationBlock *BlockCache::last_before(std::uint64_t part, const std::uint8_t *pc) const {
    const auto it = by_host_.find(part);
    if (it == by_host_.end())
        return nullptr;
    const auto at = std::upper_bound(it->second.begin(), it->second.end(), pc,
                                     [](const std::uint8_t *p, const TranslationBlock *b) { return p < b->entry; });
    return at == it->second.begin() ? nullptr : *std::prev(at);
}

TranslationBlock *BlockCache::find_by_host_pc(std::uint64_t host_pc) const {
    const auto *pc = reinterpret_cast<const std::uint8_t *>(host_pc);
    TranslationBlock *block = nullptr;
    for (unsigned back = 0; back <= kMostHostParts && !block; ++back)
        block = last_before(host_part(pc) - back, pc);
    if (block && pc <= block->entry + block->code_size)
        return block;
    // The block may have been invalidated by the very access that asks.
    for (const auto &dead : retired_) {
        if (dead->entry && pc > dead->entry && pc <= dead->entry + dead->code_size)
            return dead.get();
    }
    return nullptr;
}

std::uint64_t BlockCache::granules(std::uint64_t ram_addr) const {
    const auto it = pages_.find(page_of(ram_addr));
    return it == pages_.end() ? 0 : it->second.granules;
}

bool BlockCache::touches_code(std::uint64_t ram_addr, std::size_t length) const {
    while (length) {
        const std::uint64_t in_page = std::min<std::uint64_t>(length, core::kPageSize - (ram_addr & ~core::kPageMask));
        auto it = pages_.find(page_of(ram_addr));
        if (it != pages_.end() && (it->second.granules & granule_mask(ram_addr, in_page)))
            return true;
        ram_addr += in_page;
        length -= in_page;
    }
    return false;
}

bool BlockCache::overlaps(const TranslationBlock &block, std::uint64_t ram_addr, std::size_t length) {
    const Extent extent = extent_of(block);
    return (intersects(extent.first, extent.first_length, ram_addr, length) &&
            !(block.field_count != 0 && only_a_field(block, extent, ram_addr, length))) ||
           (extent.second_length && intersects(extent.second, extent.second_length, ram_addr, length));
}

unsigned BlockCache::invalidate(std::uint64_t ram_addr, std::size_t length,
                                const PageEmptied &page_emptied) {
    unsigned count = 0;
    std::vector<TranslationBlock *> doomed;
    for (std::uint64_t page = page_of(ram_addr); page < ram_addr + length; page += core::kPageSize) {
        auto it = pages_.find(page);
        if (it == pages_.end())
            continue;
        doomed.clear();
        for (TranslationBlock *block : it->second.blocks) {
            if (overlaps(*block, ram_addr, length))
                doomed.push_back(block);
        }
        for (TranslationBlock *block : doomed)
            kill(block, page_emptied);
        count += static_cast<unsigned>(doomed.size());
    }
    return count;
}

unsigned BlockCache::drop_code(const std::uint8_t *begin, std::size_t size, const PageEmptied &page_emptied) {
    const std::uint8_t *const end = begin + size;
    std::vector<TranslationBlock *> doomed;
    for (std::uint64_t part = host_part(begin); part <= host_part(end - 1); ++part) {
        const auto it = by_host_.find(part);
        if (it == by_host_.end())
            continue;
        for (TranslationBlock *block : it->second) {
            if (block->entry >= begin && block->entry < end)
                doomed.push_back(block);
        }
    }
    for (TranslationBlock *block : doomed)
        kill(block, page_emptied);
    return static_cast<unsigned>(doomed.size());
}

void BlockCache::clear(const PageEmptied &page_emptied) {
    for (auto it = pages_.begin(); it != pages_.end();) {
        it->second.blocks.clear();
        it->second.granules = 0;
        if (it->second.pins != 0) {
            ++it;
            continue;
        }
        page_emptied(it->first);
        it = pages_.erase(it);
    }
    by_host_.clear();
    for (Bucket &bucket : tables_.back()->bucket) {
        TranslationBlock *const block = bucket.block.exchange(nullptr, std::memory_order_relaxed);
        if (!block)
            continue;
        block->valid = false;
        block->incoming = nullptr;
        retire(block);
    }
    live_ = 0;
    new_table(kInitialBuckets);
}

} // namespace rhea::tcg
