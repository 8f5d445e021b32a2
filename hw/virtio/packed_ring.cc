// The packed ring (VIRTIO 1.2, section 2.8): one ring of descriptors that both sides write, and an event area each.
#include <atomic>
#include <cstring>

#include <fmt/format.h>

#include "hw/virtio/ring.h"

namespace rhea::hw::virtio {
namespace {

constexpr std::uint16_t kAvail = 1u << 7, kUsed = 1u << 15;
constexpr std::size_t kDescId = 12, kDescFlags = 14;
// event areas
constexpr std::size_t kEventOffset = 0, kEventFlags = 2, kEventArea = 4;
constexpr std::uint16_t kEnable = 0, kDisable = 1, kAtDescriptor = 2;
constexpr std::uint16_t kWrapBit = 1u << 15;

/// A place in the ring and the wrap counter there.
struct Position {
    std::uint16_t index = 0;
    bool wrap = true;

    void advance(unsigned by, unsigned size) {
        const unsigned next = index + by;
        wrap = next >= size ? !wrap : wrap;
        index = static_cast<std::uint16_t>(next >= size ? next - size : next);
    }
};

class PackedRing final : public Ring {
public:
    using Ring::Ring;

    void serialize(core::Archive &archive) override;

private:
    bool wants_interrupt(const GuestMap &map) override;
    bool ask_for_notifications(const GuestMap &map) override;
    void refuse_notifications(const GuestMap &map) override;
    bool pop_into(const GuestMap &map, Element &element) override;
    bool push_used(const GuestMap &map, const Element &element, std::uint32_t written) override;
    bool collect(const GuestMap &map, Element &element, const GuestPiece &ring);
    bool collect_indirect(const GuestMap &map, Element &element, const Descriptor &outer);
    bool available_at(const GuestPiece &ring, const Position &at) const;

    GuestPiece descriptors(const GuestMap &map) {
        return part(map, setup_.desc, setup_.size * sizeof(Descriptor), 16, "descriptor ring");
    }
    GuestPiece driver_event(const GuestMap &map) { return part(map, setup_.driver, kEventArea, 4, "driver event area"); }
    GuestPiece device_event(const GuestMap &map) { return part(map, setup_.device, kEventArea, 4, "device event area"); }

    Position avail_, used_;
    std::uint16_t unsignalled_ = 0; ///< places of the ring that were used since wants_interrupt() last looked
    bool signalled_valid_ = false;
};

bool PackedRing::available_at(const GuestPiece &ring, const Position &at) const {
    const std::uint16_t flags = load16(ring, at.index * sizeof(Descriptor) + kDescFlags);
    return ((flags & kAvail) != 0) == at.wrap && ((flags & kUsed) != 0) != at.wrap;
}

bool PackedRing::pop_into(const GuestMap &map, Element &element) {
    const GuestPiece ring = descriptors(map);
    if (!ring || !available_at(ring, avail_))
        return false;
    if (!collect(map, element, ring))
        return false;
    if (in_use_ + element.descriptors > setup_.size) {
        set_broken(fmt::format("more than {} descriptors at a time", setup_.size));
        return false;
    }
    avail_.advance(element.descriptors, setup_.size);
    in_use_ += element.descriptors;
    return true;
}

/// Collects the chain at avail_; the last descriptor has the buffer id.
bool PackedRing::collect(const GuestMap &map, Element &element, const GuestPiece &ring) {
    Position at = avail_;
    for (unsigned count = 1; count <= setup_.size; ++count) {
        const Descriptor each = descriptor(ring, at.index);
        const std::uint16_t flags = each.fourth;
        if (flags & kIndirect) {
            if (count != 1) {
                set_broken("an indirect descriptor inside a chain");
                return false;
            }
            element.id = each.third;
            element.descriptors = 1;
            return collect_indirect(map, element, each);
        }
        if (!add_buffer(map, element, each.addr, each.length, flags & kWrite))
            return false;
        if (!(flags & kNext)) {
            element.id = each.third;
            element.descriptors = static_cast<std::uint16_t>(count);
            return true;
        }
        at.advance(1, setup_.size);
    }
    set_broken("a chain of descriptors is longer than the ring");
    return false;
}

bool PackedRing::collect_indirect(const GuestMap &map, Element &element, const Descriptor &outer) {
    const GuestPiece table = indirect_table(map, outer.addr, outer.length);
    if (!table)
        return false;
    // The order is that of the table; NEXT means nothing in it (2.8.8).
    for (unsigned i = 0; i < outer.length / sizeof(Descriptor); ++i) {
        const Descriptor each = descriptor(table, i);
        if (each.fourth & kIndirect) {
            set_broken("an indirect descriptor inside an indirect table");
            return false;
        }
        if (!add_buffer(map, element, each.addr, each.length, each.fourth & kWrite))
            return false;
    }
    return true;
}

bool PackedRing::push_used(const GuestMap &map, const Element &element, std::uint32_t written) {
    const GuestPiece ring = descriptors(map);
    if (!ring)
        return false;
    const std::size_t at = used_.index * sizeof(Descriptor);
    std::memcpy(ring.host + at + 8, &written, sizeof written);
    std::memcpy(ring.host + at + kDescId, &element.id, sizeof element.id);
    std::uint16_t flags = used_.wrap ? kAvail | kUsed : 0;
    if (written != 0)
        flags |= kWrite;
    store16(ring, at + kDescFlags, flags);
    ring.mark_written(at, sizeof(Descriptor));
    used_.advance(element.descriptors, setup_.size);
    const unsigned steps = unsignalled_ + element.descriptors;
    if (steps > setup_.size)
        signalled_valid_ = false; // more than once around: the distance says nothing any more
    unsignalled_ = static_cast<std::uint16_t>(std::min<unsigned>(steps, setup_.size));
    return true;
}

bool PackedRing::wants_interrupt(const GuestMap &map) {
    const GuestPiece event = driver_event(map);
    if (!event)
        return false;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const std::uint16_t flags = load16(event, kEventFlags);
    const std::uint16_t steps = std::exchange(unsignalled_, std::uint16_t{0});
    const bool known = std::exchange(signalled_valid_, true);
    if (flags == kDisable)
        return false;
    if (flags != kAtDescriptor || !setup_.event_idx || !known)
        return true;
    const std::uint16_t where = load16(event, kEventOffset);
    auto index = static_cast<std::uint16_t>(where & ~kWrapBit);
    if (((where & kWrapBit) != 0) != used_.wrap)
        index = static_cast<std::uint16_t>(index - setup_.size);
    return passed(index, used_.index, static_cast<std::uint16_t>(used_.index - steps));
}

bool PackedRing::ask_for_notifications(const GuestMap &map) {
    const GuestPiece ring = descriptors(map), event = device_event(map);
    if (!ring || !event)
        return false;
    if (setup_.event_idx)
        store16(event, kEventOffset, static_cast<std::uint16_t>(avail_.index | (avail_.wrap ? kWrapBit : 0)));
    store16(event, kEventFlags, setup_.event_idx ? kAtDescriptor : kEnable);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return available_at(ring, avail_);
}

void PackedRing::refuse_notifications(const GuestMap &map) {
    if (const GuestPiece event = device_event(map))
        store16(event, kEventFlags, kDisable);
}

void PackedRing::serialize(core::Archive &archive) {
    Ring::serialize(archive);
    archive.field("last_avail_idx", avail_.index);
    archive.field("last_avail_wrap", avail_.wrap);
    archive.field("used_idx", used_.index);
    archive.field("used_wrap", used_.wrap);
    archive.field("unsignalled", unsignalled_);
    archive.field("signalled_used_valid", signalled_valid_);
    if (archive.restoring() && archive.ok() && (avail_.index >= setup_.size || used_.index >= setup_.size || unsignalled_ > setup_.size))
        archive.fail("an index lies outside the ring");
}

} // namespace

std::unique_ptr<Ring> make_packed_ring(core::AddressSpace &memory, const RingSetup &setup) {
    return std::make_unique<PackedRing>(memory, setup);
}

} // namespace rhea::hw::virtio
