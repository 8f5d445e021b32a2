// Finding, making and dropping translated blocks.
#include "accel/tcg/lockstep.h"
#include "accel/tcg/slow_paths.h"
#include "rhea/core/page_writers.h"
#include "rhea/tcg/passes.h"
#include "rhea/util/log.h"

#include <array>
#include <cstring>
#include <fmt/format.h>

namespace rhea::accel {

using namespace tcg;

namespace {
constexpr unsigned kMaxInsns = 48;          ///< guest instructions a block
constexpr unsigned kMaxHotInsns = 96;       ///< a block that runs often
constexpr std::size_t kMaxBlockBytes = 64 * 1024; ///< host bytes a block may need
} // namespace

TcgVcpu::CodePage TcgVcpu::code_page(std::uint64_t pc, bool raise) {
    CodePage page;
    const std::uint8_t *host = tlb_->lookup_execute(pc);
    if (!host) {
        PageEntry entry;
        if (tlb_->lookup_second(pc, entry) && entry.execute) {
            host = entry.host_page + (pc & ~core::kPageMask);
            fill_tlb(entry);
        }
    }
    if (!host) {
        if (!frontend_->canonical(pc)) {
            if (raise)
                frontend_->raise_not_canonical(pc);
            page.fault = true;
            return page;
        }
        Translation translation;
        const unsigned mode = cold_->mode_word & kWindowModeMask;
        if (!frontend_->walk(pc, Access::kExecute, mode, raise, translation)) {
            page.fault = true;
            return page;
        }
        page.physical = translation.physical;
        const core::FlatRange *range = memory_.view().find(translation.physical);
        if (!range || !range->host)
            return page;
        host = range->host + (translation.physical - range->start);
        std::uint64_t offset = 0;
        page.block = ram_block_of(host, &offset);
        const core::hwaddr page_start = translation.physical & core::kPageMask;
        if (!page.block || page_start < range->start || page_start + core::kPageSize - range->start > range->size) {
            page.block = nullptr;
            return page;
        }
        fill_tlb(page_entry(pc, translation, host - (pc & ~core::kPageMask), *page.block, offset, *range));
        page.host = host;
        page.ram_addr = page.block->ram_base() + offset;
        return page;
    }
    std::uint64_t offset = 0;
    page.block = ram_block_of(host, &offset);
    if (!page.block)
        return page;
    page.host = host;
    page.ram_addr = page.block->ram_base() + offset;
    return page;
}

TranslationBlock *TcgVcpu::lookup_block(std::uint64_t pc) {
    TcgCounters::bump(counters_.lookups);
    const CodePage page = code_page(pc, true);
    if (!page.host)
        return nullptr;
    TranslationBlock *block = cache_->find(page.ram_addr, cold_->mode_word);
    if (block && block->ram_addr2 != ~0ull) {
        const CodePage next = code_page((pc | ~core::kPageMask) + 1, true);
        if (next.fault)
            return nullptr;
        if (!next.host || next.ram_addr != block->ram_addr2)
            block = nullptr;
    }
    if (!block)
        block = translate_block(pc, page);
    return block;
}

/// Generated code's stores to the page take the slow path from now on. Pages that only helpers stored to cost nothing.
void TcgVcpu::revoke_write(const std::uint8_t *host_page) {
    std::uint64_t offset = 0;
    const core::RamBlock *const block = ram_block_of(host_page, &offset);
    const MarkedLines lines = block ? stored_pages_.take(*block, offset) : MarkedLines::any();
    if (lines != MarkedLines::none())
        tlb_->revoke_write(host_page, lines);
}

/// Every store to the (pinned) page takes a slow path from now on, on all vCPUs.
void TcgVcpu::mark_code_page(const CodePage &page) {
    using core::RamBlock;
    auto &flags = page.block->page_flags(page.ram_addr - page.block->ram_base());
    const std::uint8_t *const host_page = page.host - (page.ram_addr & ~core::kPageMask);
    // Who is marking the page, too, may still wait for those whose bits it took.
    const bool marked = flags.fetch_or(RamBlock::kPageHasCode, std::memory_order_seq_cst) & RamBlock::kPageHasCode;
    const std::uint8_t writers = flags.fetch_and(static_cast<std::uint8_t>(~core::kPageWriters), std::memory_order_seq_cst);
    const auto concerns = [&](unsigned vcpu) { return marked || (writers & core::page_writer_bit(vcpu)); };
    page.block->set_code_watcher(space_.get());
    if (concerns(index()))
        revoke_write(host_page);
    if (!space_->several())
        return;
    space_->gate().revoke_elsewhere(*member_, host_page, concerns);
    last_exit_ = nullptr; // that may have been a wait
}

/// The bytes that a block is made of: a copy, from pages that stay marked until release().
class TcgVcpu::Source {
public:
    /// At the time `now`.
    Source(TcgVcpu &vcpu, std::int64_t now) : vcpu_(vcpu), now_(now) { vcpu_.source_pages_.resize(2 * core::kPageSize); }
    ~Source() {
        if (count_ != 0) {
            const auto held = vcpu_.space_->lock();
            release();
        }
    }
    Source(const Source &) = delete;

    /// The first page, or the one behind it.
    void add(const CodePage &page) {
        const std::uint64_t ram_page = page.ram_addr & core::kPageMask;
        bool settled;
        {
            const auto held = vcpu_.space_->lock();
            settled = vcpu_.cache_->pin(ram_page);
            if (count_ == 0) {
                vcpu_.space_->patch_sites().of_page(ram_page, patched_);
                short_lived_ = vcpu_.space_->regenerated_pages().short_lived(ram_page, now_);
            }
            pages_[count_++] = page;
        }
        if (!settled) {
            vcpu_.mark_code_page(page);
            const auto held = vcpu_.space_->lock();
            vcpu_.cache_->settle(ram_page);
        }
        const std::size_t in_page = page.ram_addr & ~core::kPageMask;
        std::memcpy(image(count_ - 1), page.host, std::min<std::size_t>(core::kPageSize - in_page, kMaxBytes));
    }
    FetchWindow window() const {
        return {.page = vcpu_.source_pages_.data(),
                .next_page = count_ == 2 ? vcpu_.source_pages_.data() + core::kPageSize : nullptr,
                .page_offset = static_cast<std::uint16_t>(pages_[0].ram_addr & ~core::kPageMask),
                .short_lived = short_lived_,
                .patched = patched_,
                .running_page = pages_[0].host - (pages_[0].ram_addr & ~core::kPageMask)};
    }
    const CodePage &page(unsigned n) const { return pages_[n]; }

    // With the space's lock held.
    /// But for fields that the block reads when it runs.
    bool unchanged(const ir::Block &block) const {
        const std::size_t length = block.byte_length;
        const std::uint8_t *const host_page = pages_[0].host - (pages_[0].ram_addr & ~core::kPageMask);
        for (const ir::CodeField &field : block.fields)
            std::memcpy(vcpu_.source_pages_.data() + field.page_offset, host_page + field.page_offset, field.length);
        const std::size_t first = std::min<std::size_t>(length, core::kPageSize - (pages_[0].ram_addr & ~core::kPageMask));
        return std::memcmp(image(0), pages_[0].host, first) == 0 &&
               (first == length || std::memcmp(image(1), pages_[1].host, length - first) == 0);
    }
    void release() {
        while (count_ != 0)
            vcpu_.space_->unpin(pages_[--count_].ram_addr & core::kPageMask);
    }

private:
    static constexpr std::size_t kMaxBytes = kMaxHotInsns * 15 + 16;

    std::uint8_t *image(unsigned n) const {
        return vcpu_.source_pages_.data() + n * core::kPageSize + (pages_[n].ram_addr & ~core::kPageMask);
    }

    TcgVcpu &vcpu_;
    const std::int64_t now_;
    std::vector<ir::CodeField> &patched_ = vcpu_.patched_;
    bool short_lived_ = false;
    std::array<CodePage, 2> pages_;
    unsigned count_ = 0;
};

TranslateStatus TcgVcpu::make_ir(Source &source, unsigned max_insns, bool hot) {
    ir_.clear();
    ir_.mode = cold_->mode_word;
    FetchWindow fetch = source.window();
    fetch.hot = ir_.hot = hot;
    ir_.page_offset = fetch.page_offset;
    return frontend_->translate(ir_, fetch, max_insns);
}

TcgVcpu::Translated TcgVcpu::try_translate(std::uint64_t pc, const CodePage &page, bool hot, std::int64_t now, TranslationBlock *&result) {
    Source source(*this, now);
    source.add(page);
    std::uint64_t second = ~0ull;
    const unsigned max_insns = lockstep_ ? lockstep_->max_insns() : hot ? kMaxHotInsns : kMaxInsns;
    if (make_ir(source, max_insns, hot || lockstep_) == TranslateStatus::kNeedNextPage) {
        const CodePage next = code_page((pc | ~core::kPageMask) + 1, true);
        if (next.fault || !next.host)
            return Translated::kFault;
        source.add(next);
        if (make_ir(source, 1, false) != TranslateStatus::kOk)
            return Translated::kFault;
        if (ir_.crosses_page)
            second = next.ram_addr;
    }
    optimise();
    const Translated done = publish(source, pc, {page.ram_addr, second}, result);
    if (done == Translated::kDone)
        log_block(ir_, result, pc); // may walk page tables: not with the lock held
    return done;
}

/// Generates the block's code and makes it visible, if the bytes are still those that it was made of.
TcgVcpu::Translated TcgVcpu::publish(Source &source, std::uint64_t pc, std::array<std::uint64_t, 2> ram_addr, TranslationBlock *&result) {
    const auto held = space_->lock();
    const bool unchanged = source.unchanged(ir_);
    TranslationBlock *const others = space_->several() ? cache_->find(ram_addr[0], cold_->mode_word) : nullptr;
    // A hot one without code had more values than places: it makes room for what translate_hot tries next.
    const bool made_meanwhile = unchanged && others && others->ram_addr2 == ram_addr[1] &&
                                (others->hot ? !generator_ || others->entry != nullptr : !ir_.hot);
    std::unique_ptr<TranslationBlock> block = unchanged && !made_meanwhile ? compile() : nullptr;
    const bool compiled = block != nullptr;
    if (compiled) {
        block->ram_addr = ram_addr[0];
        block->ram_addr2 = ram_addr[1];
        block->mode = cold_->mode_word;
        block->byte_length = ir_.byte_length;
        block->guest_insns = static_cast<std::uint16_t>(ir_.insns.size());
        block->hot = ir_.hot;
        result = cache_->insert(std::move(block));
        space_->note_perf_block(*result, pc);
        tlb_->drop_code_page(source.page(0).host - (source.page(0).ram_addr & ~core::kPageMask));
        if (result->ram_addr2 != ~0ull)
            tlb_->drop_code_page(source.page(1).host);
    }
    else if (made_meanwhile)
        result = others;
    source.release();
    return compiled || made_meanwhile ? Translated::kDone : unchanged ? Translated::kNoRoom : Translated::kAgain;
}

/// The block at pc has run often: another translation takes its place.
TranslationBlock *TcgVcpu::translate_hot(std::uint64_t pc, TranslationBlock *block) {
    const CodePage page = code_page(pc, false);
    if (block->hot || block->ram_addr2 != ~0ull || !page.host)
        return block;
    TranslationBlock *const better = translate_block(pc, page, true);
    if (better && better->entry)
        return better;
    TranslationBlock *const again = translate_block(pc, page); // more values than places: as it was
    if (again) {
        const auto held = space_->lock();
        again->hot = true;
    }
    return again;
}

TranslationBlock *TcgVcpu::translate_block(std::uint64_t pc, const CodePage &page, bool hot) {
    const std::int64_t start = nanoseconds();
    TranslationBlock *result = nullptr;
    for (Translated state = Translated::kAgain; state != Translated::kDone;) {
        state = try_translate(pc, page, hot, start, result);
        if (state == Translated::kFault)
            return nullptr;
        if (state == Translated::kNoRoom)
            make_room();
    }
    if ((page.ram_addr & core::kPageMask) == overwritten_page_)
        overwritten_page_ = ~0ull;
    TcgCounters::bump(counters_.blocks);
    TcgCounters::bump(counters_.guest_insns, result->guest_insns);
    TcgCounters::bump(counters_.guest_bytes, result->byte_length);
    TcgCounters::bump(counters_.host_bytes, result->code_size);
    TcgCounters::bump(counters_.translate_ns, static_cast<std::uint64_t>(nanoseconds() - start));
    return result;
}

/// ir_ becomes what the generator gets.
void TcgVcpu::optimise() {
    const GuestDescription &guest = frontend_->description();
    if (util::log_enabled_at(util::kLogOp, head_->pc))
        util::log_write(util::kLogOp, "OP: mode {:x} offset {:#x}\n{}\n", ir_.mode, ir_.page_offset, ir::print(ir_, guest));
    if (!generator_)
        return;
    if (lockstep_)
        made_ir_ = std::make_unique<ir::Block>(ir_); // as the frontend made it: the passes are checked too
    passes::run(ir_, guest);
    if (util::log_enabled_at(util::kLogOpOpt, head_->pc))
        util::log_write(util::kLogOpOpt, "OP after optimization: mode {:x} offset {:#x}\n{}\n", ir_.mode, ir_.page_offset, ir::print(ir_, guest));
}

std::unique_ptr<TranslationBlock> TcgVcpu::compile() {
    if (generator_) {
        const CodeBuffer buffer = code_->allocate(kMaxBlockBytes);
        if (!buffer.write || buffer.capacity < kMaxBlockBytes)
            return nullptr;
        if (generator_->compile(ir_, buffer, compiled_)) {
            code_->commit(buffer, compiled_.size);
            auto block = TranslationBlock::make(compiled_.exits, compiled_.side_table.bytes, ir_.fields);
            block->entry = compiled_.entry;
            block->code_size = compiled_.size;
            block->ir = std::move(made_ir_);
            generator_->move_exits(*block);
            return block;
        }
    }
    auto block = TranslationBlock::make({}, {}, ir_.fields);
    block->ir = std::make_unique<ir::Block>(ir_); // what the generator cannot do, the interpreter does
    return block;
}

bool TcgVcpu::translate_single(std::uint64_t pc) {
    alignas(16) std::uint8_t bytes[32];
    std::memset(bytes, 0, sizeof bytes);
    const auto page_offset = static_cast<std::uint16_t>(pc & ~core::kPageMask);
    // Bytes are copied: they may come from a device, or be about to change under the instruction.
    const auto fetch_page = [&](std::uint64_t at, std::uint8_t *page_image) {
        const CodePage page = code_page(at, true);
        if (page.fault)
            return false;
        const std::uint64_t in_page = at & ~core::kPageMask;
        const std::uint64_t wanted = std::min<std::uint64_t>(15, core::kPageSize - in_page);
        if (page.host)
            std::memcpy(page_image + in_page, page.host, wanted);
        else
            memory_.read(page.physical, page_image + in_page, wanted);
        return true;
    };
    single_pages_.resize(2 * core::kPageSize);
    if (!fetch_page(pc, single_pages_.data()))
        return false;
    FetchWindow fetch{.page = single_pages_.data(), .next_page = nullptr, .page_offset = page_offset};
    for (int attempt = 0; attempt < 2; ++attempt) {
        ir_.clear();
        ir_.mode = cold_->mode_word;
        ir_.page_offset = page_offset;
        if (frontend_->translate(ir_, fetch, 1) == TranslateStatus::kOk)
            return true;
        if (!fetch_page((pc | ~core::kPageMask) + 1, single_pages_.data() + core::kPageSize))
            return false;
        fetch.next_page = single_pages_.data() + core::kPageSize;
    }
    return true;
}

bool TcgVcpu::invalidate(std::uint64_t ram_addr, std::size_t length) {
    if (space_->invalidate(ram_addr, length, member_.get()) == 0)
        return false;
    last_exit_ = nullptr;
    return true;
}

/// Drops the code that was translated the longest ago. What of it is in use is translated anew, and is young then.
void TcgVcpu::make_room() {
    bool one_slab = false;
    exclusive([&] { one_slab = space_->drop_oldest(); });
    TcgCounters::bump(one_slab ? counters_.slabs_dropped : counters_.full_flushes);
}

void TcgVcpu::drop_all_code() {
    TcgCounters::bump(counters_.full_flushes);
    exclusive([this] { space_->drop_all(); });
}

void TcgVcpu::log_block(const ir::Block &block, const TranslationBlock *tb, std::uint64_t pc) {
    if (util::log_enabled_at(util::kLogInAsm, pc)) {
        const std::uint64_t base = pc & core::kPageMask;
        std::string text = fmt::format("----------------\nIN: {:016x}\n", pc);
        for (const ir::GuestInsn &insn : block.insns) {
            const std::uint64_t at = base + insn.page_offset;
            const CodePage page = code_page(at, false);
            if (page.host && insn.page_offset + insn.length <= core::kPageSize)
                text += frontend_->disassemble(at, page.host, insn.length);
        }
        util::log_write(util::kLogInAsm, "{}", text);
    }
    if (tb && tb->entry && util::log_enabled_at(util::kLogOutAsm, pc))
        util::log_write(util::kLogOutAsm, "OUT: {:016x} [size={}] at {}\n{}\n", pc, tb->code_size,
                        fmt::ptr(tb->entry), generator_->disassemble(*tb));
}

} // namespace rhea::accel
