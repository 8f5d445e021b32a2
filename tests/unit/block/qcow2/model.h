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

    /// What a write put into a sector; `order` grows from write to write.
    struct Content {
        std::uint32_t order = 0, number = 0;
    };
    struct Sector {
        Content now;
        std::vector<Content> possible{Content{}}; ///< after a crash
        void is(std::uint32_t number) {
            now = {0, number};
            possible = {now};
        }
        bool can_be(std::uint32_t number) const {
            return std::any_of(possible.begin(), possible.end(), [=](const Content &each) { return each.number == number; });
        }
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
    void begin_write(std::uint64_t first, std::uint64_t count, Content content) {
        for (std::uint64_t i = first; i < first + count; ++i)
            sectors_[i].possible.push_back(content);
    }
    void end_write(std::uint64_t first, std::uint64_t count, Content content) {
        for (std::uint64_t i = first; i < first + count; ++i)
            sectors_[i].now = content;
    }
    /// The state at a flush's begin: what was complete then is safe when it ends.
    std::vector<Content> snapshot() const {
        std::vector<Content> all;
        for (const Sector &sector : sectors_)
            all.push_back(sector.now);
        return all;
    }
    void flushed(const std::vector<Content> &safe) {
        for (std::size_t i = 0; i < sectors_.size(); ++i) {
            std::vector<Content> kept{safe[i]}; // and what was begun later
            for (const Content &content : sectors_[i].possible)
                if (content.order > safe[i].order)
                    kept.push_back(content);
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
