// A guest architecture as the translator's run loop sees it.
#pragma once
#include "rhea/core/boot_state.h"
#include "rhea/core/local_apic_port.h"
#include "rhea/core/memory.h"
#include "rhea/core/vcpu.h"
#include "rhea/tcg/ir.h"
#include "rhea/tcg/state.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace rhea::tcg {

/// What the frontend may ask of the run loop that hosts it (implemented by accel/tcg's vCPU). Vcpu thread only.
class VcpuHost {
public:
    virtual ~VcpuHost() = default;
    virtual core::AddressSpace &memory() = 0;
    virtual core::AddressSpace &io() = 0;
    /// Forgets translations: all of them (optionally sparing global ones), or one linear page in the current (or all)
    /// contexts. Takes effect before the next guest instruction.
    virtual void flush_tlb(bool keep_global) = 0;
    virtual void flush_tlb_page(std::uint64_t linear) = 0;
    /// The address space changed to `root` (CR3 without flags) tagged `pcid`: picks a context that holds it, or the least
    /// recently used one. keep: bit 63 of CR3, entries of that context stay valid; else its non-global entries are dropped.
    virtual void switch_address_space(std::uint64_t root, std::uint32_t pcid, bool keep) = 0;
    /// INVPCID and friends: drops entries of one address space tag (all_pcids: of every one).
    virtual void flush_pcid(std::uint32_t pcid, bool all_pcids, bool keep_global) = 0;
    virtual void flush_pcid_page(std::uint32_t pcid, std::uint64_t linear) = 0;
    /// The mode word (privilege, code size, …) may have changed: choose window and jump cache anew.
    virtual void mode_changed() = 0;
    virtual std::uint32_t requests() const = 0;        ///< core::VcpuRequest bits
    virtual void clear_request(std::uint32_t bits) = 0;
    virtual core::LocalApicPort *apic() = 0;           ///< null: no interrupt controller (flat tests)
    virtual void request_machine_reset() = 0;
    virtual unsigned index() const = 0;
    /// CLOCK_MONOTONIC-based guest time, nanoseconds (stops with the VM).
    virtual std::int64_t guest_ns() const = 0;
    /// True: no other vCPU runs until this instruction is done, so that what it does in several steps is atomic. False: the
    /// instruction will be started again so; the helper returns at once, with nothing changed.
    virtual bool alone() { return true; }
    /// PAUSE: the guest waits for another CPU in a loop.
    virtual void spin() {}
    /// Which pages are watched has changed (GuestFrontend::watched_page); `some`: there are any.
    virtual void watching(bool some) { (void)some; }
};

/// head.exception_pending: not a guest exception; the instruction at head.pc is to be run alone, uncached, because it
/// stores into the block that it is part of, or touches what is watched.
inline constexpr std::uint32_t kRestartSingle = 0xffff;
/// Likewise, while no other vCPU runs: it is atomic in the guest, and not in one access of the host.
inline constexpr std::uint32_t kRestartAlone = 0xfffe;

enum class Access : std::uint8_t { kRead, kWrite, kExecute };

/// A successful page walk.
struct Translation {
    core::hwaddr physical = 0;     ///< of the linear address asked for
    std::uint64_t page_size = 4096;
    bool readable = true, writable = false, executable = false; ///< in the mode asked for; writable only when the dirty bit is set
    bool global = false;
    bool linear = true;            ///< the whole page of page_size is mapped in one piece (x86: not while A20 is masked)
};

/// Bytes that the decoder reads.
struct FetchWindow {
    const std::uint8_t *page = nullptr;      ///< host pointer to the page that holds pc
    const std::uint8_t *next_page = nullptr; ///< the linear next page, or null when it may not be fetched from
    std::uint16_t page_offset = 0;           ///< of pc
    bool short_lived = false;                ///< the code will soon be another: translate nothing twice, rather than for speed
    bool hot = false;                        ///< the block runs often: a loop to its own head is to be unrolled
    /// Bytes of the page that are stored to again and again. Where they lie in an instruction's immediate or displacement, the frontend
    /// may have that read from `running_page` as it runs (code_field, Block::fields), so that such a store leaves the block alone.
    std::span<const ir::CodeField> patched = {};
    const std::uint8_t *running_page = nullptr; ///< the page's host address for as long as there is the block
};

/// Why translation stopped before the first instruction was complete.
enum class TranslateStatus : std::uint8_t {
    kOk,
    kNeedNextPage, ///< the first instruction reaches into the next page and next_page is null: walk it (it may fault) and retry
};

/// One vCPU of a guest architecture: state, MMU, exceptions, translation. Everything in the vCPU's thread.
class GuestFrontend {
public:
    virtual ~GuestFrontend() = default;

    virtual const GuestDescription &description() const = 0;
    /// Size of the state structure, and the offset of VcpuCold in it. The run loop allocates the windows and then calls
    /// attach with the canonical address (zeroed memory).
    virtual std::size_t state_size() const = 0;
    virtual std::uint32_t cold_offset() const = 0;
    virtual void attach(VcpuHead *state, VcpuHost &host) = 0;

    /// The part of the block key that is not the address: everything that translation depends on. Bits 1:0 are the
    /// window's mode (0 user, 1 kernel, 2 kernel with AC).
    virtual std::uint32_t mode() const = 0;

    /// Translates from fetch.page_offset on into `block` (mode and page_offset are set by the caller): until the page ends, an
    /// instruction ends the block, or `max_insns`.
    virtual TranslateStatus translate(ir::Block &block, const FetchWindow &fetch, unsigned max_insns) = 0;

    /// Walks the page tables for the present mode (window_mode: bits 1:0 as in mode()). On a fault prepares the exception
    /// (head.exception_pending, error code, CR2) when `raise`, and returns false.
    virtual bool walk(std::uint64_t linear, Access access, unsigned window_mode, bool raise, Translation &out) = 0;
    /// Access to an address that no translation may have (not canonical): prepares the exception.
    virtual void raise_not_canonical(std::uint64_t linear) = 0;
    virtual void raise_alignment(std::uint64_t linear) = 0;
    /// Watchpoints of the guest's own. Is some byte of this linear address's page watched? Such a page must not enter a TLB.
    virtual bool watched_page(std::uint64_t linear) const { (void)linear; return false; }
    /// Before an access to such a page. False: not now, exception_pending says to start the instruction again by itself.
    virtual bool access_watched(std::uint64_t linear, unsigned size, bool write) {
        (void)linear, (void)size, (void)write;
        return true;
    }
    /// Round an instruction that is run by itself: its accesses to what is watched are done, and then become an exception.
    virtual void begin_single() {}
    virtual void end_single() {}
    /// Is the linear address one that can be translated at all?
    virtual bool canonical(std::uint64_t linear) const = 0;
    /// The linear address as the present mode computes it (x86 outside 64-bit code: modulo 2^32).
    virtual std::uint64_t wrap(std::uint64_t linear) const = 0;

    /// Delivers head.exception_pending at head.pc. Kinds of outcome as for check_requests.
    enum class Outcome : std::uint8_t { kRun, kHalt, kShutdown, kDebug };
    virtual Outcome deliver_exception() = 0;
    /// As deliver_exception(), in the usual cases only and from within a slow path: no floating point, no device, no change of the
    /// TLB. False: nothing has changed.
    virtual bool deliver_quickly() { return false; }
    /// Looks at requests (interrupts, NMI, SMI, INIT, SIPI) at an instruction boundary, delivers what can be, and says whether to
    /// run or to wait. Also called when generated code left because of exit_request.
    virtual Outcome check_requests() = 0;
    virtual bool has_work() const = 0;       ///< any thread: would check_requests() wake a halted vCPU?

    virtual void reset() = 0;
    virtual core::TscPort *tsc_port() = 0;
    virtual void set_boot_state(const core::X86BootState &state) = 0;
    virtual void serialize(core::Archive &archive) = 0;
    virtual std::string describe_registers() const = 0;
    virtual std::string disassemble(std::uint64_t pc, const std::uint8_t *bytes, std::size_t length) const = 0; ///< -d in_asm
};

} // namespace rhea::tcg
