// The software TLBs and jump caches of one vCPU: what lies in its windows, and which address space each one holds.
//
// A window belongs to (context, privilege mode); a context holds one PCID's translations. The kernel's windows of all
// contexts are one as long as its pages are global: what differs between contexts is dropped at a switch. Only the
// vCPU's own thread touches it. See include/rhea/tcg/state.h for the layout.
#pragma once
#include "accel/tcg/large_spans.h"
#include "accel/tcg/page_marks.h"
#include "accel/tcg/second_tlb.h"
#include "accel/tcg/slot_set.h"
#include "accel/tcg/write_places.h"
#include "rhea/tcg/frontend.h"
#include "rhea/tcg/state.h"

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <vector>

namespace rhea::accel {

class TlbSet {
public:
    /// `window0` is the address of the first window; `windows` 24, or 1 where aliases are not to be had. `cold` says which
    /// window and mode are current, since quick helpers change them too: by mode_windows, which is kept here.
    TlbSet(std::uint64_t window0, unsigned windows, tcg::VcpuCold &cold);

    /// Selects the window for a mode word in the current context. Jump cache entries of the window that were made under
    /// another mode word go.
    void select(std::uint32_t mode_word);
    std::uint64_t current() const { return cold_.window; }

    /// Both levels. `write`: code may store to it; `only_writable`: and no other entry of any window lets it.
    void fill(const PageEntry &entry, bool write, bool only_writable);
    /// Host address of the byte at `linear` when the current window has it in the first level, else null.
    const std::uint8_t *lookup(std::uint64_t linear, tcg::Access access) const;
    /// What the second level knows of the page in the current window.
    bool lookup_second(std::uint64_t linear, PageEntry &out) const {
        return window(current_window()).second.find(linear & ~0xfffull, out);
    }
    const std::uint8_t *lookup_execute(std::uint64_t linear) const { return lookup(linear, tcg::Access::kExecute); }

    /// All contexts.
    void flush_all(bool keep_global);
    void flush_page(std::uint64_t linear); ///< of the current context, and global entries in all
    void flush_context_page(std::uint32_t pcid, std::uint64_t linear);
    /// The context of `pcid` becomes current; without `keep` its non-global entries go.
    void switch_context(std::uint32_t pcid, bool keep);
    void flush_context(std::uint32_t pcid, bool keep_global);
    /// Stores to this host page must take the slow path from now on. Its write entries are in no other lines than these.
    void revoke_write(const std::uint8_t *host_page, MarkedLines lines = MarkedLines::any());
    void flush_jump_caches();
    /// Code may store to those granules of a page with code that have no bit here, by the slow path's thunk; and, though its granule has
    /// one, as the store of `key` (CodePageLine::store_key; 0: none) does.
    void note_code_page(std::uint64_t linear_page, const std::uint8_t *host_page, std::uint64_t granules, std::uint32_t key);
    /// The page has new code: what note_code_page() was told no longer holds.
    void drop_code_page(const std::uint8_t *host_page);
    /// `crosses`: the block reaches into the next page.
    void jump_cache_insert(std::uint64_t pc, const void *host, bool crosses);

    /// Changes whenever entries were dropped: what was learnt from a walk before no longer holds.
    std::uint64_t generation() const { return generation_; }
    std::uint64_t flushes() const { return flushes_; }
    std::uint64_t fills() const { return fills_; }

private:
    using Slots = SlotSet<tcg::kTlbEntries>;
    using Jumps = SlotSet<tcg::kJumpCacheEntries>;
    using Victims = SlotSet<tcg::kVictims>;

    /// What is in a window's tables: first entries that end with their address space, then global ones.
    struct Window {
        std::array<Slots, 2> slots;
        std::array<Jumps, 2> jumps;
        std::array<Victims, 2> victims;
        std::bitset<16384> jump_pages; ///< by page number: may an entry's code lie there? A kernel has a thousand such pages
        std::uint32_t jump_mode = 0;  ///< mode word of all jump cache entries
        std::uint32_t code_pages = 0; ///< lines in use, as bits
        SecondTlb second;
        LargeSpans large; ///< INVLPG inside one drops the whole window
    };
    struct Context {
        std::uint32_t pcid = 0;
        bool valid = false;
        std::uint64_t last_use = 0;
    };

    Window &window(unsigned w) const { return *window_[w]; }
    unsigned current_window() const { return static_cast<unsigned>((cold_.window - window0_) / tcg::kWindowSize); }
    bool in_use(unsigned w) const { return window_[w] != nullptr; }
    std::uint64_t address(unsigned w) const { return window0_ + std::uint64_t{w} * tcg::kWindowSize; }
    std::uint64_t *array(unsigned w, std::uint32_t offset) const {
        return reinterpret_cast<std::uint64_t *>(address(w) + offset);
    }
    tcg::JumpEntry *jumps(unsigned w) const { return reinterpret_cast<tcg::JumpEntry *>(address(w) + tcg::kJumpOffset); }
    tcg::VictimEntry *victims(unsigned w) const {
        return reinterpret_cast<tcg::VictimEntry *>(address(w) + tcg::kVictimOffset);
    }
    unsigned window_of(unsigned context, unsigned mode) const {
        if (windows_ == 1)
            return 0;
        return mode == 1 && kernel_shared_ ? kSharedWindow : context * tcg::kModesPerContext + mode;
    }
    tcg::CodePageLine *code_pages(unsigned w) const {
        return reinterpret_cast<tcg::CodePageLine *>(address(w) + tcg::kCodePageOffset);
    }
    void clear_code_pages(unsigned w);
    static constexpr unsigned kSharedWindow = 1; ///< context 0's for the kernel

    void clear_slot(unsigned w, unsigned slot);
    void clear_victim(unsigned w, unsigned line);
    void keep_victim(unsigned w, unsigned slot, std::uint64_t new_page);
    void revoke_write_at(const WritePlaces::Place &place, std::uint64_t host_page);
    /// Returns how many slots were dropped.
    unsigned flush_window(unsigned w, bool keep_global);
    void flush_jump_cache(unsigned w, bool keep_global = false);
    unsigned free_jump_line(unsigned w, unsigned index, std::uint64_t pc);
    void flush_jumps_of_page(unsigned w, std::uint64_t page);
    void flush_page_of(unsigned context, std::uint64_t linear);
    void flush_context_index(unsigned context, bool keep_global);
    void leave_context(bool flushed_anyway);
    int find_context(std::uint32_t pcid) const;
    unsigned oldest_context() const;

    std::uint64_t window0_;
    unsigned windows_;
    tcg::VcpuCold &cold_;
    std::vector<std::unique_ptr<Window>> window_; ///< null: never used
    std::array<Context, tcg::kContexts> context_;
    unsigned current_context_ = 0;
    std::uint64_t use_counter_ = 0;
    std::uint64_t flushes_ = 0, fills_ = 0, generation_ = 0;
    WritePlaces writers_;
    std::bitset<1024> code_page_hosts_; ///< by host page: may a line of some window be about it?
    unsigned jump_turn_ = 0; ///< which of the lines beside is the next to lose its entry
    bool kernel_shared_ = true;
    unsigned shared_losses_ = 0; ///< switches that dropped much from the kernel's window which its own would have kept
};

} // namespace rhea::accel
