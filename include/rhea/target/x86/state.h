// The x86 guest state structure: what generated code addresses by slot, helpers by name, and snapshots by field.
//
// Lives at kStateOffset of a vCPU's windows. Standard layout; field order puts hot slots within a byte displacement of the
// state register. Register and bit names as in the Intel SDM.
#pragma once
#include "rhea/tcg/state.h"
#include "rhea/tcg/types.h"

#include <cstddef>
#include <cstdint>

namespace rhea::target::x86 {

enum Reg : unsigned { kRax, kRcx, kRdx, kRbx, kRsp, kRbp, kRsi, kRdi, kR8, kR9, kR10, kR11, kR12, kR13, kR14, kR15 };
enum Seg : unsigned { kEs, kCs, kSs, kDs, kFs, kGs, kSegCount };

/// A segment register with its hidden part. attr: descriptor bits 55:40 (type, S, DPL, P at bits 7:0; AVL, L, D/B, G at bits 15:12).
/// limit is in bytes (granularity already applied). Base lies in CpuState::seg_base for generated code.
struct SegmentCache {
    std::uint16_t selector;
    std::uint16_t attr;
    std::uint32_t limit;
};

struct DescriptorTable {
    std::uint64_t base;
    std::uint32_t limit;
};

struct alignas(32) VectorRegister {
    std::uint64_t lane[4]; ///< lanes 0 and 1 are XMM, 2 and 3 the upper half of YMM
};

struct alignas(16) X87Register {
    std::uint64_t mantissa; ///< MMX MMn aliases this field
    std::uint16_t sign_exponent;
};

/// From where on the host's counter tells the guest's TSC for a moment: target/x86/tsc_anchor.h. Not saved.
struct TscAnchor {
    static constexpr unsigned kScaleBits = 32;
    std::uint64_t host, guest; ///< counters at the same moment
    std::uint64_t span;        ///< host ticks from there on that count; 0: none do
    std::uint64_t scale;       ///< guest ticks in a host tick, as a fraction
    std::uint64_t offset;      ///< CpuState::tsc_offset then
    std::uint64_t base_host, base_guest; ///< where the measurement of the rate began
};

/// Arithmetic flags live in the head's lazy triple and DF in `df`; everything else of RFLAGS in `rflags`.
struct CpuState {
    tcg::VcpuHead head;
    std::uint64_t gpr[16];
    std::uint64_t seg_base[kSegCount]; ///< by Seg
    std::uint64_t df;                  ///< +1 or -1 (as i64): what string instructions add per byte
    // ---- offset 264: the rest needs longer displacements
    std::uint64_t rflags;              ///< TF IF IOPL NT RF VM AC VIF VIP ID; bit 1 set; arithmetic bits and DF zero here
    VectorRegister xmm[16];
    X87Register fpr[8];                ///< physical registers R0..R7; ST(i) is fpr[(top + i) & 7]
    std::uint16_t fcw, fsw, ftw;       ///< fsw without TOP; ftw: one bit a register, 1 = empty
    std::uint16_t fcs;
    std::uint32_t fpu_top;
    std::uint64_t fip_page, fdp;       ///< FIP is fip_page + the upper half of fpu_place
    std::uint32_t fpu_place;           ///< FOP in the lower half
    std::uint16_t fds;
    SegmentCache seg[kSegCount];
    SegmentCache ldt, tr;
    std::uint64_t ldt_base, tr_base;
    DescriptorTable gdt, idt;
    std::uint64_t cr0, cr2, cr3, cr4, cr8, xcr0;
    std::uint64_t dr[8];
    std::uint64_t efer, star, lstar, cstar, sfmask, kernel_gs_base;
    std::uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    std::uint64_t pat, tsc_aux, misc_enable, tsc_offset, tsc_adjust, smbase, spec_ctrl;
    std::uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_base[8], mtrr_mask[8], mcg_status, mcg_ctl, mci[4 * 10];
    std::uint64_t microcode_rev;
    // Exception being raised (head.exception_pending != 0).
    std::uint32_t exception_vector;
    std::uint32_t exception_error_code;
    std::uint8_t exception_has_error_code;
    std::uint8_t exception_is_software; ///< INT n, INT3, INTO: checks DPL, pushes the next pc
    std::uint8_t exception_next_length; ///< bytes to add to pc for the pushed return address (software, traps)
    std::uint8_t exception_resumes;     ///< a trap between the elements of a repeated string instruction: pushes RF set
    std::uint64_t exception_cr2;
    std::uint64_t exception_dr6;
    std::uint8_t interrupt_shadow;      ///< STI or MOV SS: no interrupt before the next instruction is done
    std::uint8_t nmi_blocked;
    std::uint8_t smm;
    std::uint8_t halted;
    std::uint8_t a20_masked;
    std::uint8_t wait_for_sipi;
    std::uint8_t cpl;
    std::uint64_t cpu_data;             ///< address of the owning target::x86 object
    tcg::VcpuCold cold;
    TscAnchor tsc_anchor;
    std::uint32_t x87_live;            ///< tcg::X87Guest; 0 outside generated code
    alignas(16) std::uint8_t x87_image[tcg::kX87ImageSize];
};
static_assert(offsetof(CpuState, gpr) == 80);
static_assert(offsetof(CpuState, seg_base) == 208);
static_assert(offsetof(CpuState, df) == 256);
static_assert(sizeof(CpuState) <= tcg::kStatePagesSize - tcg::kStateOffset);

/// Slot numbers of GuestDescription::slots.
enum SlotId : tcg::Slot {
    kSlotGpr = 0,        ///< + Reg, i64
    kSlotSegBase = 16,   ///< + Seg, i64
    kSlotDf = 22,        ///< i64
    kSlotRflags = 23,    ///< i64
    kSlotXmm = 24,       ///< + n, v128
    kSlotMxcsr = 40,     ///< i32
    kSlotFpr = 41,       ///< + n, i64: mantissas, by physical number (MMX)
    kSlotFpuTop = 49,    ///< i32
    kSlotFtw = 50,       ///< i16
    kSlotFsw = 51,       ///< i16
    kSlotFcw = 52,       ///< i16
    kSlotCr0 = 53, kSlotCr2, kSlotCr3, kSlotCr4, ///< i64
    kSlotSelector = 57,  ///< + Seg, i16
    kSlotKernelGsBase = 63, ///< i64
    kSlotTscAux = 64,    ///< i64
    kSlotFprHigh = 65,   ///< + n, i16: sign and exponent, by physical number
    kSlotFipPage = 73,   ///< i64
    kSlotFdp,            ///< i64
    kSlotFpuPlace,       ///< i32
    kSlotFcs, kSlotFds,  ///< i16
    kSlotYmmHigh = 78,   ///< + n, v128: bits 255:128 of YMM
    kSlotCount = 94
};

/// Bits of the mode word (block key). Bits 1:0: window mode.
enum ModeBits : std::uint32_t {
    kModeWindowMask = 3,      ///< 0 user, 1 kernel, 2 kernel with EFLAGS.AC under SMAP
    kModeCpl3 = 1u << 2,
    kModeCode32 = 1u << 3,    ///< CS.D
    kModeCode64 = 1u << 4,    ///< long mode with CS.L
    kModeStack32 = 1u << 5,   ///< SS.B
    kModeProtected = 1u << 6, ///< CR0.PE and not VM86
    kModeVm86 = 1u << 7,
    kModeLongActive = 1u << 8,///< EFER.LMA
    kModeCsBaseZero = 1u << 9,
    kModeDataFlat = 1u << 10, ///< DS, ES, SS: base 0
    kModeSegChecks = 1u << 11,///< some data segment needs limit or type checks on access (never in 64-bit code)
    kModeTf = 1u << 12,       ///< one instruction a block, then #DB
    kModeFpuTrap = 1u << 13,  ///< CR0.EM or TS: x87/SSE instructions raise #NM/#UD through their helpers
    kModeSimdOff = 1u << 14,  ///< CR4.OSFXSR clear or CR0.EM set: SSE is #UD
    kModeFpUnmasked = 1u << 15, ///< some SSE exception is unmasked
    kModeShadow = 1u << 16,   ///< interrupt shadow: one instruction a block
    kModeIopl = 1u << 17,     ///< CPL <= IOPL
    kModeSmm = 1u << 18,
    kModeBreakpoints = 1u << 19, ///< DR7 enables an instruction breakpoint: one instruction a block, checked
    kModeCsLimit = 1u << 20,  ///< CS limit below 4 GiB: fetches and jumps are checked
    kModeUmip = 1u << 21,
    kModeXsave = 1u << 22,    ///< CR4.OSXSAVE set: else XSAVE and its family are #UD
    kModeAvx = 1u << 23,      ///< CR4.OSXSAVE set and XCR0 with SSE and AVX: else VEX vectors are #UD
    kModeTaskSwitched = 1u << 24, ///< CR0.TS
    kModeX87Unmasked = 1u << 25, ///< some x87 exception is unmasked: x87 instructions are helper calls
    kModeAlignCheck = 1u << 26,  ///< CPL 3 with CR0.AM and EFLAGS.AC: misaligned data is #AC
    kModeFsNull = 1u << 27,      ///< protected mode outside 64-bit code, FS is null: accesses by it are checked
    kModeGsNull = 1u << 28,
    kModeWindowShift = 0
};

} // namespace rhea::target::x86
