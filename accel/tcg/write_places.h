// Where code may store to a page of RAM by the inline check: which windows have a write tag for it.
//
// When a page gets its first translated block, its write tags go; this tells where they are, so that not every table has
// to be searched. vCPU thread only.
#pragma once
#include <array>
#include <cstdint>

namespace rhea::accel {

class WritePlaces {
public:
    struct Place {
        std::uint64_t linear_page = 0;
        unsigned window = 0;
    };

    /// A write tag was made. `only`: there was none of this page anywhere.
    void note(std::uint64_t host_page, Place place, bool only) {
        Page &page = page_of(host_page);
        if (only)
            page = {host_page, 0, true, {}};
        else if (page.host_page != host_page)
            page = {host_page, 0, false, {}}; // another page's places were here
        if (!page.complete)
            return;
        for (unsigned i = 0; i < page.count; ++i) {
            if (page.places[i].linear_page == place.linear_page && page.places[i].window == place.window)
                return;
        }
        if (page.count == page.places.size())
            page.complete = false;
        else
            page.places[page.count++] = place;
    }

    /// Calls f for each place; false: they are not all known.
    template <class F>
    bool for_each(std::uint64_t host_page, F &&f) const {
        const Page &page = pages_[index(host_page)];
        if (page.host_page != host_page || !page.complete)
            return false;
        for (unsigned i = 0; i < page.count; ++i)
            f(page.places[i]);
        return true;
    }

private:
    struct Page {
        std::uint64_t host_page = 0;
        unsigned count = 0;
        bool complete = false;
        std::array<Place, 3> places{};
    };
    static unsigned index(std::uint64_t host_page) { return (host_page >> 12) % 1024; }
    Page &page_of(std::uint64_t host_page) { return pages_[index(host_page)]; }
    std::array<Page, 1024> pages_{};
};

} // namespace rhea::accel
