// Guest RAM as devices reach it by host pointers: buffers of a request, and the memory of rings.
//
// An address is looked up under a ViewGuard; only RAM has a host pointer here, so a buffer that touches ROM (for writing),
// a device or nothing is refused. Pointers stay good: a RamBlock lives as long as the machine. Who stores by pointer
// tells the block (mark_written), so that translated code made from those bytes goes. Any thread.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "rhea/block/io_vector.h"
#include "rhea/core/memory.h"

namespace rhea::hw::virtio {

/// Contiguous guest RAM.
struct GuestPiece {
    std::uint8_t *host = nullptr;
    std::size_t length = 0;
    core::RamBlock *block = nullptr;
    core::ram_addr_t offset = 0; ///< in `block`
    core::hwaddr addr = 0;

    explicit operator bool() const { return host != nullptr; }
    void mark_written(std::size_t from, std::size_t bytes) const { block->notify_write(offset + from, bytes); }
};

/// The bytes of a request in one direction, in order.
class GuestBuffer {
public:
    void clear() {
        pieces_.clear();
        size_ = 0;
    }
    void append(const GuestPiece &piece) {
        pieces_.push_back(piece);
        size_ += piece.length;
    }
    std::size_t size() const { return size_; }
    std::span<const GuestPiece> pieces() const { return pieces_; }

    /// Copies up to `length` bytes from or to `offset`; returns how many there were.
    std::size_t read(std::size_t offset, void *to, std::size_t length) const;
    std::size_t write(std::size_t offset, const void *from, std::size_t length) const;
    /// Bytes [offset, offset + length), which lie inside, for the block layer.
    block::IoVector vector(std::size_t offset, std::size_t length) const;
    /// After something stored to [offset, offset + length) by the pointers of vector().
    void mark_written(std::size_t offset, std::size_t length) const;

private:
    template <typename Visit> std::size_t visit(std::size_t offset, std::size_t length, Visit &&visitor) const;

    std::vector<GuestPiece> pieces_;
    std::size_t size_ = 0;
};

/// One look at the map: hold it for a pass over a ring, not longer.
class GuestMap {
public:
    explicit GuestMap(core::AddressSpace &space) : view_(&space.view()) {}

    /// All of [addr, addr + length) in one piece of RAM, or nothing.
    GuestPiece ring(core::hwaddr addr, std::size_t length) const { return find(addr, length, true, true); }
    /// The first bytes of [addr, addr + length) that are one piece; length > 0. Nothing: not RAM.
    GuestPiece find(core::hwaddr addr, std::size_t length, bool writable, bool whole = false) const;

private:
    core::ViewGuard guard_; ///< before view_
    const core::FlatView *view_;
};

} // namespace rhea::hw::virtio
