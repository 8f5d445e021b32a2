// A disk as it should be, sector by sector, under requests that run beside each other and under crashes.
//
// Each write has a number, which fills its sectors. A sector may then be: what the last flush made safe, or anything
// written to it since. Without a crash it is what was written last.
#pragma once
#include <cstdint>
#include <random>
#include <vector>

#include "tests/unit/block/qcow2/fixture.h"

namespace rhea::block::qcow2 {

inline constexpr std::uint64_t kSector = 512;

class SectorModel {
public:
    explicit SectorModel(std::uint64_t sectors) : sectors_(sectors) {}

    struct Sector {
        std::uint32_t now = 0;
        std::vector<std::uint32_t> possible{0}; ///< after a crash
    };

    static void fill(std::uint8_t *sector, std::uint32_t number) {
        for (std::size_t i = 0; i < kSector; i += 4)
            std::memcpy(sector + i, &number, 4);
    }
    /// The number that fills the sector; ~0: no single one does.
    static std::uint32_t number_of(const std::uint8_t *sector) {
        std::uint32_t first = 0;
        std::memcpy(&first, sector, 4);
        for (std::size_t i = 4; i < kSector; i += 4)
            if (std::memcmp(sector, sector + i, 4) != 0)
                return ~0u;
        return first;
    }

    std::uint64_t size() const { return sectors_.size(); }
    Sector &at(std::uint64_t sector) { return sectors_[sector]; }
    void begin_write(std::uint64_t first, std::uint64_t count, std::uint32_t number) {
        for (std::uint64_t i = first; i < first + count; ++i)
            sectors_[i].possible.push_back(number);
    }
    void end_write(std::uint64_t first, std::uint64_t count, std::uint32_t number) {
        for (std::uint64_t i = first; i < first + count; ++i)
            sectors_[i].now = number;
    }
    /// Call with the state at the flush's begin: what was complete then is safe when it ends.
    std::vector<std::uint32_t> snapshot() const {
        std::vector<std::uint32_t> all;
        for (const Sector &sector : sectors_)
            all.push_back(sector.now);
        return all;
    }
    void flushed(const std::vector<std::uint32_t> &safe) {
        for (std::size_t i = 0; i < sectors_.size(); ++i) {
            // Writes behind the flush's begin are still possible; they are numbered higher than what was safe then.
            std::vector<std::uint32_t> kept{safe[i]};
            for (const std::uint32_t number : sectors_[i].possible)
                if (number > safe[i])
                    kept.push_back(number);
            sectors_[i].possible = kept;
        }
    }

private:
    std::vector<Sector> sectors_;
};

/// A number from the environment: longer runs, other seeds.
inline std::uint64_t environment_number(const char *name, std::uint64_t fallback) {
    const char *text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 0) : fallback;
}

} // namespace rhea::block::qcow2
