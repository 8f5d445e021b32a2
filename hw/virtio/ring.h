// A virtqueue's ring in guest memory: split (VIRTIO 1.2 section 2.7) or packed (2.8).
//
// Used by one thread at a time: the thread of the data path while it runs, else whoever has stopped it. Whatever the
// driver wrote is checked; a ring that makes no sense is broken: pop() gives nothing any more and broken() says why, until
// the device is reset. Requests may be completed in any order.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "hw/virtio/guest_memory.h"
#include "rhea/core/archive.h"

namespace rhea::hw::virtio {

/// One request: what the driver made available in one chain of descriptors.
struct Element {
    GuestBuffer out;               ///< the device reads
    GuestBuffer in;                ///< the device writes
    std::uint16_t id = 0;          ///< split: the head descriptor; packed: the buffer id
    std::uint16_t descriptors = 1; ///< packed: places in the ring
};

/// What the driver and the negotiated features say about a ring.
struct RingSetup {
    std::uint16_t size = 0;
    core::hwaddr desc = 0, driver = 0, device = 0;
    bool event_idx = false, indirect = false, notify_on_empty = false;
};

/// Elements in a pass over a chain; more is a driver's mistake.
inline constexpr unsigned kMaxPieces = 1024;

class Ring {
public:
    Ring(core::AddressSpace &memory, const RingSetup &setup) : memory_(memory), setup_(setup) {}
    virtual ~Ring() = default;
    Ring(const Ring &) = delete;
    Ring &operator=(const Ring &) = delete;

    /// The next request; null: there is none, or the ring is broken. It goes back with push() or detach().
    Element *pop();
    /// Completes a request: the device wrote `written` bytes of `in`.
    void push(Element *element, std::uint32_t written);
    /// Gives an element back without telling the driver (the device is being reset).
    void detach(Element *element);
    /// After push(): does the driver want to be interrupted?
    bool should_interrupt();
    /// Asks the driver for notifications; true: requests came meanwhile, look again.
    bool enable_notification();
    void disable_notification();

    const std::string &broken() const { return broken_; } ///< empty: it is not
    void set_broken(std::string why);
    unsigned in_use() const { return in_use_; } ///< places of the ring that requests take which are popped and not pushed

    /// Indices; the setup is the queue's to save.
    virtual void serialize(core::Archive &archive);
    /// A popped element that waits in the device.
    void serialize_element(core::Archive &archive, Element &element);
    /// An element for serialize_element() to restore into; counts as popped then.
    Element *new_element();

protected:
    enum : std::uint16_t { kNext = 1, kWrite = 2, kIndirect = 4 };
    struct Descriptor {
        std::uint64_t addr;
        std::uint32_t length;
        std::uint16_t third, fourth; ///< split: flags, next; packed: id, flags
    };
    static_assert(sizeof(Descriptor) == 16);

    virtual bool pop_into(const GuestMap &map, Element &element) = 0;
    virtual bool push_used(const GuestMap &map, const Element &element, std::uint32_t written) = 0;
    // Of a ring that is not broken: should_interrupt(), enable_notification(), disable_notification().
    virtual bool wants_interrupt(const GuestMap &map) = 0;
    virtual bool ask_for_notifications(const GuestMap &map) = 0;
    virtual void refuse_notifications(const GuestMap &map) = 0;

    /// Adds a descriptor's buffer; false: broken.
    bool add_buffer(const GuestMap &map, Element &element, std::uint64_t addr, std::uint32_t length, bool writable);
    /// The table of an indirect descriptor; nothing: broken.
    GuestPiece indirect_table(const GuestMap &map, std::uint64_t addr, std::uint32_t length);
    static Descriptor descriptor(const GuestPiece &table, unsigned index);
    /// A part of the ring, which must be RAM; nothing: broken.
    GuestPiece part(const GuestMap &map, core::hwaddr addr, std::size_t length, unsigned alignment, const char *what);
    static std::uint16_t load16(const GuestPiece &piece, std::size_t at);
    static void store16(const GuestPiece &piece, std::size_t at, std::uint16_t value);
    /// VIRTIO 1.2, 2.7.7.1: did the step from `before` to `now` pass `event`?
    static bool passed(std::uint16_t event, std::uint16_t now, std::uint16_t before) {
        return static_cast<std::uint16_t>(now - event - 1) < static_cast<std::uint16_t>(now - before);
    }

    core::AddressSpace &memory_;
    const RingSetup setup_;
    unsigned in_use_ = 0;

private:
    bool check_piece(std::uint64_t addr, std::uint32_t length, const Element &element);

    std::string broken_;
    std::vector<std::unique_ptr<Element>> elements_; ///< all that were ever made
    std::vector<Element *> free_;
};

std::unique_ptr<Ring> make_split_ring(core::AddressSpace &memory, const RingSetup &setup);
std::unique_ptr<Ring> make_packed_ring(core::AddressSpace &memory, const RingSetup &setup);

} // namespace rhea::hw::virtio
