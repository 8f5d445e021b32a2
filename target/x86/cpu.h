// Cpu: everything behind one vCPU's CpuState that generated code never sees; what helpers find
// through CpuState::cpu_data.
//
// Helpers and the frontend share it. Only the vCPU's own thread touches it, except where a method
// says otherwise.
#pragma once
#include <array>
#include <cstdint>

#include "rhea/core/memory.h"
#include "rhea/target/x86/cpu_model.h"
#include "rhea/target/x86/registers.h"
#include "rhea/target/x86/state.h"
#include "rhea/tcg/frontend.h"
#include "watch.h"

namespace rhea::target::x86 {

/// As whom memory is accessed: the window modes of tcg::GuestFrontend::mode().
enum class As : std::uint8_t {
    kUser = 0,
    kSupervisor =
        1,  ///< SMAP applies (also every implicit access: descriptor tables, TSS, stack switches)
    kSupervisorAc = 2,  ///< explicit supervisor access while EFLAGS.AC lifts SMAP
};

/// Linear to physical translations of helpers' own accesses, because those often run as somebody
/// else than the present window: a few entries, forgotten whenever the TLB is flushed in whatever
/// way.
class LinearCache {
  public:
    static constexpr unsigned kEntries = 64;
    /// The physical page, or ~0 when unknown.
    std::uint64_t find(std::uint64_t page, As as, bool write) const {
        const Entry& e = entries_[index(page)];
        return e.key == key(page, as, write) && e.generation == generation_ ? e.physical : ~0ull;
    }
    void insert(std::uint64_t page, As as, bool write, std::uint64_t physical) {
        entries_[index(page)] = {key(page, as, write), generation_, physical};
    }
    void clear() { ++generation_; }

  private:
    struct Entry {
        std::uint64_t key = ~0ull, generation = 0, physical = 0;
    };
    static unsigned index(std::uint64_t page) { return (page >> 12) & (kEntries - 1); }
    static std::uint64_t key(std::uint64_t page, As as, bool write) {
        return page | static_cast<unsigned>(as) << 1 | static_cast<unsigned>(write);
    }
    std::array<Entry, kEntries> entries_{};
    std::uint64_t generation_ = 1;
};

struct Cpu {
    Cpu(CpuState& state, tcg::VcpuHost& vcpu_host, const CpuModel& cpu_model, unsigned cpu_index)
        : s(state), host(vcpu_host), memory(vcpu_host.memory()), model(cpu_model), index(cpu_index), mode(state.cold.mode_word) {}
    static Cpu& of(CpuState* state) { return *reinterpret_cast<Cpu*>(state->cpu_data); }

    CpuState& s;
    tcg::VcpuHost& host;
    core::AddressSpace& memory;  ///< host's
    const CpuModel& model;
    const unsigned index;
    std::uint32_t& mode;  ///< the mode word; kept by update_mode() and quick helpers
    std::array<std::uint64_t, 4>
        pdpte{};                ///< PAE page directory pointers as loaded by the last CR3 write
    bool pdptes_stale = false;  ///< after a snapshot was loaded: read them at the next walk
    LinearCache linear_cache;
    Watch watch;  ///< data and I/O breakpoints
    bool task_switched =
        false;  ///< a task switch passed the point of no return: faults are the new task's
    bool task_trap = false;  ///< the new task's TSS has the T bit: #DB when the switch is done
    bool shutdown = false;   ///< triple fault inside a helper; reported by check_requests()
    mutable std::size_t range_hint =
        0;  ///< where the last physical address was found in the flat view

    bool code64() const { return (mode & kModeCode64) != 0; }
    bool long_active() const { return (s.efer & kEferLMA) != 0; }
    bool protected_mode() const { return (s.cr0 & kCr0PE) != 0; }  ///< VM86 included
    bool vm86() const { return (s.rflags & kFlagVM) != 0; }
    unsigned iopl() const { return (s.rflags >> 12) & 3; }
    As as_current() const { return static_cast<As>(mode & kModeWindowMask); }
    /// The instruction pointer as an offset in CS.
    std::uint64_t eip() const {
        return code64() ? s.head.pc : (s.head.pc - s.seg_base[kCs]) & 0xffffffff;
    }
    /// Goes on at offset `ip` in the present CS.
    void set_eip(std::uint64_t ip) {
        s.head.pc = code64() ? ip : (ip + s.seg_base[kCs]) & 0xffffffff;
    }

    /// The range of the present memory map that holds the physical address, or null. Valid until
    /// the next safe point.
    const core::FlatRange* find_range(core::hwaddr physical) const {
        const core::FlatView& view = memory.view();
        if (range_hint < view.ranges.size()) {
            const core::FlatRange& hint = view.ranges[range_hint];
            if (physical - hint.start < hint.size)
                return &hint;
        }
        return find_other_range(view, physical);
    }
    core::hwaddr a20(core::hwaddr physical) const {
        return s.a20_masked ? physical & ~(1ull << 20) : physical;
    }

    /// The guest's time stamp counter: a tick a nanosecond of guest time.
    std::uint64_t tsc() const { return static_cast<std::uint64_t>(host.guest_ns()) + s.tsc_offset; }
    std::uint32_t apic_id() const { return model.topology.apic_id(index); }

    // TLB maintenance: the host's and our own.
    void flush_tlb(bool keep_global);
    void flush_tlb_page(std::uint64_t linear);

  private:
    const core::FlatRange* find_other_range(const core::FlatView& view, core::hwaddr physical) const;
};

/// The mode word that the registers imply.
std::uint32_t compute_mode(const CpuState& s);
/// Brings Cpu::mode in line after a change of anything that compute_mode() reads; tells the host
/// when it differs.
void update_mode(Cpu& cpu);

/// RFLAGS in one piece, from the lazy triple, `df` and `rflags`.
std::uint64_t read_rflags(const CpuState& s);
/// Replaces the bits of `mask`. The caller calls update_mode() when TF, VM, AC or IOPL may have
/// changed.
void write_rflags(CpuState& s, std::uint64_t value, std::uint64_t mask);
inline constexpr std::uint64_t kAllFlags = 0x3f7fd5;

}  // namespace rhea::target::x86
