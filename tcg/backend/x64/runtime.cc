#include "tcg/backend/x64/runtime.h"

#include "tcg/backend/interp/interp_lanes.h"
#include "tcg/backend/x64/side_table.h"

#include <bit>

namespace rhea::tcg::x64::runtime {
namespace {

VcpuCold &cold_of(const RuntimeContext *context, VcpuHead *state) {
    return *reinterpret_cast<VcpuCold *>(reinterpret_cast<std::uint8_t *>(state) + context->layout->cold_offset);
}

struct Quotient {
    bool fits = false;
    std::uint64_t quotient = 0, remainder = 0;
};

std::uint64_t truncate(std::uint64_t v, unsigned bits) { return bits == 64 ? v : v & ((1ull << bits) - 1); }

Quotient divide_unsigned(unsigned __int128 dividend, std::uint64_t divisor, unsigned bits) {
    if (divisor == 0)
        return {};
    const unsigned __int128 q = dividend / divisor;
    if (q >> bits)
        return {};
    return {true, static_cast<std::uint64_t>(q), static_cast<std::uint64_t>(dividend % divisor)};
}

Quotient divide_signed(unsigned __int128 dividend, std::uint64_t divisor, unsigned bits) {
    // On magnitudes: the most negative values have no negation in their own type.
    const unsigned dividend_bits = bits * 2;
    const bool minus_n = (dividend >> (dividend_bits - 1)) & 1;
    const bool minus_d = (divisor >> (bits - 1)) & 1;
    const unsigned __int128 mask =
        dividend_bits == 128 ? ~static_cast<unsigned __int128>(0) : (static_cast<unsigned __int128>(1) << dividend_bits) - 1;
    const unsigned __int128 n = minus_n ? (-dividend) & mask : dividend;
    const std::uint64_t d = minus_d ? truncate(-divisor, bits) : divisor;
    if (d == 0)
        return {};
    const unsigned __int128 q = n / d;
    const auto r = static_cast<std::uint64_t>(n % d);
    const bool minus_q = minus_n != minus_d;
    const unsigned __int128 limit = static_cast<unsigned __int128>(1) << (bits - 1);
    if (q > limit || (q == limit && !minus_q))
        return {};
    const auto low = static_cast<std::uint64_t>(q);
    return {true, truncate(minus_q ? -low : low, bits), truncate(minus_n ? -r : r, bits)};
}

} // namespace

const std::uint8_t *evaluate_flags(const RuntimeContext *context, VcpuHead *state, const std::uint8_t *code) {
    const std::uint8_t where = *code++;
    const std::uint32_t flags = evaluate(*context->layout, state, code);
    if (where == Thunks::kToState)
        set_raw_flags(*state, flags);
    else
        cold_of(context, state).spill[where] = flags;
    return code;
}

void flags_to_raw(const RuntimeContext *, VcpuHead *state) { set_raw_flags(*state, compute_flags(*state)); }

void carry_to_src2(const RuntimeContext *context, VcpuHead *state) {
    flags_to_raw(context, state);
    state->cc_src2 = state->cc_dst & kCF;
}

void divide(const RuntimeContext *context, VcpuHead *state) {
    VcpuCold &cold = cold_of(context, state);
    const std::uint64_t how = cold.spill[kDataSpill + 2];
    const unsigned bits = (how & 0xff) * 8;
    const std::uint64_t high = truncate(cold.spill[kArgSpill], bits);
    const std::uint64_t low = truncate(cold.spill[kArgSpill + 1], bits);
    const std::uint64_t divisor = truncate(cold.spill[kDataSpill], bits);
    const unsigned __int128 dividend = (static_cast<unsigned __int128>(high) << bits) | low;
    const Quotient result =
        how & 0x100 ? divide_signed(dividend, divisor, bits) : divide_unsigned(dividend, divisor, bits);
    if (!result.fits) {
        context->guest->raise(state, static_cast<unsigned>(how >> 16), ~0ull);
        return;
    }
    cold.spill[kArgSpill] = result.quotient;
    cold.spill[kArgSpill + 1] = result.remainder;
}

void raise(const RuntimeContext *context, VcpuHead *state) {
    const VcpuCold &cold = cold_of(context, state);
    context->guest->raise(state, static_cast<unsigned>(cold.spill[kArgSpill]), cold.spill[kArgSpill + 1]);
}

void probe_write(const RuntimeContext *context, VcpuHead *state) {
    VcpuCold &cold = cold_of(context, state);
    const std::uint64_t how = cold.spill[kArgSpill + 1];
    void *host = context->memory.probe_write(state, cold.spill[kArgSpill], how & 0xff, static_cast<unsigned>(how >> 8));
    cold.spill[kDataSpill] = reinterpret_cast<std::uint64_t>(host);
}

void lanes(const RuntimeContext *context, VcpuHead *state) {
    VcpuCold &cold = cold_of(context, state);
    ++cold.stat_slow_loads;
    const LaneAccess access = LaneAccess::unpack(cold.spill[kArgSpill + 1]);
    interp::LaneSlots slots;
    if (access.kind == LaneAccess::Kind::kGather) {
        const auto at = [&](unsigned slot) { // a fault takes pinned registers from where they are saved
            const SlotPlace &place = context->layout->slots[slot];
            return place.xmm >= 0 ? cold.vector_save[place.xmm] : reinterpret_cast<std::uint8_t *>(state) + place.disp + kStateBias;
        };
        slots = {{at(access.data_low), at(access.data_high)}, {at(access.mask_low), at(access.mask_high)}};
    }
    interp::Memory memory(*state, context->layout->cold_offset, context->memory);
    interp::access_lanes(memory, access, cold.spill[kArgSpill], cold.lanes, slots);
}

void x87_read(const RuntimeContext *context, VcpuHead *state) {
    VcpuCold &cold = cold_of(context, state);
    ++cold.stat_slow_loads;
    context->memory.load(state, cold.spill[kArgSpill], static_cast<unsigned>(cold.spill[kArgSpill + 1]), 0,
                         &cold.spill[kDataSpill]);
}

void x87_write(const RuntimeContext *context, VcpuHead *state) {
    VcpuCold &cold = cold_of(context, state);
    ++cold.stat_slow_stores;
    context->memory.store(state, cold.spill[kArgSpill], static_cast<unsigned>(cold.spill[kArgSpill + 1]), 0,
                          &cold.spill[kDataSpill]);
}

void atomic(const RuntimeContext *context, VcpuHead *state) {
    VcpuCold &cold = cold_of(context, state);
    interp::Memory memory(*state, context->layout->cold_offset, context->memory);
    const auto size = static_cast<unsigned>(cold.spill[kArgSpill + 1] & 0xff);
    std::uint64_t old = 0;
    memory.atomic(static_cast<ir::Op>(cold.spill[kDataSpill + 2]), cold.spill[kArgSpill], size, cold.spill[kDataSpill],
                  cold.spill[kDataSpill + 1], old);
    cold.spill[kDataSpill] = old;
}

} // namespace rhea::tcg::x64::runtime
