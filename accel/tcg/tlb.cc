#include "accel/tcg/tlb.h"

#include <algorithm>

namespace rhea::accel {

using namespace tcg;

TlbSet::TlbSet(std::uint64_t window0, unsigned windows) : window0_(window0), windows_(windows), window_(windows) {
    context_[0].valid = true;
    select(1);
}

std::uint64_t TlbSet::select(unsigned mode) {
    const unsigned window = first_window(current_context_) + (windows_ == 1 ? 0 : mode);
    if (windows_ == 1 && mode != current_mode_ && window_[0].in_use)
        flush_window(0, false); // one window for every privilege: entries of the other mode must not be seen
    if (!window_[window].in_use)
        init_window(window);
    current_mode_ = mode;
    current_window_ = window;
    current_address_ = address(window);
    return current_address_;
}

void TlbSet::init_window(unsigned window) {
    for (std::uint32_t offset : {kReadTagOffset, kWriteTagOffset, kExecTagOffset}) {
        std::uint64_t *tags = array(window, offset);
        for (unsigned i = 0; i < kTlbEntries; ++i)
            tags[i] = invalid_tag(i);
    }
    clear_jumps(window);
    clear_victims(window);
    window_[window].in_use = true;
    window_[window].used_count = 0;
    window_[window].jumps_used.reset();
    window_[window].jumps_global.reset();
    window_[window].jump_pages.reset();
    window_[window].global.reset();
    window_[window].second.drop_all(false);
}

void TlbSet::clear_slot(unsigned window, unsigned slot) {
    array(window, kReadTagOffset)[slot] = invalid_tag(slot);
    array(window, kWriteTagOffset)[slot] = invalid_tag(slot);
    array(window, kExecTagOffset)[slot] = invalid_tag(slot);
}

void TlbSet::fill(const PageEntry &entry, bool may_write, bool only_writable) {
    const unsigned slot = tlb_index(entry.linear_page);
    const unsigned w = current_window_;
    Window &window = window_[w];
    const std::uint64_t none = invalid_tag(slot);
    // What was known of the same page stays (a read fill does not forget that it may be executed); another page's goes.
    std::uint64_t *read = array(w, kReadTagOffset) + slot, *write = array(w, kWriteTagOffset) + slot,
                  *exec = array(w, kExecTagOffset) + slot;
    if (*read == none && *write == none && *exec == none && window.used_count <= window.used.size()) {
        if (window.used_count < window.used.size())
            window.used[window.used_count] = static_cast<std::uint16_t>(slot);
        ++window.used_count;
    }
    else
        keep_victim(w, slot, entry.linear_page);
    *read = entry.read ? entry.linear_page : none;
    *write = may_write ? entry.linear_page : none;
    *exec = entry.execute ? entry.linear_page : none;
    array(w, kAddendOffset)[slot] = reinterpret_cast<std::uint64_t>(entry.host_page) - entry.linear_page;
    window.global[slot] = entry.global;
    ++fills_;
    if (may_write)
        note_writer(reinterpret_cast<std::uint64_t>(entry.host_page), w, entry.linear_page, only_writable);
    if (!entry.readonly)
        window.second.insert(entry, entry.whole_large);
    if (entry.page_size > 4096) {
        auto &large = context_[current_context_].large;
        const std::pair<std::uint64_t, std::uint64_t> range{entry.linear_page & ~(entry.page_size - 1), entry.page_size};
        if (std::find(large.begin(), large.end(), range) == large.end()) {
            if (large.size() < 64)
                large.push_back(range);
            else
                large.assign(64, {0, 0}); // too many to tell: every INVLPG drops the context (size 0: matches all)
        }
    }
}

const std::uint8_t *TlbSet::lookup(std::uint64_t linear, Access access) const {
    const unsigned slot = tlb_index(linear);
    const std::uint32_t tags = access == Access::kRead    ? kReadTagOffset
                               : access == Access::kWrite ? kWriteTagOffset
                                                          : kExecTagOffset;
    if (array(current_window_, tags)[slot] != (linear & ~0xfffull))
        return nullptr;
    return reinterpret_cast<const std::uint8_t *>(linear + array(current_window_, kAddendOffset)[slot]);
}

void TlbSet::flush_window(unsigned w, bool keep_global) {
    Window &window = window_[w];
    if (!window.in_use)
        return;
    ++generation_;
    ++flushes_;
    flush_jump_cache(w, keep_global);
    clear_victims(w);
    window.second.drop_all(keep_global);
    if (window.used_count <= window.used.size()) {
        std::uint16_t kept = 0;
        for (unsigned i = 0; i < window.used_count; ++i) {
            const std::uint16_t slot = window.used[i];
            if (keep_global && window.global[slot])
                window.used[kept++] = slot;
            else
                clear_slot(w, slot);
        }
        window.used_count = kept;
        return;
    }
    if (!keep_global || window.global.none()) {
        init_window(w);
        return;
    }
    for (unsigned slot = 0; slot < kTlbEntries; ++slot) {
        if (!window.global[slot])
            clear_slot(w, slot);
    }
}

void TlbSet::flush_context_index(unsigned context, bool keep_global) {
    for (unsigned i = 0; i < window_count(); ++i)
        flush_window(first_window(context) + i, keep_global);
    if (!keep_global)
        context_[context].large.clear();
}

void TlbSet::flush_all(bool keep_global) {
    const unsigned contexts = windows_ == 1 ? 1 : kContexts;
    for (unsigned context = 0; context < contexts; ++context)
        flush_context_index(context, keep_global);
}

void TlbSet::flush_page(std::uint64_t linear) {
    ++generation_;
    const std::uint64_t page = linear & ~0xfffull;
    const unsigned slot = tlb_index(page);
    const unsigned contexts = windows_ == 1 ? 1 : kContexts;
    for (unsigned context = 0; context < contexts; ++context) {
        if (!context_[context].valid)
            continue;
        bool in_large = false;
        for (const auto &[base, size] : context_[context].large)
            in_large |= size == 0 || linear - base < size;
        if (in_large) {
            flush_context_index(context, false);
            continue;
        }
        for (unsigned i = 0; i < window_count(); ++i) {
            const unsigned w = first_window(context) + i;
            if (!window_[w].in_use)
                continue;
            if (array(w, kReadTagOffset)[slot] == page || array(w, kWriteTagOffset)[slot] == page ||
                array(w, kExecTagOffset)[slot] == page)
                clear_slot(w, slot); // stays in `used`: listing a slot twice does no harm
            VictimEntry &victim = victims(w)[victim_index(page)];
            if (victim.read_tag == page || victim.write_tag == page)
                victim.read_tag = victim.write_tag = invalid_victim_tag(victim_index(page));
            window_[w].second.drop(page);
            flush_jumps_of_page(w, page);
        }
    }
}

int TlbSet::find_context(std::uint32_t pcid) const {
    for (unsigned i = 0; i < kContexts; ++i) {
        if (context_[i].valid && context_[i].pcid == pcid)
            return static_cast<int>(i);
    }
    return -1;
}

void TlbSet::switch_context(std::uint32_t pcid, bool keep) {
    if (windows_ == 1) {
        if (context_[0].pcid != pcid)
            flush_window(0, false);
        else if (!keep)
            flush_window(0, true);
        context_[0].pcid = pcid;
        select(current_mode_);
        return;
    }
    int found = find_context(pcid);
    if (found < 0) {
        unsigned oldest = 0;
        for (unsigned i = 0; i < kContexts; ++i) {
            if (!context_[i].valid) {
                oldest = i;
                break;
            }
            if (context_[i].last_use < context_[oldest].last_use)
                oldest = i;
        }
        flush_context_index(oldest, false);
        context_[oldest].valid = true;
        context_[oldest].pcid = pcid;
        found = static_cast<int>(oldest);
    } else if (!keep) {
        flush_context_index(static_cast<unsigned>(found), true);
    }
    current_context_ = static_cast<unsigned>(found);
    context_[current_context_].last_use = ++use_counter_;
    select(current_mode_);
}

void TlbSet::flush_context(std::uint32_t pcid, bool keep_global) {
    const int found = windows_ == 1 ? 0 : find_context(pcid);
    if (found >= 0)
        flush_context_index(static_cast<unsigned>(found), keep_global);
}

void TlbSet::note_writer(std::uint64_t host_page, unsigned window, std::uint64_t linear_page, bool only) {
    Writer &writer = writer_of(host_page);
    const bool same = writer.host_page == host_page && writer.window == window && writer.linear_page == linear_page;
    if (same && !only)
        return;
    writer = {host_page, linear_page, static_cast<std::uint16_t>(window), !only};
}

void TlbSet::revoke_write_in(unsigned w, std::uint64_t host_page, unsigned slot, unsigned line) {
    std::uint64_t &tag = array(w, kWriteTagOffset)[slot];
    if (tag + array(w, kAddendOffset)[slot] == host_page)
        tag = invalid_tag(slot);
    VictimEntry &victim = victims(w)[line];
    if (victim.write_tag + victim.addend == host_page)
        victim.write_tag = invalid_victim_tag(line);
}

void TlbSet::revoke_write(const std::uint8_t *host_page) {
    const auto host = reinterpret_cast<std::uint64_t>(host_page);
    const Writer &writer = writer_of(host);
    if (writer.host_page == host && !writer.several) {
        if (window_[writer.window].in_use)
            revoke_write_in(writer.window, host, tlb_index(writer.linear_page), victim_index(writer.linear_page));
        return;
    }
    for (unsigned w = 0; w < windows_; ++w) {
        if (!window_[w].in_use)
            continue;
        for (unsigned line = 0; line < kVictims; ++line)
            revoke_write_in(w, host, line % kTlbEntries, line);
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
    victims(w)[line] = {read != none ? read : no_tag, write != none ? write : no_tag, array(w, kAddendOffset)[slot], 0};
    window_[w].victims_used.set(line);
}

void TlbSet::clear_victims(unsigned w) {
    auto &used = window_[w].victims_used;
    if (!window_[w].in_use)
        used.set();
    for (std::size_t line = used._Find_first(); line < used.size(); line = used._Find_next(line))
        victims(w)[line].read_tag = victims(w)[line].write_tag = invalid_victim_tag(static_cast<unsigned>(line));
    used.reset();
}

void TlbSet::clear_jumps(unsigned w) {
    for (JumpEntry *entry = jumps(w), *end = entry + kJumpCacheEntries; entry != end; ++entry)
        entry->pc = kInvalidPc;
}

void TlbSet::flush_jump_cache(unsigned w, bool keep_global) {
    Window &window = window_[w];
    if (window.jumps_used.none())
        return;
    JumpEntry *entries = jumps(w);
    std::bitset<kJumpCacheEntries> gone = window.jumps_used;
    if (keep_global)
        gone &= ~window.jumps_global;
    else
        window.jump_pages.reset();
    for (std::size_t i = gone._Find_first(); i < gone.size(); i = gone._Find_next(i))
        entries[i].pc = kInvalidPc;
    window.jumps_used &= ~gone;
}

void TlbSet::flush_jumps_of_page(unsigned w, std::uint64_t page) {
    // A page that no entry's code lies in is data: by far the usual case.
    if (window_[w].jump_pages[(page >> 12) % window_[w].jump_pages.size()])
        flush_jump_cache(w);
}

void TlbSet::flush_jump_caches() {
    for (unsigned w = 0; w < windows_; ++w)
        flush_jump_cache(w);
}

void TlbSet::jump_cache_insert(std::uint64_t pc, const void *host, bool crosses) {
    Window &window = window_[current_window_];
    const unsigned index = jump_cache_index(pc);
    jumps(current_window_)[index] = {pc, reinterpret_cast<std::uint64_t>(host)};
    window.jumps_used.set(index);
    // The caller has just looked the page up. What is known of the second page is not asked: such blocks are not kept.
    window.jumps_global[index] = !crosses && window.global[tlb_index(pc)];
    window.jump_pages.set((pc >> 12) % window.jump_pages.size());
    if (crosses)
        window.jump_pages.set(((pc >> 12) + 1) % window.jump_pages.size());
}

} // namespace rhea::accel
