// What generated code and the interpreter call when the inline TLB check misses.
#pragma once
#include "accel/tcg/tcg_vcpu.h"

namespace rhea::accel {

using tcg::kRestartAlone;
using tcg::kRestartSingle;
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
