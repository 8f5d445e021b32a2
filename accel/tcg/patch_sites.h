// Which bytes of code the guest stores to again and again while it runs: a counter in an instruction's immediate, an inline cache.
//
// A store that dropped blocks is noted by its address and size. What has been noted kOften times is told to the frontend when blocks of
// the page are translated (FetchWindow::patched). With the CodeSpace's lock held.
#pragma once
#include "rhea/core/types.h"
#include "rhea/tcg/ir.h"

#include <array>
#include <cstdint>
#include <vector>

namespace rhea::accel {

class PatchSites {
public:
    static constexpr unsigned kOften = 4;

    /// A store to [ram_addr, ram_addr + size) dropped blocks.
    void note(std::uint64_t ram_addr, unsigned size) {
        Site &site = sites_[(ram_addr ^ ram_addr >> 6 ^ ram_addr >> 12) % sites_.size()];
        if (site.ram_addr != ram_addr || site.size != size) {
            often_ -= site.count >= kOften;
            site = {ram_addr, size, 0};
        }
        often_ += ++site.count == kOften;
    }

    /// The page's code is another one: what was noted says nothing of it.
    void forget_page(std::uint64_t ram_page) {
        for (Site &site : sites_) {
            if ((site.ram_addr & core::kPageMask) != ram_page)
                continue;
            often_ -= site.count >= kOften;
            site = {};
        }
    }

    /// What is stored to often, by page offset.
    void of_page(std::uint64_t ram_page, std::vector<tcg::ir::CodeField> &out) const {
        out.clear();
        if (often_ == 0) [[likely]]
            return;
        for (const Site &site : sites_) {
            if (site.count >= kOften && (site.ram_addr & core::kPageMask) == ram_page)
                out.push_back({static_cast<std::uint16_t>(site.ram_addr & ~core::kPageMask), static_cast<std::uint8_t>(site.size)});
        }
    }

private:
    struct Site {
        std::uint64_t ram_addr = ~0ull;
        unsigned size = 0, count = 0;
    };
    std::array<Site, 64> sites_{};
    unsigned often_ = 0; ///< sites with kOften or more
};

} // namespace rhea::accel
