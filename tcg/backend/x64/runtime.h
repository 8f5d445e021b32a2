// C++ functions that thunks call. Vcpu thread; state is stored when they run.
#pragma once
#include "tcg/backend/x64/thunks.h"

#include <cstdint>

namespace rhea::tcg::x64::runtime {

/// `code` follows `call evaluate_flags`; returns where generated code goes on.
const std::uint8_t *evaluate_flags(const RuntimeContext *context, VcpuHead *state, const std::uint8_t *code);
void flags_to_raw(const RuntimeContext *context, VcpuHead *state);
void carry_to_src2(const RuntimeContext *context, VcpuHead *state);
/// Division that the inline code leaves alone. See Thunks::divide.
void divide(const RuntimeContext *context, VcpuHead *state);
void raise(const RuntimeContext *context, VcpuHead *state);
void probe_write(const RuntimeContext *context, VcpuHead *state);

/// Masked moves and gathers whose inline check failed. See Thunks::lanes.
void lanes(const RuntimeContext *context, VcpuHead *state);

/// Memory operands of x87 instructions whose inline check failed. See Thunks::x87_read.
void x87_read(const RuntimeContext *context, VcpuHead *state);
void x87_write(const RuntimeContext *context, VcpuHead *state);

/// An atomic operation whose inline check failed.
void atomic(const RuntimeContext *context, VcpuHead *state);

} // namespace rhea::tcg::x64::runtime
