#include "accel/tcg/tlb.h"

#include "rhea/tcg/window_memory.h"

namespace rhea::accel {

using namespace tcg;

namespace {
constexpr unsigned kLocal = 0, kGlobal = 1; ///< of Window's pairs
constexpr std::uint64_t kPage = 4096;
/// The kernel's windows stay one unless, this many times, a switch of contexts cost this many entries.
constexpr unsigned kManyLost = 24, kLossesAllowed = 64;
} // namespace

TlbSet::TlbSet(std::uint64_t window0, unsigned windows, VcpuCold &cold)
    : window0_(window0), windows_(windows), cold_(cold), window_(windows) {
    context_[0].valid = true;
    select(1);
}

void TlbSet::select(std::uint32_t mode_word) {
    const unsigned mode = mode_word & 3;
    const unsigned w = window_of(current_context_, mode);
    if (windows_ == 1 && in_use(0) && mode != (window(0).jump_mode & 3))
        flush_window(0, false); // one window for every privilege: entries of the other mode must not be seen
    if (!in_use(w)) {
        init_tables(address(w));
        window_[w] = std::make_unique<Window>();
    }
    if (window(w).jump_mode != mode_word) {
        flush_jump_cache(w);
        window(w).jump_mode = mode_word;
    }
    cold_.mode_word = mode_word;
    cold_.window = address(w);
    for (unsigned other = 0; other < kModesPerContext; ++other) {
        const unsigned there = window_of(current_context_, other);
        const bool ready = windows_ != 1 && in_use(there);
        cold_.mode_windows[other] = {ready ? window(there).jump_mode : ModeWindow::kNoMode, address(there)};
    }
}

void TlbSet::clear_slot(unsigned w, unsigned slot) {
    array(w, kReadTagOffset)[slot] = invalid_tag(slot);
    array(w, kWriteTagOffset)[slot] = invalid_tag(slot);
    array(w, kExecTagOffset)[slot] = invalid_tag(slot);
}

void TlbSet::clear_victim(unsigned w, unsigned line) {
    victims(w)[line].read_tag = victims(w)[line].write_tag = invalid_victim_tag(line);
}

void TlbSet::fill(const PageEntry &entry, bool may_write, bool only_writable) {
    const unsigned slot = tlb_index(entry.linear_page);
    const unsigned w = current_window();
    Window &here = window(w);
    const std::uint64_t none = invalid_tag(slot);
    // What was known of the same page stays (a read fill does not forget that it may be executed); another page's goes.
    std::uint64_t *read = array(w, kReadTagOffset) + slot, *write = array(w, kWriteTagOffset) + slot,
                  *exec = array(w, kExecTagOffset) + slot;
    if (*read != none || *write != none || *exec != none)
        keep_victim(w, slot, entry.linear_page);
    *read = entry.read ? entry.linear_page : none;
    *write = may_write ? entry.linear_page : none;
    *exec = entry.execute ? entry.linear_page : none;
    array(w, kAddendOffset)[slot] = reinterpret_cast<std::uint64_t>(entry.host_page) - entry.linear_page;
    here.slots[entry.global ? kGlobal : kLocal].set(slot);
    here.slots[entry.global ? kLocal : kGlobal].reset(slot);
    ++fills_;
    if (may_write)
        writers_.note(reinterpret_cast<std::uint64_t>(entry.host_page), {entry.linear_page, w}, only_writable);
    if (!entry.readonly)
        here.second.insert(entry, entry.whole_large);
    if (entry.page_size > kPage)
        here.large.add(entry.linear_page, entry.page_size);
}

const std::uint8_t *TlbSet::lookup(std::uint64_t linear, Access access) const {
    const unsigned slot = tlb_index(linear), w = current_window();
    const std::uint32_t tags = access == Access::kRead    ? kReadTagOffset
                               : access == Access::kWrite ? kWriteTagOffset
                                                          : kExecTagOffset;
    if (array(w, tags)[slot] != (linear & ~0xfffull))
        return nullptr;
    return reinterpret_cast<const std::uint8_t *>(linear + array(w, kAddendOffset)[slot]);
}

unsigned TlbSet::flush_window(unsigned w, bool keep_global) {
    if (!in_use(w))
        return 0;
    Window &here = window(w);
    ++generation_;
    ++flushes_;
    flush_jump_cache(w, keep_global);
    clear_code_pages(w);
    here.second.drop_all(keep_global);
    unsigned dropped = 0;
    for (const unsigned kind : {kLocal, kGlobal}) {
        if (kind == kGlobal && keep_global)
            break;
        dropped += here.slots[kind].drain([&](unsigned slot) { clear_slot(w, slot); });
        here.victims[kind].drain([&](unsigned line) { clear_victim(w, line); });
    }
    if (!keep_global)
        here.large.clear();
    return dropped;
}

void TlbSet::flush_context_index(unsigned context, bool keep_global) {
    for (unsigned mode = 0; mode < (windows_ == 1 ? 1 : kModesPerContext); ++mode) {
        if (mode != 1 || !kernel_shared_)
            flush_window(window_of(context, mode), keep_global);
        else if (context == current_context_)
            flush_window(kSharedWindow, keep_global);
    }
}

void TlbSet::flush_all(bool keep_global) {
    for (unsigned w = 0; w < windows_; ++w)
        flush_window(w, keep_global);
}

void TlbSet::flush_page(std::uint64_t linear) { flush_page_of(current_context_, linear); }

void TlbSet::flush_context_page(std::uint32_t pcid, std::uint64_t linear) {
    const int found = find_context(pcid);
    flush_page_of(found >= 0 ? static_cast<unsigned>(found) : current_context_, linear);
}

void TlbSet::flush_page_of(unsigned context, std::uint64_t linear) {
    ++generation_;
    const std::uint64_t page = linear & ~0xfffull;
    const unsigned slot = tlb_index(page), line = victim_index(page);
    for (unsigned w = 0; w < windows_; ++w) {
        if (!in_use(w))
            continue;
        // Of other contexts only global entries go.
        Window &here = window(w);
        const bool all = w / kModesPerContext == context || (w == kSharedWindow && kernel_shared_);
        if (!all && !here.slots[kGlobal].maybe_any())
            continue;
        if (here.large.covers(linear)) {
            flush_window(w, false);
            continue;
        }
        if (all || here.slots[kGlobal].test(slot)) {
            if (array(w, kReadTagOffset)[slot] == page || array(w, kWriteTagOffset)[slot] == page ||
                array(w, kExecTagOffset)[slot] == page)
                clear_slot(w, slot); // stays in its set, which does no harm
        }
        const VictimEntry &victim = victims(w)[line];
        if (victim.read_tag == page || victim.write_tag == page)
            clear_victim(w, line);
        CodePageLine &code_page = code_pages(w)[code_page_index(page)];
        if (code_page.tag == page)
            code_page.tag = invalid_victim_tag(code_page_index(page));
        here.second.drop(page);
        flush_jumps_of_page(w, page);
    }
}

int TlbSet::find_context(std::uint32_t pcid) const {
    for (unsigned i = 0; i < kContexts; ++i) {
        if (context_[i].valid && context_[i].pcid == pcid)
            return static_cast<int>(i);
    }
    return -1;
}

unsigned TlbSet::oldest_context() const {
    unsigned oldest = 0;
    for (unsigned i = 0; i < kContexts; ++i) {
        if (!context_[i].valid)
            return i;
        if (context_[i].last_use < context_[oldest].last_use)
            oldest = i;
    }
    return oldest;
}

/// What is not global in the shared window belongs to the context that is left, or to what its CR3 was.
void TlbSet::leave_context(bool flushed_anyway) {
    if (!kernel_shared_)
        return;
    const unsigned dropped = flush_window(kSharedWindow, true);
    if (flushed_anyway || dropped < kManyLost)
        return;
    if (++shared_losses_ > kLossesAllowed)
        kernel_shared_ = false; // a guest whose kernel's pages are not global: a window for each context serves it better
}

void TlbSet::switch_context(std::uint32_t pcid, bool keep) {
    if (windows_ == 1) {
        if (context_[0].pcid != pcid)
            flush_window(0, false);
        else if (!keep)
            flush_window(0, true);
        context_[0].pcid = pcid;
        select(cold_.mode_word);
        return;
    }
    int found = find_context(pcid);
    if (found != static_cast<int>(current_context_) || !keep)
        leave_context(!keep);
    if (found < 0) {
        const unsigned oldest = oldest_context();
        flush_context_index(oldest, false);
        context_[oldest].valid = true;
        context_[oldest].pcid = pcid;
        found = static_cast<int>(oldest);
    } else if (!keep) {
        flush_context_index(static_cast<unsigned>(found), true);
    }
    current_context_ = static_cast<unsigned>(found);
    context_[current_context_].last_use = ++use_counter_;
    select(cold_.mode_word);
}

void TlbSet::flush_context(std::uint32_t pcid, bool keep_global) {
    const int found = windows_ == 1 ? 0 : find_context(pcid);
    if (found >= 0)
        flush_context_index(static_cast<unsigned>(found), keep_global);
}

void TlbSet::revoke_write_at(const WritePlaces::Place &place, std::uint64_t host_page) {
    if (!in_use(place.window))
        return;
    const unsigned slot = tlb_index(place.linear_page), line = victim_index(place.linear_page);
    std::uint64_t &tag = array(place.window, kWriteTagOffset)[slot];
    if (tag != invalid_tag(slot) && tag + array(place.window, kAddendOffset)[slot] == host_page)
        tag = invalid_tag(slot);
    VictimEntry &victim = victims(place.window)[line];
    if (victim.write_tag != invalid_victim_tag(line) && victim.write_tag + victim.addend == host_page)
        victim.write_tag = invalid_victim_tag(line);
}

void TlbSet::revoke_write(const std::uint8_t *host_page, MarkedLines lines) {
    const auto host = reinterpret_cast<std::uint64_t>(host_page);
    if (writers_.for_each(host, [&](const WritePlaces::Place &place) { revoke_write_at(place, host); }))
        return;
    for (unsigned w = 0; w < windows_; ++w) {
        if (!in_use(w))
            continue;
        const std::uint64_t *tags = array(w, kWriteTagOffset);
        for (const unsigned kind : {kLocal, kGlobal}) {
            const auto revoke = [&](unsigned slot) { revoke_write_at({tags[slot], w}, host); };
            if (lines.all())
                window(w).slots[kind].for_each(revoke);
            else
                window(w).slots[kind].for_each_of(lines.remainder(), revoke);
            window(w).victims[kind].for_each([&](unsigned line) { revoke_write_at({victims(w)[line].write_tag, w}, host); });
        }
    }
}

/// The slot is about to hold another page: what it holds now stays within reach of slow paths.
void TlbSet::keep_victim(unsigned w, unsigned slot, std::uint64_t new_page) {
    const std::uint64_t none = invalid_tag(slot);
    const std::uint64_t read = array(w, kReadTagOffset)[slot], write = array(w, kWriteTagOffset)[slot];
    const std::uint64_t page = read != none ? read : write;
    if (page == none || page == new_page)
        return;
    const unsigned line = victim_index(page);
    const std::uint64_t no_tag = invalid_victim_tag(line);
    const unsigned kind = window(w).slots[kGlobal].test(slot) ? kGlobal : kLocal;
    victims(w)[line] = {read != none ? read : no_tag, write != none ? write : no_tag, array(w, kAddendOffset)[slot], kind};
    window(w).victims[kind].set(line);
    window(w).victims[1 - kind].reset(line);
}

void TlbSet::clear_code_pages(unsigned w) {
    for (unsigned line = 0; line < kCodePageLines; ++line) {
        if (window(w).code_pages >> line & 1)
            code_pages(w)[line].tag = invalid_victim_tag(line);
    }
    window(w).code_pages = 0;
}

void TlbSet::note_code_page(std::uint64_t linear_page, const std::uint8_t *host_page, std::uint64_t granules, std::uint32_t key) {
    const unsigned line = code_page_index(linear_page), w = current_window();
    const auto host = reinterpret_cast<std::uint64_t>(host_page);
    CodePageLine &entry = code_pages(w)[line];
    if (entry.tag != linear_page || entry.addend != host - linear_page)
        entry = {linear_page, host - linear_page, granules, {}, 0};
    entry.granules = granules;
    if (key != 0)
        entry.stores[entry.turn++ % CodePageLine::kStores] = key;
    window(w).code_pages |= 1u << line;
    code_page_hosts_.set((host >> 12) % code_page_hosts_.size());
}

void TlbSet::drop_code_page(const std::uint8_t *host_page) {
    const auto host = reinterpret_cast<std::uint64_t>(host_page);
    const auto bit = [this](std::uint64_t page) { return (page >> 12) % code_page_hosts_.size(); };
    if (!code_page_hosts_.test(bit(host)))
        return;
    for (unsigned w = 0; w < windows_; ++w) {
        for (unsigned line = 0; in_use(w) && line < kCodePageLines; ++line) {
            CodePageLine &entry = code_pages(w)[line];
            if (entry.tag != invalid_victim_tag(line) && bit(entry.tag + entry.addend) == bit(host))
                entry.tag = invalid_victim_tag(line);
        }
    }
    code_page_hosts_.reset(bit(host)); // all that share it are gone
}

void TlbSet::flush_jump_cache(unsigned w, bool keep_global) {
    if (!in_use(w))
        return;
    Window &here = window(w);
    JumpEntry *entries = jumps(w);
    const auto clear = [entries](unsigned i) { entries[i].pc = invalid_pc(i); };
    here.jumps[kLocal].drain(clear);
    if (keep_global)
        return;
    here.jumps[kGlobal].drain(clear);
    here.jump_pages.reset();
}

void TlbSet::flush_jumps_of_page(unsigned w, std::uint64_t page) {
    // A page that no entry's code lies in is data: by far the usual case.
    if (!window(w).jump_pages[(page >> 12) % window(w).jump_pages.size()])
        return;
    // The lines of one page lie side by side; a block that begins before it may reach into it.
    constexpr unsigned kLines = kPage / 2, kLongest = 15;
    JumpEntry *entries = jumps(w);
    const auto drop = [&](std::uint64_t of_page, std::uint64_t from) {
        const unsigned first = jump_cache_index(of_page) & ~(kLines - 1);
        for (const Jumps &some : window(w).jumps) {
            some.for_each_in(first, kLines, [&](unsigned i) {
                if (entries[i].pc - of_page < kPage && entries[i].pc >= from)
                    entries[i].pc = invalid_pc(i); // stays in its set, which does no harm
            });
        }
    };
    drop(page, page);
    drop(page - kPage, page - kLongest);
}

void TlbSet::flush_jump_caches() {
    for (unsigned w = 0; w < windows_; ++w)
        flush_jump_cache(w);
}

/// Of the lines beside `index`: the one that has `pc` (which never has two), an empty one, or the one whose turn it is.
unsigned TlbSet::free_jump_line(unsigned w, unsigned index, std::uint64_t pc) {
    const JumpEntry *const entries = jumps(w);
    unsigned free = index;
    for (unsigned way = 1; way < kJumpWays; ++way) {
        const unsigned other = index ^ way;
        if (entries[other].pc == pc)
            return other;
        if (entries[other].pc == invalid_pc(other))
            free = other;
    }
    if (free == index)
        free = index ^ (1 + jump_turn_++ % (kJumpWays - 1));
    return free;
}

void TlbSet::jump_cache_insert(std::uint64_t pc, const void *host, bool crosses) {
    const unsigned w = current_window();
    Window &here = window(w);
    JumpEntry *entries = jumps(w);
    const unsigned index = jump_cache_index(pc);
    if (entries[index].pc != pc) {
        const unsigned free = free_jump_line(w, index, pc);
        if (entries[index].pc != invalid_pc(index)) {
            const unsigned kind = here.jumps[kGlobal].test(index) ? kGlobal : kLocal;
            entries[free] = entries[index];
            here.jumps[kind].set(free);
            here.jumps[1 - kind].reset(free);
        } else if (entries[free].pc == pc) {
            entries[free].pc = invalid_pc(free);
        }
    }
    entries[index] = {pc, reinterpret_cast<std::uint64_t>(host)};
    // The caller has just looked the page up. What is known of the second page is not asked: such blocks are not kept.
    const unsigned kind = !crosses && here.slots[kGlobal].test(tlb_index(pc)) ? kGlobal : kLocal;
    here.jumps[kind].set(index);
    here.jumps[1 - kind].reset(index);
    here.jump_pages.set((pc >> 12) % here.jump_pages.size());
    if (crosses)
        here.jump_pages.set(((pc >> 12) + 1) % here.jump_pages.size());
}

} // namespace rhea::accel
