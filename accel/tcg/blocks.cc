// Finding, making and dropping translated blocks.
#include "accel/tcg/lockstep.h"
#include "accel/tcg/slow_paths.h"
#include "rhea/tcg/passes.h"
#include "rhea/util/log.h"

#include <chrono>
#include <cstring>
#include <fmt/format.h>

namespace rhea::accel {

using namespace tcg;

namespace {
constexpr unsigned kMaxInsns = 48;          ///< guest instructions a block
constexpr std::size_t kMaxBlockBytes = 64 * 1024; ///< host bytes a block may need

std::int64_t nanoseconds() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
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
        const unsigned mode = running_mode_ & kWindowModeMask;
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
    TranslationBlock *block = cache_->find(page.ram_addr, running_mode_);
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

void TcgVcpu::mark_code_page(const CodePage &page) {
    auto &flags = page.block->page_flags(page.ram_addr - page.block->ram_base());
    if (flags.load(std::memory_order_acquire) & core::RamBlock::kPageHasCode)
        return;
    flags.fetch_or(core::RamBlock::kPageHasCode, std::memory_order_acq_rel);
    page.block->set_code_watcher(this);
    if (flags.fetch_and(static_cast<std::uint8_t>(~core::RamBlock::kPageMaybeWritable), std::memory_order_acq_rel) &
        core::RamBlock::kPageMaybeWritable)
        tlb_->revoke_write(page.host - (page.ram_addr & ~core::kPageMask));
}

TranslationBlock *TcgVcpu::translate_block(std::uint64_t pc, const CodePage &page) {
    const std::int64_t start = nanoseconds();
    mark_code_page(page);
    const auto page_offset = static_cast<std::uint16_t>(pc & ~core::kPageMask);
    FetchWindow fetch{.page = page.host - page_offset, .next_page = nullptr, .page_offset = page_offset};
    std::uint64_t second = ~0ull;
    const auto begin = [&] {
        ir_.clear();
        ir_.mode = running_mode_;
        ir_.page_offset = page_offset;
    };
    begin();
    if (frontend_->translate(ir_, fetch, lockstep_ ? lockstep_->max_insns() : kMaxInsns) == TranslateStatus::kNeedNextPage) {
        const CodePage next = code_page((pc | ~core::kPageMask) + 1, true);
        if (next.fault || !next.host)
            return nullptr;
        mark_code_page(next);
        fetch.next_page = next.host;
        second = next.ram_addr;
        begin();
        if (frontend_->translate(ir_, fetch, 1) != TranslateStatus::kOk)
            return nullptr;
        if (!ir_.crosses_page)
            second = ~0ull;
    }
    auto block = std::make_unique<TranslationBlock>();
    block->ram_addr = page.ram_addr;
    block->ram_addr2 = second;
    block->mode = running_mode_;
    block->byte_length = ir_.byte_length;
    block->guest_insns = static_cast<std::uint16_t>(ir_.insns.size());
    if (!compile(*block))
        return nullptr;
    log_block(ir_, block.get(), pc);
    TranslationBlock *result = cache_->insert(std::move(block));
    TcgCounters::bump(counters_.blocks);
    TcgCounters::bump(counters_.guest_insns, result->guest_insns);
    TcgCounters::bump(counters_.guest_bytes, result->byte_length);
    TcgCounters::bump(counters_.host_bytes, result->code_size);
    TcgCounters::bump(counters_.translate_ns, static_cast<std::uint64_t>(nanoseconds() - start));
    return result;
}

bool TcgVcpu::compile(TranslationBlock &block) {
    const GuestDescription &guest = frontend_->description();
    if (util::log_enabled_at(util::kLogOp, head_->pc))
        util::log_write(util::kLogOp, "OP: mode {:x} offset {:#x}\n{}\n", ir_.mode, ir_.page_offset, ir::print(ir_, guest));
    if (lockstep_ || !generator_)
        block.ir = std::make_unique<ir::Block>(ir_); // as the frontend made it: the passes are checked too
    if (!generator_)
        return true;
    passes::run(ir_, guest);
    if (util::log_enabled_at(util::kLogOpOpt, head_->pc))
        util::log_write(util::kLogOpOpt, "OP after optimization: mode {:x} offset {:#x}\n{}\n", ir_.mode, ir_.page_offset, ir::print(ir_, guest));
    CodeBuffer buffer = code_->allocate(kMaxBlockBytes);
    if (!buffer.write || buffer.capacity < kMaxBlockBytes) {
        drop_all_code();
        buffer = code_->allocate(kMaxBlockBytes);
    }
    if (buffer.write && buffer.capacity >= kMaxBlockBytes && generator_->compile(ir_, buffer, compiled_)) {
        code_->commit(buffer, compiled_.size);
        block.entry = compiled_.entry;
        block.code_size = compiled_.size;
        block.exits.swap(compiled_.exits);
        block.side_table.bytes.swap(compiled_.side_table.bytes);
        return true;
    }
    block.ir = std::make_unique<ir::Block>(ir_); // what the generator cannot do, the interpreter does
    return true;
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
        ir_.mode = running_mode_;
        ir_.page_offset = page_offset;
        if (frontend_->translate(ir_, fetch, 1) == TranslateStatus::kOk)
            return true;
        if (!fetch_page((pc | ~core::kPageMask) + 1, single_pages_.data() + core::kPageSize))
            return false;
        fetch.next_page = single_pages_.data() + core::kPageSize;
    }
    return true;
}

void TcgVcpu::invalidate(std::uint64_t ram_addr, std::size_t length) {
    if (cache_->invalidate(ram_addr, length, [this](std::uint64_t page) { page_emptied(page); }) == 0)
        return;
    last_exit_ = nullptr;
}

void TcgVcpu::page_emptied(std::uint64_t ram_page) {
    for (core::RamBlock *block : ram_blocks()) {
        const std::uint64_t offset = ram_page - block->ram_base();
        if (offset < block->size())
            block->page_flags(offset).fetch_and(static_cast<std::uint8_t>(~core::RamBlock::kPageHasCode), std::memory_order_acq_rel);
    }
}

void TcgVcpu::drop_all_code() {
    TcgCounters::bump(counters_.full_flushes);
    cache_->clear([this](std::uint64_t page) { page_emptied(page); });
    tlb_->flush_jump_caches();
    last_exit_ = nullptr;
    if (code_ && !in_generated_code_) {
        cache_->collect_garbage();
        code_->reset();
        CodeBuffer thunks = code_->allocate(64 * 1024);
        code_->commit(thunks, generator_->emit_thunks(thunks));
    }
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
        util::log_write(util::kLogOutAsm, "OUT: {:016x} [size={}]\n{}\n", pc, tb->code_size, generator_->disassemble(*tb));
}

} // namespace rhea::accel
