// Linear address ranges that large pages covered, neighbours joined: what INVLPG may not treat as one small page.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace rhea::accel {

class LargeSpans {
public:
    static constexpr std::size_t kMost = 64;

    bool covers(std::uint64_t linear) const {
        const auto at = after(linear);
        return at != spans_.begin() && linear <= std::prev(at)->last;
    }
    /// A page of `size` bytes (a power of two) round `linear`. Beyond kMost spans they become one, which covers more.
    void add(std::uint64_t linear, std::uint64_t size) {
        Span span{linear & ~(size - 1), linear | (size - 1)};
        auto at = after(span.first);
        if (at != spans_.begin() && span.last <= std::prev(at)->last)
            return;
        if (at != spans_.begin() && (span.first <= std::prev(at)->last || span.first == std::prev(at)->last + 1))
            span.first = (--at)->first;
        auto end = at;
        while (end != spans_.end() && end->first - 1 <= span.last) {
            span.last = std::max(span.last, end->last);
            ++end;
        }
        spans_.insert(spans_.erase(at, end), span);
        if (spans_.size() > kMost)
            spans_ = {{spans_.front().first, spans_.back().last}};
    }
    void clear() { spans_.clear(); }
    std::size_t size() const { return spans_.size(); }

private:
    struct Span {
        std::uint64_t first, last;
    };
    /// The first span that begins behind the address.
    std::vector<Span>::const_iterator after(std::uint64_t linear) const {
        return std::upper_bound(spans_.begin(), spans_.end(), linear,
                                [](std::uint64_t at, const Span &span) { return at < span.first; });
    }
    std::vector<Span> spans_; ///< in order, disjoint, not even touching
};

} // namespace rhea::accel
