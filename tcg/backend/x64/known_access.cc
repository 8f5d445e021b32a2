// An access whose inline check failed, by what the window's tables say of its page, in this order: the first level (its group's range
// crosses a page, or was given up), for writes the pages that hold code, the pages that others displaced.
#include "tcg/backend/x64/known_access.h"

#include "tcg/backend/x64/thunks.h"

namespace rhea::tcg::x64 {
namespace {

constexpr Gpr kPage = Gpr::r10, kTemp = Gpr::r11, kGranule = Gpr::r14;

} // namespace

KnownAccess::KnownAccess(Assembler &assembler, const Layout &layout, unsigned bytes, bool store, unsigned flags)
    : a_(assembler), layout_(layout), bytes_(bytes), store_(store), write_(store || (flags & kMemWriteIntent) != 0),
      aligned_((flags & kMemAlign16) != 0) {}

void KnownAccess::emit() {
    a_.push(kPage);
    a_.push(kTemp);
    emit_first_level();
    if (write_ && !aligned_)
        emit_beside_code();
    emit_victim();
    a_.bind(miss_);
    a_.pop(kTemp);
    a_.pop(kPage);
}

/// Between the data's spill slots and the host address in kPage.
void KnownAccess::move_data() {
    const Mem data = spill_mem(kDataSpill), there = ptr(kPage);
    if (bytes_ >= 16) { // in one piece: the block's access to the spill slots then need not wait for the stores
        const Mem saved = state_mem(layout_.vector_spill(kXmmCount - 1));
        const auto move = [&](const Mem &to, const Mem &from) {
            bytes_ == 32 ? a_.vmovups_ymm(Xmm::xmm15, from) : a_.vmovdqu(Xmm::xmm15, from);
            bytes_ == 32 ? a_.vmovups_ymm(to, Xmm::xmm15) : a_.vmovdqu(to, Xmm::xmm15);
        };
        a_.vmovups_ymm(saved, Xmm::xmm15);
        store_ ? move(there, data) : move(data, there);
        a_.vmovups_ymm(Xmm::xmm15, saved);
        return;
    }
    if (store_) {
        a_.mov(8, kTemp, data);
        a_.mov(bytes_, there, kTemp);
    } else {
        if (bytes_ < 4)
            a_.movzx(bytes_, kTemp, there);
        else
            a_.mov(bytes_, kTemp, there);
        a_.mov(8, data, kTemp);
    }
}

void KnownAccess::emit_first_level() {
    Label no_line;
    a_.mov(8, kPage, spill_mem(kArgSpill));
    if (aligned_) {
        a_.test(1, kPage, bytes_ - 1);
        a_.jcc(Cond::kNE, miss_);
    }
    a_.bextr(8, kTemp, kPage, kStateReg);
    a_.sub(8, kPage, ptr(kStateReg, kTemp, 8, Layout::window(write_ ? kWriteTagOffset : kReadTagOffset)));
    a_.cmp(8, kPage, static_cast<std::int32_t>(4096 - bytes_));
    a_.jcc(Cond::kA, no_line);
    a_.mov(8, kPage, ptr(kStateReg, kTemp, 8, Layout::window(kAddendOffset)));
    a_.bind(here_);
    a_.add(8, kPage, spill_mem(kArgSpill));
    move_data();
    a_.pop(kTemp);
    a_.pop(kPage);
    a_.ret();
    a_.bind(no_line);
}

namespace {

/// Of the line in kTemp.
Mem code_page_field(std::size_t offset) { return ptr(kTemp, Layout::window(kCodePageOffset) + static_cast<std::int32_t>(offset)); }

} // namespace

/// A store to a granule without code of a page with code, or a load there before a store.
void KnownAccess::emit_beside_code() {
    Label other, code, found;
    a_.mov(8, kPage, spill_mem(kArgSpill));
    a_.mov(4, kTemp, kPage);
    a_.shr(4, kTemp, 6);
    static_assert(sizeof(CodePageLine) == 1 << 6);
    a_.and_(4, kTemp, static_cast<std::int32_t>((kCodePageLines - 1) * sizeof(CodePageLine)));
    a_.add(8, kTemp, kStateReg);
    a_.sub(8, kPage, code_page_field(offsetof(CodePageLine, tag)));
    a_.cmp(8, kPage, static_cast<std::int32_t>(4096 - bytes_));
    a_.jcc(Cond::kA, other);
    if (store_) { // the bits of its first and last byte's granule
        a_.push(kGranule);
        a_.lea(4, kGranule, ptr(kPage, static_cast<std::int32_t>(bytes_ - 1)));
        a_.shr(4, kGranule, 6);
        a_.shr(4, kPage, 6);
        a_.shrx(8, kGranule, code_page_field(offsetof(CodePageLine, granules)), kGranule);
        a_.shrx(8, kPage, code_page_field(offsetof(CodePageLine, granules)), kPage);
        a_.or_(4, kGranule, kPage);
        a_.test(1, kGranule, 1);
        a_.pop(kGranule);
        a_.jcc(Cond::kNE, code);
    }
    a_.bind(found);
    a_.mov(8, kPage, code_page_field(offsetof(CodePageLine, addend)));
    a_.jmp(here_);
    if (store_) {
        a_.bind(code);
        emit_known_store(found);
        a_.jmp(miss_);
    }
    a_.bind(other);
}

/// One that is known to hit no block, though there is code in its granule.
void KnownAccess::emit_known_store(Label &found) {
    a_.mov(4, kPage, spill_mem(kArgSpill));
    a_.and_(4, kPage, 4095);
    a_.shl(4, kPage, 6);
    a_.or_(4, kPage, static_cast<std::int32_t>(CodePageLine::store_key(0, bytes_)));
    for (unsigned n = 0; n < CodePageLine::kStores; ++n) {
        a_.cmp(4, kPage, code_page_field(offsetof(CodePageLine, stores) + n * sizeof(std::uint32_t)));
        a_.jcc(Cond::kE, found);
    }
}

/// Every 16th goes on to C++, which brings the page back into the first level.
void KnownAccess::emit_victim() {
    const Mem count = state_mem(layout_.cold(offsetof(VcpuCold, stat_victims)));
    const auto field = [](std::size_t offset) { return ptr(kTemp, Layout::window(kVictimOffset) + static_cast<std::int32_t>(offset)); };
    a_.mov(8, kPage, spill_mem(kArgSpill));
    a_.mov(8, kTemp, kPage);
    a_.shr(8, kTemp, 10);
    a_.xor_(8, kTemp, kPage);
    a_.shr(8, kTemp, 7);
    a_.and_(4, kTemp, static_cast<std::int32_t>((kVictims - 1) * sizeof(VictimEntry)));
    a_.add(8, kTemp, kStateReg);
    a_.sub(8, kPage, field(write_ ? offsetof(VictimEntry, write_tag) : offsetof(VictimEntry, read_tag)));
    a_.cmp(8, kPage, static_cast<std::int32_t>(4096 - bytes_));
    a_.jcc(Cond::kA, miss_);
    a_.inc(8, count);
    a_.test(1, count, 15);
    a_.mov(8, kPage, field(offsetof(VictimEntry, addend)));
    a_.jcc(Cond::kNE, here_);
}

} // namespace rhea::tcg::x64
