// One operand of a string instruction: where it is, and how far it may go before it must be looked
// up again.
//
// Private to the string helpers.
#pragma once
#include <algorithm>
#include <cstdint>

#include "helper_args.h"
#include "linear_memory.h"
#include "paging.h"
#include "segment.h"

namespace rhea::target::x86 {

/// RSI or RDI with its segment, as an instruction's address size sees it.
class StringCursor {
  public:
    StringCursor(Cpu& cpu, const StringInfo& info, Reg index, Seg seg)
        : cpu_(cpu),
          size_(info.size),
          index_(index),
          seg_(seg),
          mask_(info.address_size == 8   ? ~0ull
                : info.address_size == 4 ? 0xffffffff
                                         : 0xffff),
          backward_(static_cast<std::int64_t>(cpu.s.df) < 0),
          code64_(info.code64),
          base_(info.code64 && seg != kFs && seg != kGs ? 0 : cpu.s.seg_base[seg]),
          checked_(!info.code64 && (cpu.mode & (kModeSegChecks | (seg == kFs   ? kModeFsNull
                                                                  : seg == kGs ? kModeGsNull
                                                                               : 0u))) != 0) {}

    /// Elements that can be done at once from here, at most `wanted`: within one page, without
    /// wrapping. 0: the next element crosses a page, do it by itself.
    std::uint64_t run_length(std::uint64_t wanted) const {
        if (checked_)
            return crosses() || wanted == 0 ? 0 : 1;
        const std::uint64_t in_page = linear() & 0xfff, offset = this->offset();
        if (in_page + size_ > 0x1000 || (mask_ != ~0ull && offset + size_ - 1 > mask_))
            return 0;
        std::uint64_t n;
        if (backward_) {
            n = in_page / size_ + 1;
            if (mask_ != ~0ull)
                n = std::min(n, offset / size_ + 1);
        } else {
            n = (0x1000 - in_page) / size_;
            if (mask_ != ~0ull)
                n = std::min(n, (mask_ - offset + 1) / size_);
        }
        return std::min(n, wanted);
    }

    /// Limit and type of the segment, and alignment, for the next element; false: `fault` is set.
    bool check(bool write, Fault& fault) const {
        if (checked_ && !segment_allows(cpu_.s.seg[seg_], static_cast<std::uint32_t>(offset()),
                                        size_, write, cpu_.protected_mode() && !cpu_.vm86())) {
            fault = {static_cast<std::uint8_t>(seg_ == kSs ? kVectorSS : kVectorGP), 0, 0};
            return false;
        }
        if ((cpu_.mode & kModeAlignCheck) != 0 && (linear() & (size_ - 1)) != 0 && alignment_is_looked_at(cpu_, linear(), size_)) {
            fault = {kVectorAC, 0, 0};
            return false;
        }
        return true;
    }

    std::uint64_t offset() const { return cpu_.s.gpr[index_] & mask_; }
    std::uint64_t linear() const {
        const std::uint64_t sum = base_ + offset();
        return code64_ ? sum : sum & 0xffffffff;
    }
    /// Of the next element.
    std::uint64_t last_byte() const {
        const std::uint64_t sum = linear() + size_ - 1;
        return code64_ ? sum : sum & 0xffffffff;
    }
    /// Moves by `elements`. A 4-byte address size clears the register's upper half, a 2-byte one
    /// keeps the rest.
    void advance(std::uint64_t elements) {
        const std::uint64_t bytes = elements * size_;
        write_masked(cpu_.s.gpr[index_], (offset() + (backward_ ? 0 - bytes : bytes)) & mask_);
    }
    void write_masked(std::uint64_t& reg, std::uint64_t value) const {
        reg = mask_ == 0xffff ? (reg & ~0xffffull) | value : value;
    }
    std::uint64_t mask() const { return mask_; }
    bool backward() const { return backward_; }

  private:
    bool crosses() const { return (linear() & 0xfff) + size_ > 0x1000; }

    Cpu& cpu_;
    unsigned size_;
    Reg index_;
    Seg seg_;
    std::uint64_t mask_;
    bool backward_, code64_;
    std::uint64_t base_;
    bool checked_;
};

/// The operands of MOVS as CPUs look at them: the source is read before the destination is checked. (Those of CMPS are both checked
/// before either is read.)
inline bool check_movs(Cpu& cpu, const StringCursor& from, const StringCursor& to, Fault& fault) {
    if (!from.check(false, fault))
        return false;
    if (to.check(true, fault))
        return true;
    for (const std::uint64_t address : {from.linear(), from.last_byte()}) {
        LinearTarget target;
        Fault earlier;
        if (!try_resolve(cpu, address, tcg::Access::kRead, cpu.as_current(), target, earlier)) {
            fault = earlier;
            break;
        }
    }
    return false;
}

/// Has somebody asked the vCPU to stop for a moment?
inline bool interrupted(const CpuState& s) {
    return __atomic_load_n(&s.head.exit_request, __ATOMIC_RELAXED) != 0;
}

/// RCX as the repeat count; without a prefix one element.
class RepeatCount {
  public:
    RepeatCount(Cpu& cpu, const StringInfo& info)
        : cpu_(cpu),
          reg_(cpu.s.gpr[kRcx]),
          repeated_(info.rep != RepKind::kNone),
          one_(info.one),
          mask_(info.address_size == 8   ? ~0ull
                : info.address_size == 4 ? 0xffffffff
                                         : 0xffff) {}
    /// Elements to do now: under single stepping one at a time.
    std::uint64_t left() const {
        const std::uint64_t count = repeated_ ? reg_ & mask_ : single_;
        return one_ ? std::min<std::uint64_t>(count, 1) : count;
    }
    /// Does the instruction stop here with elements left?
    bool pauses() const {
        return (one_ || interrupted(cpu_.s) || cpu_.watch.hits != 0) && left() != 0;
    }
    void done(std::uint64_t n) {
        if (!repeated_) {
            single_ = 0;
            return;
        }
        const std::uint64_t value = ((reg_ & mask_) - n) & mask_;
        reg_ = mask_ == 0xffff ? (reg_ & ~0xffffull) | value : value;
    }

  private:
    Cpu& cpu_;
    std::uint64_t& reg_;
    bool repeated_, one_;
    std::uint64_t mask_;
    std::uint64_t single_ = 1;
};

}  // namespace rhea::target::x86
