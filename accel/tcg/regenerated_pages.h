// Pages of RAM whose code is made anew again and again, within milliseconds: what is translated there will not run long.
//
// With the CodeSpace's lock held.
#pragma once
#include "rhea/core/types.h"

#include <array>
#include <cstdint>

namespace rhea::accel {

class RegeneratedPages {
public:
    static constexpr std::int64_t kSoon = 20'000'000; ///< nanoseconds
    static constexpr unsigned kOften = 4;

    /// All blocks of the page were dropped at once because its code was being overwritten.
    void note(std::uint64_t ram_page, std::int64_t now) {
        Page &page = page_of(ram_page);
        const bool soon = page.ram_page == ram_page && now - page.last < kSoon;
        page = {ram_page, now, soon ? page.quick + 1 : 0};
    }
    /// Was the page's code made anew kOften times, each soon after the last one, which is not long ago?
    bool short_lived(std::uint64_t ram_page, std::int64_t now) const {
        const Page &page = pages_[index(ram_page)];
        return page.ram_page == ram_page && page.quick >= kOften && now - page.last < kSoon;
    }

private:
    struct Page {
        std::uint64_t ram_page = ~0ull;
        std::int64_t last = 0;
        unsigned quick = 0; ///< generations that lived shortly, in a row
    };
    static constexpr unsigned kPages = 64;
    static unsigned index(std::uint64_t ram_page) { return (ram_page >> core::kPageBits) % kPages; }
    Page &page_of(std::uint64_t ram_page) { return pages_[index(ram_page)]; }
    std::array<Page, kPages> pages_{};
};

} // namespace rhea::accel
