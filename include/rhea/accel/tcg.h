// The translating accelerator.
#pragma once
#include "rhea/core/accelerator.h"
#include "rhea/tcg/frontend.h"

#include <cstddef>
#include <functional>
#include <memory>

namespace rhea::accel {

struct TcgOptions {
    bool check_interp = false; ///< check=interp: the interpreter in lockstep, for finding translator bugs
    bool interpret = false;    ///< interp=on: no host code at all
    bool count = false;        ///< count=on: counts the guest instructions that run (info jit), for a little time
    bool one_thread_at_a_time = false; ///< thread=single: of the vCPUs' threads one runs, in turn
    std::size_t tb_size = 0;   ///< bytes of code memory; 0: default
};

/// Makes one vCPU's guest side: registers, MMU, translation.
using FrontendFactory = std::function<std::unique_ptr<tcg::GuestFrontend>(unsigned index)>;

std::unique_ptr<core::Accelerator> make_tcg_accelerator(const TcgOptions &options, FrontendFactory make_frontend);

} // namespace rhea::accel
