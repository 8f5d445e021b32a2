// The hand-made pieces of code that blocks share: entry and exit, slow paths, helper stubs.
//
// Emitted once at the start of the code buffer. Every thunk that calls C++ stores the pinned registers to their slots
// and the scratch ones to VcpuCold::host_regs / vector_spill first, and loads them again afterwards: to the block a call
// changes nothing but what it is documented to return. Immutable once emitted.
#pragma once
#include "rhea/tcg/backend.h"
#include "tcg/backend/x64/layout.h"

#include <array>
#include <cstdint>
#include <vector>

namespace rhea::tcg::x64 {

/// What C++ functions behind thunks need besides the state.
struct RuntimeContext {
    const Layout *layout = nullptr;
    const GuestDescription *guest = nullptr;
    MemoryCallbacks memory{};
};

/// Codes that thunks return to enter(): CodeExit.
using EnterFunction = std::uint32_t (*)(VcpuHead *state, const std::uint8_t *entry, std::uint64_t state_reg);

struct Thunks {
    EnterFunction enter = nullptr;
    /// jmp: head.pc is set; leave.
    const std::uint8_t *exit_next = nullptr, *exit_state = nullptr;
    /// call, followed by an i32: leave kNext with pc = pc_page + it.
    const std::uint8_t *exit_next_at = nullptr;
    /// call, followed by an i32: leave kHot with pc = pc_page + it.
    const std::uint8_t *exit_hot = nullptr;
    /// call, followed by a u64 (ExitSlot address) and an i32 page offset: leave kChain.
    const std::uint8_t *exit_chain = nullptr;
    /// jmp: leave kNext, r10 = linear pc.
    const std::uint8_t *exit_next_r10 = nullptr;
    /// jmp: jump cache miss, r10 = linear pc.
    const std::uint8_t *find_block = nullptr;
    /// What stands before a block's entry, for retire(): call, followed by an i32: the block's page offset.
    const std::uint8_t *stale_entry = nullptr;
    /// call: address in kArgSpill; value in/out at kDataSpill. By log2(size) and MemFlags.
    std::array<std::array<const std::uint8_t *, 4>, 6> load{}, store{};
    /// call: address in kArgSpill, size | flags << 8 in the spill behind; the host pointer or 0 at kDataSpill.
    const std::uint8_t *probe_write = nullptr;
    /// call: as probe_write, operands at kDataSpill and the next, kDataSpill + 2: the Op; old value at kDataSpill.
    const std::uint8_t *atomic = nullptr;
    /// call, followed by u8 destination (spill slot, or kToState) and a descriptor.
    const std::uint8_t *evaluate_flags = nullptr;
    static constexpr std::uint8_t kToState = 0xff;
    /// call: the state's flags become kRaw; their carry goes to bit 0 of cc_src2 (they stay what they are).
    const std::uint8_t *flags_to_raw = nullptr, *carry_to_src2 = nullptr;
    /// call: kArgSpill high half, next low half, kDataSpill divisor, kDataSpill + 2: bytes | signed << 8 | vector << 16.
    /// Returns quotient and remainder in kArgSpill and the next.
    const std::uint8_t *divide = nullptr;
    /// call: the host's x87 gets the guest's state; puts it back into the guest's fields when the host has it.
    const std::uint8_t *x87_load = nullptr, *x87_save = nullptr;
    /// call: address in kArgSpill, operand bytes in the next. Memory to kDataSpill; kDataSpill to memory. The host's x87 may have
    /// lost the guest's state afterwards.
    const std::uint8_t *x87_read = nullptr, *x87_write = nullptr;
    /// call: address in kArgSpill, LaneAccess in the next; VcpuCold::lanes has the rest and gets the result.
    const std::uint8_t *lanes = nullptr;
    /// call: exception vector in kArgSpill, error code in the next. Does not come back.
    const std::uint8_t *raise = nullptr;
    /// call: arguments in r10, r11 and spill kDataSpill + 2; result in r10. By helper.
    std::vector<const std::uint8_t *> helpers;
};

/// Returns bytes used, 0 when the buffer is too small. `context` must outlive the code.
std::size_t emit_thunks(CodeBuffer buffer, const RuntimeContext &context, Thunks &out);

} // namespace rhea::tcg::x64
