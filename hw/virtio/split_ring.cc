// The split ring (VIRTIO 1.2, section 2.7): descriptor table, available ring (the driver's), used ring (the device's).
#include <atomic>
#include <cstring>

#include <fmt/format.h>

#include "hw/virtio/ring.h"

namespace rhea::hw::virtio {
namespace {

constexpr std::size_t kFlags = 0, kIndex = 2, kEntries = 4; ///< in both rings
constexpr std::size_t kUsedEntry = 8;
constexpr std::uint16_t kNoInterrupt = 1, kNoNotify = 1;

class SplitRing final : public Ring {
public:
    using Ring::Ring;

    void serialize(core::Archive &archive) override;

private:
    bool wants_interrupt(const GuestMap &map) override;
    bool ask_for_notifications(const GuestMap &map) override;
    void refuse_notifications(const GuestMap &map) override;
    bool pop_into(const GuestMap &map, Element &element) override;
    bool push_used(const GuestMap &map, const Element &element, std::uint32_t written) override;
    bool follow(const GuestMap &map, Element &element, const GuestPiece &table, unsigned count, unsigned index);

    GuestPiece descriptors(const GuestMap &map) {
        return part(map, setup_.desc, setup_.size * sizeof(Descriptor), 16, "descriptor table");
    }
    GuestPiece available(const GuestMap &map) {
        return part(map, setup_.driver, kEntries + setup_.size * 2u + (setup_.event_idx ? 2u : 0u), 2, "available ring");
    }
    GuestPiece used(const GuestMap &map) {
        return part(map, setup_.device, used_event_at() + (setup_.event_idx ? 2u : 0u), 4, "used ring");
    }
    std::size_t used_event_at() const { return kEntries + setup_.size * kUsedEntry; }   ///< avail_event, in the used ring
    std::size_t avail_event_at() const { return kEntries + setup_.size * std::size_t{2}; } ///< used_event, in the available ring

    std::uint16_t last_avail_ = 0, used_ = 0;
    std::uint16_t signalled_ = 0; ///< used_ when wants_interrupt() last looked
    bool signalled_valid_ = false;
};

bool SplitRing::pop_into(const GuestMap &map, Element &element) {
    const GuestPiece avail = available(map);
    if (!avail)
        return false;
    const std::uint16_t index = load16(avail, kIndex);
    const auto waiting = static_cast<std::uint16_t>(index - last_avail_);
    if (waiting == 0)
        return false;
    if (waiting > setup_.size) {
        set_broken(fmt::format("the available index went from {} to {} in a ring of {}", last_avail_, index, setup_.size));
        return false;
    }
    if (in_use_ >= setup_.size) {
        set_broken(fmt::format("more than {} requests at a time", setup_.size));
        return false;
    }
    const GuestPiece table = descriptors(map);
    if (!table)
        return false;
    const std::uint16_t head = load16(avail, kEntries + last_avail_ % setup_.size * 2u);
    if (head >= setup_.size) {
        set_broken(fmt::format("descriptor {} of a table of {}", head, setup_.size));
        return false;
    }
    const Descriptor first = descriptor(table, head);
    bool whole = false;
    if (first.third & kIndirect) {
        const GuestPiece indirect = indirect_table(map, first.addr, first.length);
        whole = indirect && follow(map, element, indirect, first.length / sizeof(Descriptor), 0);
    } else {
        whole = follow(map, element, table, setup_.size, head);
    }
    if (!whole)
        return false;
    ++last_avail_;
    ++in_use_;
    element.id = head;
    element.descriptors = 1;
    return true;
}

/// Collects a chain within one table of `count` descriptors.
bool SplitRing::follow(const GuestMap &map, Element &element, const GuestPiece &table, unsigned count, unsigned index) {
    for (unsigned steps = 0; steps < count; ++steps) {
        const Descriptor each = descriptor(table, index);
        if (each.third & kIndirect) {
            set_broken("an indirect descriptor inside a chain");
            return false;
        }
        if (!add_buffer(map, element, each.addr, each.length, each.third & kWrite))
            return false;
        if (!(each.third & kNext))
            return true;
        index = each.fourth;
        if (index >= count) {
            set_broken(fmt::format("the next descriptor is {} of {}", index, count));
            return false;
        }
    }
    set_broken("the descriptors form a loop");
    return false;
}

bool SplitRing::push_used(const GuestMap &map, const Element &element, std::uint32_t written) {
    const GuestPiece ring = used(map);
    if (!ring)
        return false;
    const std::uint32_t entry[2] = {element.id, written};
    const std::size_t at = kEntries + used_ % setup_.size * kUsedEntry;
    std::memcpy(ring.host + at, entry, sizeof entry);
    ring.mark_written(at, sizeof entry);
    ++used_;
    store16(ring, kIndex, used_);
    if (used_ == signalled_)
        signalled_valid_ = false; // 65536 completions without a look: the distance says nothing any more
    return true;
}

bool SplitRing::wants_interrupt(const GuestMap &map) {
    const GuestPiece avail = available(map);
    if (!avail)
        return false;
    std::atomic_thread_fence(std::memory_order_seq_cst); // the driver writes used_event, then looks at the index
    if (setup_.notify_on_empty && in_use_ == 0 && load16(avail, kIndex) == last_avail_)
        return true;
    if (!setup_.event_idx)
        return !(load16(avail, kFlags) & kNoInterrupt);
    const std::uint16_t before = signalled_;
    const bool known = signalled_valid_;
    signalled_ = used_;
    signalled_valid_ = true;
    return !known || passed(load16(avail, avail_event_at()), used_, before);
}

bool SplitRing::ask_for_notifications(const GuestMap &map) {
    const GuestPiece ring = used(map), avail = available(map);
    if (!ring || !avail)
        return false;
    if (setup_.event_idx)
        store16(ring, used_event_at(), last_avail_);
    else
        store16(ring, kFlags, static_cast<std::uint16_t>(load16(ring, kFlags) & ~kNoNotify));
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return load16(avail, kIndex) != last_avail_;
}

void SplitRing::refuse_notifications(const GuestMap &map) {
    if (setup_.event_idx)
        return; // avail_event stays behind: the driver notifies once at most
    if (const GuestPiece ring = used(map))
        store16(ring, kFlags, load16(ring, kFlags) | kNoNotify);
}

void SplitRing::serialize(core::Archive &archive) {
    Ring::serialize(archive);
    archive.field("last_avail_idx", last_avail_);
    archive.field("used_idx", used_);
    archive.field("signalled_used", signalled_);
    archive.field("signalled_used_valid", signalled_valid_);
}

} // namespace

std::unique_ptr<Ring> make_split_ring(core::AddressSpace &memory, const RingSetup &setup) {
    return std::make_unique<SplitRing>(memory, setup);
}

} // namespace rhea::hw::virtio
