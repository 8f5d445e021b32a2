// Loads, stores and jumps that missed their inline check: page walk, TLB fill, device access, page-crossing pieces,
// stores into translated code.
#include "accel/tcg/slow_paths.h"

#include "accel/tcg/lockstep.h"
#include "rhea/core/page_writers.h"
#include "rhea/util/log.h"

#include <bit>
#include <cstring>

namespace rhea::accel {

using namespace tcg;

namespace {
thread_local TcgVcpu *t_current = nullptr;

constexpr unsigned kLoadIntent = kMemWriteIntent;
} // namespace

TcgVcpu *SlowPaths::current() { return t_current; }
SlowPaths::Scope::Scope(TcgVcpu &vcpu) : previous(t_current) { t_current = &vcpu; }
SlowPaths::Scope::~Scope() { t_current = previous; }

MemoryCallbacks SlowPaths::callbacks() {
    return MemoryCallbacks{
        .load = [](void *, std::uint64_t address, unsigned size, unsigned flags,
                   void *data) { t_current->slow_load(address, size, flags, data); },
        .store = [](void *, std::uint64_t address, unsigned size, unsigned flags,
                    const void *data) { t_current->slow_store(address, size, flags, data); },
        .probe_write = [](void *, std::uint64_t address, unsigned size,
                          unsigned flags) { return t_current->probe_write(address, size, flags); },
        .touch = [](void *, std::uint64_t address, unsigned size) { t_current->may_access(address, size, false); },
        .find_block = [](void *, std::uint64_t pc) { return t_current->find_block(pc); },
        .deliver = [](void *) { return t_current->deliver_quickly(); },
    };
}

/// Slow paths run with the guest's x87 state in the host's x87 (tcg::X87Guest). They stay within this module and page walks, none of
/// which has floating point; what goes further, into devices, the block cache or the log, comes here first.
void TcgVcpu::release_x87() {
    if (const X87Guest *x87 = frontend_->description().x87)
        x87->release(head_);
}

core::RamBlock *TcgVcpu::ram_block_of(const std::uint8_t *host, std::uint64_t *offset) const {
    for (core::RamBlock *block : space_->ram_blocks()) {
        const auto distance = static_cast<std::uint64_t>(host - block->host());
        if (distance < block->size()) {
            *offset = distance;
            return block;
        }
    }
    return nullptr;
}

TcgVcpu::DataPage TcgVcpu::data_page(std::uint64_t linear, Access access) {
    DataPage page;
    const bool recording = lockstep_ && lockstep_->recording();
    if (!recording && known_page(linear, access, page))
        return page;
    if (!frontend_->canonical(linear)) {
        frontend_->raise_not_canonical(linear);
        page.fault = true;
        return page;
    }
    Translation translation;
    const unsigned mode = frontend_->mode() & kWindowModeMask;
    if (!frontend_->walk(linear, access, mode, true, translation)) {
        page.fault = true;
        return page;
    }
    page.physical = translation.physical;
    const core::FlatRange *range = memory_.view().find(translation.physical);
    if (!range || !range->host)
        return page;
    page.host = range->host + (translation.physical - range->start);
    page.readonly = range->readonly;
    std::uint64_t offset = 0;
    page.block = ram_block_of(page.host, &offset);
    const core::hwaddr page_start = translation.physical & core::kPageMask;
    // The whole page must be one kind of memory, else every access takes this path.
    if (!page.block || page_start < range->start || page_start + core::kPageSize - range->start > range->size)
        return page;
    const std::uint8_t *host_page = page.host - (linear & ~core::kPageMask);
    if ((reinterpret_cast<std::uint64_t>(host_page) & ~core::kPageMask) != 0 || recording)
        return page;
    fill_tlb(page_entry(linear, translation, host_page, *page.block, offset, *range));
    return page;
}

/// What the TLBs know, without a walk.
bool TcgVcpu::known_page(std::uint64_t linear, Access access, DataPage &page) {
    if (const std::uint8_t *host = tlb_->lookup(linear, access)) {
        page.host = const_cast<std::uint8_t *>(host);
        page.free_of_code = access == Access::kWrite; // else code could not store to it
        return true;
    }
    PageEntry entry;
    if (!tlb_->lookup_second(linear, entry) || !(access == Access::kWrite ? entry.write : entry.read))
        return false;
    page.host = const_cast<std::uint8_t *>(entry.host_page) + (linear & ~core::kPageMask);
    page.block = entry.block;
    fill_tlb(entry);
    return true;
}

PageEntry TcgVcpu::page_entry(std::uint64_t linear, const Translation &translation, const std::uint8_t *host_page,
                              core::RamBlock &block, std::uint64_t offset, const core::FlatRange &range) {
    const std::uint64_t large_start = translation.physical & ~(SecondTlb::kLargeSize - 1);
    return {.linear_page = linear & core::kPageMask,
            .host_page = host_page,
            .block = &block,
            .offset = offset & core::kPageMask,
            .page_size = translation.page_size,
            .read = translation.readable,
            .write = translation.writable && !range.readonly,
            .execute = translation.executable,
            .global = translation.global,
            .whole_large = translation.linear && translation.page_size >= SecondTlb::kLargeSize && large_start >= range.start &&
                           large_start + SecondTlb::kLargeSize - range.start <= range.size};
}

void TcgVcpu::watching(bool some) {
    watching_ = some;
    tlb_->flush_all(false);
}

bool TcgVcpu::may_access(std::uint64_t address, unsigned size, bool write) {
    return !watching_ || !(frontend_->watched_page(address) || frontend_->watched_page(frontend_->wrap(address + size - 1))) ||
           frontend_->access_watched(address, size, write);
}

void TcgVcpu::fill_tlb(const PageEntry &entry) {
    if (watching_ && frontend_->watched_page(entry.linear_page))
        return;
    const bool write = entry.write && core::claim_page(*entry.block, entry.offset, index());
    tlb_->fill(entry, write, write && !stored_pages_.set(*entry.block, entry.offset, tlb_index(entry.linear_page)));
}

bool TcgVcpu::has_code(const CodeWrite &known) {
    const auto offset = static_cast<std::uint64_t>(known.host_page - known.block->host());
    return known.block->page_flags(offset).load(std::memory_order_acquire) & core::RamBlock::kPageHasCode;
}

/// The page when a store to it was walked for lately; else with no host pointer.
TcgVcpu::DataPage TcgVcpu::code_write_page(std::uint64_t address) {
    DataPage page;
    const CodeWrite &known = code_writes_[(address >> core::kPageBits) % code_writes_.size()];
    if (known.linear_page == (address & core::kPageMask) && known.window == cold_->window &&
        known.generation == tlb_->generation() && !lockstep_ && has_code(known)) {
        page.host = known.host_page + (address & ~core::kPageMask);
        page.block = known.block;
    }
    return page;
}

void TcgVcpu::note_code_write(std::uint64_t address, const DataPage &page) {
    if (!page.host || page.readonly || !page.block)
        return;
    CodeWrite &known = code_writes_[(address >> core::kPageBits) % code_writes_.size()];
    known = {address & core::kPageMask, cold_->window, tlb_->generation(), page.host - (address & ~core::kPageMask), page.block};
    if (!has_code(known))
        known.linear_page = ~0ull; // the TLB has it
}

void TcgVcpu::load_piece(const DataPage &page, unsigned size, std::uint8_t *data) {
    if (page.host) {
        if (size == 8 && (reinterpret_cast<std::uint64_t>(page.host) & 7) == 0) {
            const std::uint64_t value = std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t *>(page.host)).load(std::memory_order_relaxed);
            std::memcpy(data, &value, 8);
        } else {
            std::memcpy(data, page.host, size);
        }
        return;
    }
    if (lockstep_ && lockstep_->recording()) {
        lockstep_->give_up(); // a device may not be read twice
        return;
    }
    TcgCounters::bump(counters_.mmio);
    release_x87();
    for (unsigned done = 0; done < size;) {
        const unsigned piece = std::min(8u, std::bit_floor(size - done));
        const std::uint64_t value = memory_.load(page.physical + done, piece);
        std::memcpy(data + done, &value, piece);
        done += piece;
    }
}

bool TcgVcpu::may_have_code(const DataPage &page) const {
    if (page.free_of_code || !page.is_ram())
        return false;
    std::uint64_t offset = 0;
    core::RamBlock *block = page.block ? page.block : ram_block_of(page.host, &offset);
    if (!block)
        return false;
    offset = static_cast<std::uint64_t>(page.host - block->host());
    return block->page_flags(offset).load(std::memory_order_acquire) & core::RamBlock::kPageHasCode;
}

/// Stores to the page's other granules need not come here again, nor the one that has just been done: what is left of blocks does not
/// overlap it. Several vCPUs would have to tell each other of new blocks. With the space's lock held.
void TcgVcpu::note_code_page(std::uint64_t address, unsigned size, const DataPage &page) {
    if (!may_have_code(page) || lockstep_ || space_->several() || (watching_ && frontend_->watched_page(address)))
        return;
    std::uint64_t offset = 0;
    const core::RamBlock *block = page.block ? page.block : ram_block_of(page.host, &offset);
    const std::uint8_t *const host_page = page.host - (address & ~core::kPageMask);
    offset = static_cast<std::uint64_t>(host_page - block->host());
    const std::uint64_t ram_page = block->ram_base() + offset;
    const auto in_page = static_cast<std::uint32_t>(address & ~core::kPageMask);
    const std::uint32_t key = cache_->touches_code(ram_page + in_page, size) ? CodePageLine::store_key(in_page, size) : 0;
    tlb_->note_code_page(address & core::kPageMask, host_page, cache_->granules(ram_page), key);
}

bool TcgVcpu::store_hits_code(const DataPage &page, unsigned size) {
    if (!may_have_code(page))
        return false;
    std::uint64_t offset = 0;
    core::RamBlock *block = page.block ? page.block : ram_block_of(page.host, &offset);
    offset = static_cast<std::uint64_t>(page.host - block->host());
    TcgCounters::bump(counters_.code_writes);
    const std::uint64_t ram_addr = block->ram_base() + offset;
    if (!cache_->touches_code(ram_addr, size))
        return false;
    release_x87();
    if (lockstep_ && lockstep_->recording()) {
        lockstep_->give_up();
        head_->exception_pending = kRestartSingle;
        return true;
    }
    if (interpreting_ && BlockCache::overlaps(*interpreting_, ram_addr, size)) {
        head_->exception_pending = kRestartSingle;
        return true;
    }
    if (in_generated_code_ && cold_->slow_site) {
        const TranslationBlock *running = cache_->find_by_host_pc(cold_->slow_site);
        if (running && BlockCache::overlaps(*running, ram_addr, size)) {
            head_->exception_pending = kRestartSingle;
            return true;
        }
    }
    if (invalidate(ram_addr, size)) {
        space_->patch_sites().note(ram_addr, size);
        note_overwritten(ram_addr & core::kPageMask);
    }
    return false;
}

/// Code that is generated anew: many stores that each hit a block, nothing translated in between. The page's other blocks
/// are about to go too; without them the stores take the fast path.
void TcgVcpu::note_overwritten(std::uint64_t ram_page) {
    constexpr unsigned kMany = 8;
    if (overwritten_page_ != ram_page) {
        overwritten_page_ = ram_page;
        overwritten_ = 0;
    }
    if (++overwritten_ >= kMany) {
        overwritten_ = 0;
        invalidate(ram_page, core::kPageSize);
        space_->patch_sites().forget_page(ram_page);
        space_->regenerated_pages().note(ram_page, nanoseconds());
    }
}

void TcgVcpu::store_piece(const DataPage &page, unsigned size, const std::uint8_t *data) {
    const bool recording = lockstep_ && lockstep_->recording();
    if (page.is_ram()) {
        if (recording)
            lockstep_->note_store(page.host, size);
        if (size == 8 && (reinterpret_cast<std::uint64_t>(page.host) & 7) == 0) {
            std::uint64_t value;
            std::memcpy(&value, data, 8);
            std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t *>(page.host)).store(value, std::memory_order_relaxed);
        } else {
            std::memcpy(page.host, data, size);
        }
        return;
    }
    if (recording) {
        lockstep_->give_up();
        return;
    }
    TcgCounters::bump(counters_.mmio);
    release_x87();
    for (unsigned done = 0; done < size;) {
        const unsigned piece = std::min(8u, std::bit_floor(size - done));
        std::uint64_t value = 0;
        std::memcpy(&value, data + done, piece);
        memory_.store(page.physical + done, value, piece);
        done += piece;
    }
}

void TcgVcpu::slow_load(std::uint64_t address, unsigned size, unsigned flags, void *data) {
    const TimeInto timer(options_.count ? &counters_.slow_ns : nullptr);
    TcgCounters::bump(counters_.slow_loads);
    if ((flags & kMemAlign16) && (address & (size - 1))) {
        frontend_->raise_alignment(address);
        return;
    }
    // A store will follow to the same place: what comes between is not to be done twice.
    const Access access = (flags & kLoadIntent) ? Access::kWrite : Access::kRead;
    if (!may_access(address, size, access == Access::kWrite))
        return;
    auto *bytes = static_cast<std::uint8_t *>(data);
    const auto first = static_cast<unsigned>(std::min<std::uint64_t>(size, core::kPageSize - (address & ~core::kPageMask)));
    const DataPage page = data_page(address, access);
    if (page.fault)
        return;
    if (first == size) {
        load_piece(page, size, bytes);
        return;
    }
    const DataPage second = data_page(frontend_->wrap(address + first), access);
    if (second.fault)
        return;
    load_piece(page, first, bytes);
    load_piece(second, size - first, bytes + first);
}

void TcgVcpu::slow_store(std::uint64_t address, unsigned size, unsigned flags, const void *data) {
    const TimeInto timer(options_.count ? &counters_.slow_ns : nullptr);
    TcgCounters::bump(counters_.slow_stores);
    if ((flags & kMemAlign16) && (address & (size - 1))) {
        frontend_->raise_alignment(address);
        return;
    }
    if (!may_access(address, size, true))
        return;
    const auto *bytes = static_cast<const std::uint8_t *>(data);
    const auto first = static_cast<unsigned>(std::min<std::uint64_t>(size, core::kPageSize - (address & ~core::kPageMask)));
    DataPage page = code_write_page(address);
    if (!page.host) {
        page = data_page(address, Access::kWrite);
        if (page.fault)
            return;
        note_code_write(address, page);
    }
    DataPage second;
    if (first != size) {
        second = data_page(frontend_->wrap(address + first), Access::kWrite);
        if (second.fault)
            return;
    }
    const bool two = first != size;
    bool first_done = false, second_done = !two;
    if (may_have_code(page) || (two && may_have_code(second))) {
        const auto held = space_->lock(); // the block cache must not change between the look at it and the store
        if (store_hits_code(page, first) || (two && store_hits_code(second, size - first)))
            return;
        // A device may not be touched with the lock held.
        if ((first_done = page.is_ram()))
            store_piece(page, first, bytes);
        if (two && (second_done = second.is_ram()))
            store_piece(second, size - first, bytes + first);
        if (!two)
            note_code_page(address, size, page);
    }
    if (!first_done)
        store_piece(page, first, bytes);
    if (!second_done)
        store_piece(second, size - first, bytes + first);
}

void *TcgVcpu::probe_write(std::uint64_t address, unsigned size, unsigned flags) {
    TcgCounters::bump(counters_.slow_stores);
    if ((flags & kMemAlign16) && (address & (size - 1))) {
        frontend_->raise_alignment(address);
        return nullptr;
    }
    if (!may_access(address, size, true))
        return nullptr;
    const DataPage page = data_page(address, Access::kWrite);
    if (page.fault)
        return nullptr;
    if ((address & ~core::kPageMask) + size > core::kPageSize) {
        const DataPage second = data_page(frontend_->wrap((address | ~core::kPageMask) + 1), Access::kWrite);
        const auto first = static_cast<unsigned>(core::kPageSize - (address & ~core::kPageMask));
        if (second.fault || ask_to_be_alone())
            return nullptr;
        const auto held = space_->lock();
        if (!store_hits_code(page, first))
            store_hits_code(second, size - first);
        return nullptr;
    }
    if (!page.is_ram())
        return nullptr;
    if (may_have_code(page)) {
        // Whoever makes a block of the page would not see an access by this pointer.
        if (ask_to_be_alone())
            return nullptr;
        const auto held = space_->lock();
        if (store_hits_code(page, size))
            return nullptr;
    }
    if (lockstep_ && lockstep_->recording())
        lockstep_->note_store(page.host, size);
    return page.host;
}

void *TcgVcpu::find_block(std::uint64_t pc) {
    const TimeInto timer(options_.count ? &counters_.slow_ns : nullptr);
    TcgCounters::bump(counters_.jump_cache_misses);
    head_->pc = pc;
    void *const leave = generator_->exit_next_entry();
    if (lockstep_ || util::log_enabled(util::kLogNoChain))
        return leave;
    const CodePage page = code_page(pc, false);
    TranslationBlock *block = page.host ? cache_->find(page.ram_addr, cold_->mode_word) : nullptr;
    if (!block || !block->entry)
        return leave;
    const bool crosses = block->ram_addr2 != ~0ull;
    if (crosses) {
        const CodePage next = code_page((pc | ~core::kPageMask) + 1, false);
        if (!next.host || next.ram_addr != block->ram_addr2)
            return leave;
    }
    head_->pc_page = pc & core::kPageMask;
    tlb_->jump_cache_insert(pc, block->entry, crosses);
    return const_cast<std::uint8_t *>(block->entry);
}

} // namespace rhea::accel
