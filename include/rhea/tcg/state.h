// The head of every guest state structure, and the window in which a vCPU's state and TLBs lie.
//
// Windows. One vCPU owns kContexts * kModesPerContext windows of 1 MiB of address space, each aligned so. The
// first pages of all windows of a vCPU are the SAME memory (one memfd mapped many times; where that is forbidden, one
// window only): the state structure. The rest of a window is its own: the software TLB and the jump cache of one address space context
// in one privilege mode (0 user, 1 kernel, 2 kernel with AC set under SMAP). Switching context or mode is therefore
// one change of the state register and nothing else. C++ code uses the first window's mapping as the canonical address.
//
// The tables are large, so that large working sets fit, and cost what is used of them: their pages are zero, which means
// empty but for the few entries whose index is that of address 0 (invalid_tag() and so on).
//
// The state register points at window + kStateRegOffset; its low 16 bits are the BEXTR control word that extracts a
// TLB index from an address (start 12, length 14), so the TLB check needs no register for it.
#pragma once
#include "rhea/tcg/lane_access.h"

#include <cstddef>
#include <cstdint>

namespace rhea::tcg {

inline constexpr unsigned kTlbBits = 14;
inline constexpr unsigned kTlbEntries = 1u << kTlbBits;
inline constexpr unsigned kVictims = 2048;
inline constexpr unsigned kJumpCacheBits = 14;
inline constexpr unsigned kJumpCacheEntries = 1u << kJumpCacheBits;
inline constexpr std::uint32_t kWindowSize = 0x100000;
inline constexpr unsigned kContexts = 8;
inline constexpr unsigned kModesPerContext = 3;
inline constexpr unsigned kWindows = kContexts * kModesPerContext;

/// Offsets in a window.
inline constexpr std::uint32_t kStateOffset = 0x0d80;   ///< the state structure
inline constexpr std::uint32_t kStatePagesSize = 0x3000; ///< shared between all windows
inline constexpr std::uint32_t kStateRegOffset = (kTlbBits << 8) | 12; ///< 0x0e0c
inline constexpr std::uint32_t kCodePageOffset = 0x8000; ///< CodePageLine[kCodePageLines]
inline constexpr std::uint32_t kVictimOffset = 0x10000; ///< VictimEntry[kVictims]
inline constexpr std::uint32_t kJumpOffset = 0x20000;   ///< JumpEntry[kJumpCacheEntries]
// The arrays' distances are no multiples of 4 KiB: a page's entries in them then share no set of the host's cache.
inline constexpr std::uint32_t kReadTagOffset = 0x60000; ///< uint64_t[kTlbEntries]: linear page base, or invalid_tag()
inline constexpr std::uint32_t kWriteTagOffset = 0x80400;
inline constexpr std::uint32_t kAddendOffset = 0xa0800;  ///< uint64_t[kTlbEntries]: host address minus linear address
inline constexpr std::uint32_t kExecTagOffset = 0xc0c00; ///< for C++ lookups only
static_assert(kExecTagOffset + kTlbEntries * 8 <= kWindowSize && kJumpOffset + kJumpCacheEntries * 16 <= kReadTagOffset);
/// Displacement from the state register of the state structure's byte 0: disp8 reaches bytes 12 to 267 of it.
inline constexpr std::int32_t kStateBias = static_cast<std::int32_t>(kStateRegOffset - kStateOffset); ///< 140

constexpr unsigned tlb_index(std::uint64_t linear) { return (linear >> 12) & (kTlbEntries - 1); }
/// The tag of an empty slot: a page that belongs to another slot, so that no access here is near. Zero but for one.
constexpr std::uint64_t invalid_tag(unsigned index) { return index == 0 ? 0x1000 : 0; }

/// A page that another one displaced from the TLB. Slow paths look here before they call C++.
struct VictimEntry {
    std::uint64_t read_tag = 0, write_tag = 0; ///< linear page base, or invalid_victim_tag()
    std::uint64_t addend = 0;
    std::uint64_t global = 0;
};
static_assert(sizeof(VictimEntry) == 32);
constexpr unsigned victim_index(std::uint64_t linear) { return ((linear >> 10 ^ linear) >> 12) & (kVictims - 1); }
constexpr std::uint64_t invalid_victim_tag(unsigned index) { return index == 0 ? 0x1000 : 0; }

/// A page that holds code and that something was stored to beside the code: slow paths store there by themselves where no
/// 64-byte granule with translated bytes is touched, or where the same store is known to hit no block.
struct CodePageLine {
    static constexpr unsigned kStores = 8;
    std::uint64_t tag = 0; ///< linear page base, or invalid_victim_tag()
    std::uint64_t addend = 0;
    std::uint64_t granules = 0; ///< bit n: bytes 64 n and following may be translated
    std::uint32_t stores[kStores] = {}; ///< store_key() of stores to such granules that hit no block
    std::uint64_t turn = 0; ///< which of them is the next to be forgotten
    /// Of a store of `bytes` to that offset in the page; never 0.
    static constexpr std::uint32_t store_key(std::uint32_t offset, unsigned bytes) { return offset << 6 | bytes; }
};
static_assert(sizeof(CodePageLine) == 64);
inline constexpr unsigned kCodePageLines = 16;
constexpr unsigned code_page_index(std::uint64_t linear) { return (linear >> 12) & (kCodePageLines - 1); }

/// A line of the jump cache: where the block at a linear pc has its code. A pc's entry is in the line of its index, or in one of the
/// three beside it (of the same 64 bytes), where entries go that another one displaces. Generated code looks at the first, its slow
/// path at all four.
struct JumpEntry {
    std::uint64_t pc = 0; ///< or invalid_pc()
    std::uint64_t host = 0;
};
/// Without pc's lowest bit: generated code masks that and has twice the index.
constexpr unsigned jump_cache_index(std::uint64_t pc) { return (((pc >> kJumpCacheBits) ^ pc) >> 1) & (kJumpCacheEntries - 1); }
inline constexpr std::int32_t kJumpIndexMask = (kJumpCacheEntries - 1) << 1;
inline constexpr unsigned kJumpWays = 4;
/// What an empty line holds: a pc that belongs elsewhere.
constexpr std::uint64_t invalid_pc(unsigned index) { return index < kJumpWays ? 8 : 0; }

/// How the lazy flags triple is to be read (cc_op = kind * 4 + log2(operand bytes)).
enum class FlagsKind : std::uint8_t {
    kRaw,   ///< cc_dst: the RFLAGS bits (the only kind with other flags than a fresh arithmetic result)
    kAdd,   ///< cc_dst = r, cc_src = b
    kSub,   ///< cc_dst = r, cc_src = b
    kCmp,   ///< cc_dst = a, cc_src = b
    kLogic, ///< cc_dst = r
    kAdc,   ///< cc_dst = r, cc_src = b, cc_src2 = carry in (0 or 1)
    kSbb,
    kInc,   ///< cc_dst = r, cc_src2 = carry (0 or 1)
    kDec,
    kShl,   ///< cc_dst = a, cc_src2 = count (masked, not 0)
    kShr,
    kSar,
    kMulO,  ///< cc_dst = low half, cc_src = overflow (bit 0): CF and OF
};
/// In cc_op: the carry is bit 0 of cc_src2, whatever the kind says. Only with kinds that leave cc_src2 alone (to kLogic).
inline constexpr std::uint32_t kCarryOverride = 0x80;
/// In cc_op: OF is bit 1 of cc_src2 (and CF bit 0), whatever the kind says: behind rotates. With kinds to kLogic together with
/// kCarryOverride; with kInc and kDec, whose carry lies in cc_src2 anyway, alone.
inline constexpr std::uint32_t kOverflowOverride = 0x100;
constexpr std::uint32_t cc_op(FlagsKind kind, unsigned bytes) {
    return static_cast<std::uint32_t>(kind) * 4 + (bytes == 8 ? 3 : bytes == 4 ? 2 : bytes == 2 ? 1 : 0);
}

/// First member of every guest state structure (offset 0). Standard layout.
struct alignas(16) VcpuHead {
    std::uint64_t canonical_state = 0; ///< address of this structure in window 0 (argument 1 of helpers)
    std::uint64_t host_sp = 0;         ///< host stack pointer inside generated code; 16-byte aligned at calls
    std::uint32_t exit_request = 0;    ///< not 0: leave at the next poll. Written by other threads (atomic_ref)
    std::uint32_t exception_pending = 0; ///< set by a helper that faults; the run loop delivers
    std::uint64_t pc_page = 0;         ///< linear page base of the block being run
    std::uint64_t cc_dst = 0, cc_src = 0, cc_src2 = 0; ///< lazy flags
    std::uint32_t cc_op = 0;
    std::uint32_t guest_mxcsr = 0x1f80;
    std::uint64_t pc = 0;              ///< linear pc: valid outside generated code and where a helper asks for it
    // Beyond here nothing hot; guest integer slots should follow within disp8 reach.
};
static_assert(sizeof(VcpuHead) == 80);

/// The window of a privilege mode in the current context, and the mode word that its jump cache holds for (kNoMode: ask C++).
struct ModeWindow {
    static constexpr std::uint64_t kNoMode = ~0ull;
    std::uint64_t mode_word = kNoMode;
    std::uint64_t window = 0;
};

/// Cold part; sits anywhere in the state structure at a fixed offset that the back end is told.
struct VcpuCold {
    std::uint64_t window = 0;          ///< address of the window to run in (context and mode)
    std::uint32_t mode_word = 0;       ///< the frontend's; may change with `window` where mode_windows has it
    ModeWindow mode_windows[kModesPerContext]; ///< by privilege mode
    std::uint64_t spill[32] = {};      ///< the back end's spill slots
    alignas(32) std::uint8_t vector_spill[16][32] = {};
    alignas(32) std::uint8_t vector_save[16][32] = {}; ///< pinned vector registers while a slow path runs
    std::uint64_t host_regs[16] = {};  ///< integer registers as slow paths saved them, by host register number
    std::uint64_t exit_site = 0;       ///< which exit generated code left by (see CodeExit)
    std::uint64_t slow_site = 0;       ///< host return address of the slow path being served
    std::uint32_t host_mxcsr = 0x1f80;
    std::uint64_t vcpu = 0;            ///< the accel/tcg vCPU object
    std::uint32_t requests = 0;        ///< not 0: the run loop has something to look at. Other threads write it (atomic_ref)
    static constexpr unsigned kMaxHelpers = 256;
    static constexpr unsigned kLoopHeats = 256;
    static constexpr std::uint32_t kLoopHeat = 1u << 20; ///< a turn adds so much: one in 4,096 carries
    std::uint32_t loop_heat[kLoopHeats] = {}; ///< turns of loops to their own block's head, by page offset
    std::uint64_t stat_insns = 0;      ///< guest instructions that ran, where CodeGenerator::count_instructions was asked for
    std::uint64_t stat_helper_calls[kMaxHelpers] = {}; ///< by helper; those beyond share the last one
    std::uint64_t stat_slow_loads = 0, stat_slow_stores = 0, stat_jump_misses = 0, stat_victims = 0;
    LaneArea lanes;                    ///< of the masked load or store, or the gather, that is running
};

} // namespace rhea::tcg
