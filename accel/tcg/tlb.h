// The software TLBs and jump caches of one vCPU: what lies in its windows, and which address space each one holds.
//
// A window belongs to (context, privilege mode); a context holds one PCID's translations. Only the vCPU's own thread
// touches it. See include/rhea/tcg/state.h for the layout.
#pragma once
#include "accel/tcg/second_tlb.h"
#include "rhea/tcg/frontend.h"
#include "rhea/tcg/state.h"

#include <array>
#include <bitset>
#include <cstdint>
#include <vector>

namespace rhea::accel {

class TlbSet {
public:
    /// `window0` is the address of the first window; `windows` 24, or 1 where aliases are not to be had.
    TlbSet(std::uint64_t window0, unsigned windows);

    /// Selects the window for a privilege mode in the current context, and returns its address.
    std::uint64_t select(unsigned mode);
    std::uint64_t current() const { return current_address_; }

    /// Both levels. `write`: code may store to it; `only_writable`: and no other entry of any window lets it.
    void fill(const PageEntry &entry, bool write, bool only_writable);
    /// Host address of the byte at `linear` when the current window has it in the first level, else null.
    const std::uint8_t *lookup(std::uint64_t linear, tcg::Access access) const;
    /// What the second level knows of the page in the current window.
    bool lookup_second(std::uint64_t linear, PageEntry &out) const {
        return window_[current_window_].second.find(linear & ~0xfffull, out);
    }
    const std::uint8_t *lookup_execute(std::uint64_t linear) const { return lookup(linear, tcg::Access::kExecute); }

    /// All contexts.
    void flush_all(bool keep_global);
    void flush_page(std::uint64_t linear);
    /// The context of `pcid` becomes current; without `keep` its non-global entries go.
    void switch_context(std::uint32_t pcid, bool keep);
    void flush_context(std::uint32_t pcid, bool keep_global);
    /// Stores to this host page must take the slow path from now on.
    void revoke_write(const std::uint8_t *host_page);
    void flush_jump_caches();
    /// `crosses`: the block reaches into the next page.
    void jump_cache_insert(std::uint64_t pc, const void *host, bool crosses);

    /// Changes whenever entries were dropped: what was learnt from a walk before no longer holds.
    std::uint64_t generation() const { return generation_; }
    std::uint64_t flushes() const { return flushes_; }
    std::uint64_t fills() const { return fills_; }

private:
    struct Window {
        bool in_use = false;         ///< its arrays are initialised
        std::bitset<tcg::kJumpCacheEntries> jumps_used, jumps_global; ///< entries that are set; that survive keep_global
        std::bitset<tcg::kVictims> victims_used;
        std::bitset<1024> jump_pages; ///< by page number: may an entry's code lie there?
        SecondTlb second;
        std::uint16_t used_count = 0; ///< entries of `used`; above its size: everything counts as used
        std::array<std::uint16_t, 256> used{};
        std::bitset<tcg::kTlbEntries> global;
    };
    struct Context {
        std::uint32_t pcid = 0;
        bool valid = false;
        std::uint64_t last_use = 0;
        /// Linear ranges that large pages covered (base, size): INVLPG inside one drops the whole context.
        std::vector<std::pair<std::uint64_t, std::uint64_t>> large;
    };

    /// Where the only entry is that lets code store to a page, so that revoking it need not look everywhere.
    struct Writer {
        std::uint64_t host_page = 0, linear_page = 0;
        std::uint16_t window = 0;
        bool several = false;
    };
    static constexpr unsigned kWriters = 256;
    Writer &writer_of(std::uint64_t host_page) { return writers_[(host_page >> 12) % kWriters]; }
    void note_writer(std::uint64_t host_page, unsigned window, std::uint64_t linear_page, bool only);

    std::uint64_t address(unsigned window) const { return window0_ + std::uint64_t{window} * tcg::kWindowSize; }
    std::uint64_t *array(unsigned window, std::uint32_t offset) const {
        return reinterpret_cast<std::uint64_t *>(address(window) + offset);
    }
    tcg::JumpEntry *jumps(unsigned window) const {
        return reinterpret_cast<tcg::JumpEntry *>(address(window) + tcg::kJumpOffset);
    }
    void clear_jumps(unsigned window);
    unsigned first_window(unsigned context) const { return windows_ == 1 ? 0 : context * tcg::kModesPerContext; }
    unsigned window_count() const { return windows_ == 1 ? 1 : tcg::kModesPerContext; }
    void clear_slot(unsigned window, unsigned slot);
    tcg::VictimEntry *victims(unsigned window) const {
        return reinterpret_cast<tcg::VictimEntry *>(address(window) + tcg::kVictimOffset);
    }
    void keep_victim(unsigned window, unsigned slot, std::uint64_t new_page);
    void clear_victims(unsigned window);
    void revoke_write_in(unsigned window, std::uint64_t host_page, unsigned slot, unsigned victim);
    void init_window(unsigned window);
    void flush_window(unsigned window, bool keep_global);
    void flush_jump_cache(unsigned window, bool keep_global = false);
    void flush_jumps_of_page(unsigned window, std::uint64_t page);
    void flush_context_index(unsigned context, bool keep_global);
    int find_context(std::uint32_t pcid) const;

    std::uint64_t window0_;
    unsigned windows_;
    std::vector<Window> window_;
    std::array<Context, tcg::kContexts> context_;
    unsigned current_context_ = 0;
    unsigned current_mode_ = 1;
    unsigned current_window_ = 0;
    std::uint64_t current_address_ = 0;
    std::uint64_t use_counter_ = 0;
    std::uint64_t flushes_ = 0, fills_ = 0, generation_ = 0;
    std::array<Writer, kWriters> writers_{};
};

} // namespace rhea::accel
