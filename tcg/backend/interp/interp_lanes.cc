#include "tcg/backend/interp/interp_lanes.h"

#include <cstring>

namespace rhea::tcg::interp {
namespace {

class Access {
public:
    Access(Memory &memory, const LaneAccess &access, std::uint64_t address, LaneArea &area)
        : memory_(memory), access_(access), address_(address), area_(area) {}

    /// A load that is masked out hits a data breakpoint, too, as on AMD's CPUs; a store does not.
    bool load() {
        if (!memory_.touch(address_, access_.bytes * access_.count))
            return false;
        std::uint8_t loaded[32] = {};
        for (unsigned n = 0; n < access_.count; ++n) {
            if (chosen(n) && !load_element(address_of(n), loaded + n * access_.bytes))
                return false;
        }
        std::memcpy(area_.data, loaded, sizeof loaded);
        return true;
    }

    /// Everything that may fault before the first element is stored.
    bool store() {
        for (unsigned n = 0; n < access_.count; ++n) {
            if (chosen(n) && !memory_.check_write(address_of(n), access_.bytes, 0))
                return false;
        }
        for (unsigned n = 0; n < access_.count; ++n) {
            Value value;
            std::memcpy(&value, area_.data + n * access_.bytes, access_.bytes);
            if (chosen(n) && !memory_.store(address_of(n), access_.bytes, 0, value))
                return false;
        }
        return true;
    }

    bool gather(const LaneSlots &slots) {
        std::uint8_t loaded[32] = {};
        for (unsigned n = 0; n < access_.count; ++n) {
            if (chosen(n) && !load_element(area_.address[n], loaded + n * access_.bytes)) {
                show_done(slots, n, loaded);
                return false;
            }
        }
        std::memcpy(area_.data, loaded, sizeof loaded);
        return true;
    }

private:
    bool chosen(unsigned n) const {
        return (access_.flags & LaneAccess::kAll) != 0 || (area_.mask[(n + 1) * access_.bytes - 1] & 0x80) != 0;
    }
    std::uint64_t address_of(unsigned n) const {
        const std::uint64_t address = address_ + n * access_.bytes;
        return (access_.flags & LaneAccess::kWrap32) != 0 ? address & 0xffffffff : address;
    }
    bool load_element(std::uint64_t address, std::uint8_t *to) {
        Value value;
        if (!memory_.load(address, access_.bytes, 0, value))
            return false;
        std::memcpy(to, &value, access_.bytes);
        return true;
    }
    /// The elements below n are done. Masks that were clear are zero then, as AMD's CPUs show it.
    void show_done(const LaneSlots &slots, unsigned n, const std::uint8_t *loaded) {
        for (unsigned done = 0; done < n; ++done) {
            const unsigned at = done * access_.bytes;
            if (chosen(done))
                std::memcpy(slots.data[at / 16] + at % 16, loaded + at, access_.bytes);
            std::memset(slots.mask[at / 16] + at % 16, 0, access_.bytes);
        }
    }

    Memory &memory_;
    const LaneAccess &access_;
    const std::uint64_t address_;
    LaneArea &area_;
};

} // namespace

bool access_lanes(Memory &memory, const LaneAccess &access, std::uint64_t address, LaneArea &area, const LaneSlots &slots) {
    Access lanes(memory, access, address, area);
    switch (access.kind) {
    case LaneAccess::Kind::kLoad: return lanes.load();
    case LaneAccess::Kind::kStore: return lanes.store();
    default: return lanes.gather(slots);
    }
}

} // namespace rhea::tcg::interp
