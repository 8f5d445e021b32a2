// What generated code and the interpreter call when the inline TLB check misses.
#pragma once
#include "accel/tcg/tcg_vcpu.h"

namespace rhea::accel {

/// head.exception_pending: not a guest exception; the instruction at head.pc is to be run alone, uncached, because it
/// stores into the block that it is part of.
inline constexpr std::uint32_t kRestartSingle = 0xffff;
/// Likewise, while no other vCPU runs: it is atomic in the guest, and not in one access of the host.
inline constexpr std::uint32_t kRestartAlone = 0xfffe;
inline constexpr std::uint32_t kWindowModeMask = 3;

struct SlowPaths {
    static tcg::MemoryCallbacks callbacks();
    /// The vCPU that the calling thread runs at the moment, or null. Thread-local because the callbacks get nothing
    /// but the guest state's address.
    static TcgVcpu *current();
    struct Scope {
        explicit Scope(TcgVcpu &vcpu);
        ~Scope();
        Scope(const Scope &) = delete;
        TcgVcpu *previous;
    };
};

} // namespace rhea::accel
