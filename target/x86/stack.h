// A stack being pushed to or popped from by an interrupt, call gate or return: nothing of the CPU's
// changes until commit().
#pragma once
#include <cstdint>

#include "linear_memory.h"
#include "paging.h"
#include "segment.h"

namespace rhea::target::x86 {

class Stack {
  public:
    /// The present stack, accessed as `as`. Limit violations throw #SS(error).
    Stack(Cpu& cpu, As as, std::uint32_t error = 0)
        : cpu_(cpu),
          seg_(cpu.s.seg[kSs]),
          base_(cpu.code64() ? 0 : cpu.s.seg_base[kSs]),
          sp_(cpu.s.gpr[kRsp]),
          mask_(cpu.code64()          ? ~0ull
                : seg_.attr & kAttrDB ? 0xffffffff
                                      : 0xffff),
          as_(as),
          error_(error) {}
    /// A 64-bit stack.
    static Stack flat(Cpu& cpu, std::uint64_t rsp, As as) {
        Stack stack(cpu, as);
        stack.base_ = 0;
        stack.mask_ = ~0ull;
        stack.sp_ = rsp;
        return stack;
    }
    /// The stack that a descriptor for SS describes.
    static Stack in_segment(Cpu& cpu, const Descriptor& ss, std::uint64_t sp, As as,
                            std::uint32_t error) {
        Stack stack(cpu, as, error);
        stack.seg_ = {0, ss.attr(), ss.limit()};
        stack.base_ = ss.base();
        stack.mask_ = ss.db() ? 0xffffffff : 0xffff;
        stack.sp_ = sp;
        return stack;
    }

    void push(std::uint64_t value, unsigned size) {
        const std::uint64_t sp = (sp_ - size) & mask_;
        write_linear(cpu_, aligned(linear(sp, size, true), size), value, size, as_, kVectorSS);
        sp_ = (sp_ & ~mask_) | sp;
    }
    std::uint64_t pop(unsigned size) {
        const std::uint64_t value = peek(0, size);
        release(size);
        return value;
    }
    /// The value `offset` bytes above the top.
    std::uint64_t peek(std::uint64_t offset, unsigned size) {
        return read_linear(cpu_, aligned(linear((sp_ + offset) & mask_, size, false), size), size, as_,
                           kVectorSS);
    }
    void release(std::uint64_t bytes) { sp_ = (sp_ & ~mask_) | ((sp_ + bytes) & mask_); }

    std::uint64_t sp() const { return sp_; }
    std::uint64_t mask() const { return mask_; }
    /// RSP as it becomes: a 16-bit stack keeps the upper bits, a 32-bit one clears them.
    std::uint64_t result(std::uint64_t old_rsp) const {
        return mask_ == 0xffff ? (old_rsp & ~0xffffull) | (sp_ & 0xffff) : sp_ & mask_;
    }
    void commit() { cpu_.s.gpr[kRsp] = result(cpu_.s.gpr[kRsp]); }

  private:
    std::uint64_t aligned(std::uint64_t address, unsigned size) const {
        if (as_ == As::kUser && (cpu_.mode & kModeAlignCheck) != 0 && (address & (size - 1)) != 0 && alignment_is_looked_at(cpu_, address, size))
            throw_fault(kVectorAC);
        return address;
    }
    std::uint64_t linear(std::uint64_t sp, unsigned size, bool write) const {
        if (mask_ == ~0ull)
            return sp;
        if (!segment_allows(seg_, static_cast<std::uint32_t>(sp), size, write, false))
            throw_fault(kVectorSS, error_);
        return (base_ + sp) & 0xffffffff;
    }

    Cpu& cpu_;
    SegmentCache seg_;
    std::uint64_t base_, sp_, mask_;
    As as_;
    std::uint32_t error_;
};

/// The stack of an inner privilege level from the TSS, checked (SDM vol. 3, 5.8.5).
struct InnerStack {
    std::uint16_t selector = 0;  ///< long mode: null with the level as RPL
    Descriptor descriptor;
    std::uint64_t sp = 0;
};
/// Outside long mode. `ext` is OR'ed into error codes.
InnerStack load_inner_stack(Cpu& cpu, unsigned dpl, std::uint32_t ext);
/// Long mode: RSPn of the TSS (ist 0) or ISTn.
std::uint64_t load_inner_rsp(Cpu& cpu, unsigned dpl, unsigned ist, std::uint32_t ext);
/// SS := null with the level as RPL, as long mode does on a switch to an inner level.
void install_inner_null_ss(Cpu& cpu, unsigned dpl);

inline As as_of_level(unsigned cpl) {
    return cpl == 3 ? As::kUser : As::kSupervisor;
}

}  // namespace rhea::target::x86
