// A driver's side of a virtqueue in fake guest memory, split or packed: what a device's test makes requests with.
//
// Nothing here checks what the device does: the test does. Addresses are those of the fake memory.
#pragma once
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <vector>

#include "rhea/core/memory.h"

namespace rhea::test {

/// RAM at address 0 of a space of its own.
class GuestRam {
  public:
    explicit GuestRam(std::uint64_t size) : block("ram", 0, size) { root->add(0, *region); }

    template <typename T>
    T get(core::hwaddr at) const {
        T value;
        std::memcpy(&value, block.host() + at, sizeof value);
        return value;
    }
    template <typename T>
    void put(core::hwaddr at, T value) {
        std::memcpy(block.host() + at, &value, sizeof value);
    }
    void fill(core::hwaddr at, std::uint8_t value, std::size_t length) { std::memset(block.host() + at, value, length); }

    core::RamBlock block;
    std::unique_ptr<core::MemoryRegion> root = core::MemoryRegion::container("memory", 1ull << 48);
    std::unique_ptr<core::MemoryRegion> region = core::MemoryRegion::ram("ram", block);
    core::AddressSpace space{"memory", *root};
};

struct DriverBuffer {
    core::hwaddr addr = 0;
    std::uint32_t length = 0;
    bool writable = false;
};

struct UsedElement {
    std::uint32_t id = 0, length = 0;
    friend bool operator==(const UsedElement&, const UsedElement&) = default;
};

class VirtioDriver {
  public:
    /// The ring takes 12 KiB from `base` on, indirect tables the 64 KiB behind.
    VirtioDriver(GuestRam& ram, core::hwaddr base, std::uint16_t size, bool packed = false)
        : desc(base), driver(base + 0x1000 * 4), device(base + 0x1000 * 5), ram_(ram), size_(size), packed_(packed),
          tables_(base + 0x1000 * 6) {
        restart();
    }

    /// The ring as after a reset.
    void restart() {
        ram_.fill(desc, 0, 0x6000);
        next_descriptor_ = next_table_ = available_ = seen_used_ = 0;
        wrap_ = used_wrap_ = true;
        lengths_.clear();
    }

    core::hwaddr desc, driver, device;

    std::uint16_t size() const { return size_; }

    /// Makes a request available; gives its id.
    std::uint16_t add(const std::vector<DriverBuffer>& buffers, bool indirect = false) {
        return packed_ ? add_packed(buffers, indirect) : add_split(buffers, indirect);
    }

    std::optional<UsedElement> take_used() {
        if (!packed_) {
            if (ram_.get<std::uint16_t>(device + 2) == seen_used_)
                return std::nullopt;
            const core::hwaddr at = device + 4 + seen_used_++ % size_ * 8u;
            return UsedElement{ram_.get<std::uint32_t>(at), ram_.get<std::uint32_t>(at + 4)};
        }
        const core::hwaddr at = desc + seen_used_ * 16u;
        const auto flags = ram_.get<std::uint16_t>(at + 14);
        if (((flags >> 7) & 1) != used_wrap_ || ((flags >> 15) & 1) != used_wrap_)
            return std::nullopt;
        const UsedElement used{ram_.get<std::uint16_t>(at + 12), ram_.get<std::uint32_t>(at + 8)};
        advance(seen_used_, used_wrap_, lengths_[static_cast<std::uint16_t>(used.id)]);
        return used;
    }

    // ---- split ring, by hand ------------------------------------------------------------------------------
    void put_descriptor(unsigned index, std::uint64_t addr, std::uint32_t length, std::uint16_t flags, std::uint16_t next) {
        put_at(desc + index * 16u, addr, length, flags, next);
    }
    void put_at(core::hwaddr at, std::uint64_t addr, std::uint32_t length, std::uint16_t third, std::uint16_t fourth) {
        ram_.put(at, addr);
        ram_.put(at + 8, length);
        ram_.put(at + 12, third);
        ram_.put(at + 14, fourth);
    }
    void publish(std::uint16_t head) {
        ram_.put<std::uint16_t>(driver + 4 + available_ % size_ * 2u, head);
        ram_.put<std::uint16_t>(driver + 2, ++available_);
    }
    std::uint16_t available() const { return available_; }
    void set_used_event(std::uint16_t value) { ram_.put<std::uint16_t>(driver + 4 + size_ * 2u, value); }
    std::uint16_t avail_event() const { return ram_.get<std::uint16_t>(device + 4 + size_ * 8u); }

    static constexpr std::uint16_t kNext = 1, kWrite = 2, kIndirect = 4;

  private:
    static std::uint16_t flags_of(const DriverBuffer& buffer) { return buffer.writable ? kWrite : 0; }

    void advance(std::uint16_t& index, bool& wrap, unsigned by) {
        index = static_cast<std::uint16_t>(index + by);
        if (index >= size_) {
            index = static_cast<std::uint16_t>(index - size_);
            wrap = !wrap;
        }
    }
    core::hwaddr make_table(const std::vector<DriverBuffer>& buffers) {
        const core::hwaddr table = tables_ + next_table_;
        next_table_ = (next_table_ + static_cast<unsigned>(buffers.size()) * 16) % 0xc000;
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            const bool last = i + 1 == buffers.size();
            if (packed_)
                put_at(table + i * 16, buffers[i].addr, buffers[i].length, 0, flags_of(buffers[i]));
            else
                put_at(table + i * 16, buffers[i].addr, buffers[i].length,
                       static_cast<std::uint16_t>(flags_of(buffers[i]) | (last ? 0 : kNext)), static_cast<std::uint16_t>(i + 1));
        }
        return table;
    }
    std::uint16_t add_split(const std::vector<DriverBuffer>& buffers, bool indirect) {
        const auto head = static_cast<std::uint16_t>(next_descriptor_ % size_);
        if (indirect) {
            put_descriptor(head, make_table(buffers), static_cast<std::uint32_t>(buffers.size() * 16), kIndirect, 0);
            next_descriptor_ = static_cast<std::uint16_t>(next_descriptor_ + 1);
        } else {
            for (std::size_t i = 0; i < buffers.size(); ++i) {
                const bool last = i + 1 == buffers.size();
                const unsigned at = (next_descriptor_ + i) % size_;
                put_descriptor(at, buffers[i].addr, buffers[i].length,
                               static_cast<std::uint16_t>(flags_of(buffers[i]) | (last ? 0 : kNext)),
                               static_cast<std::uint16_t>((at + 1) % size_));
            }
            next_descriptor_ = static_cast<std::uint16_t>(next_descriptor_ + buffers.size());
        }
        publish(head);
        return head;
    }
    std::uint16_t add_packed(const std::vector<DriverBuffer>& buffers, bool indirect) {
        const std::uint16_t id = available_, first = next_descriptor_;
        const std::size_t count = indirect ? 1 : buffers.size();
        std::uint16_t first_flags = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const auto availability = static_cast<std::uint16_t>(wrap_ ? 1u << 7 : 1u << 15);
            auto flags = static_cast<std::uint16_t>(availability | (i + 1 == count ? 0 : kNext));
            DriverBuffer piece = buffers[i];
            if (indirect) {
                piece = {make_table(buffers), static_cast<std::uint32_t>(buffers.size() * 16), false};
                flags |= kIndirect;
            }
            flags |= flags_of(piece);
            const core::hwaddr at = desc + next_descriptor_ * 16u;
            ram_.put(at, piece.addr);
            ram_.put(at + 8, piece.length);
            ram_.put(at + 12, id);
            if (i == 0)
                first_flags = flags;
            else
                ram_.put(at + 14, flags);
            advance(next_descriptor_, wrap_, 1);
        }
        lengths_[id] = static_cast<std::uint16_t>(count);
        ram_.put(desc + first * 16u + 14, first_flags);  // the last store makes it available
        available_ = static_cast<std::uint16_t>((available_ + 1) % size_);
        return id;
    }

    GuestRam& ram_;
    std::uint16_t size_;
    bool packed_;
    core::hwaddr tables_;
    std::uint16_t next_descriptor_ = 0, available_ = 0, seen_used_ = 0;
    unsigned next_table_ = 0;
    bool wrap_ = true, used_wrap_ = true;
    std::map<std::uint16_t, std::uint16_t> lengths_;  ///< packed: places by id
};

}  // namespace rhea::test
