// The small containers of the TLB: sets of slots, spans of large pages, places that may be written.
#include "accel/tcg/large_spans.h"
#include "accel/tcg/page_marks.h"
#include "accel/tcg/slot_set.h"
#include "accel/tcg/write_places.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace rhea::accel {
namespace {

TEST(SlotSet, WalksAndDrainsWhatIsInIt) {
    SlotSet<16384> set;
    EXPECT_FALSE(set.maybe_any());
    const std::set<unsigned> in{0, 63, 64, 4095, 4096, 9999, 16383};
    for (const unsigned i : in)
        set.set(i);
    set.set(5000);
    set.reset(5000);
    EXPECT_TRUE(set.maybe_any());
    EXPECT_TRUE(set.test(9999));
    EXPECT_FALSE(set.test(5000));
    std::set<unsigned> seen;
    set.for_each([&](unsigned i) { seen.insert(i); });
    EXPECT_EQ(seen, in);
    seen.clear();
    set.for_each_in(4096, 64, [&](unsigned i) { seen.insert(i); });
    EXPECT_EQ(seen, std::set<unsigned>{4096});
    seen.clear();
    set.for_each_of(63, [&](unsigned i) { seen.insert(i); });
    EXPECT_EQ(seen, (std::set<unsigned>{63, 4095, 16383}));
    seen.clear();
    EXPECT_EQ(set.drain([&](unsigned i) { seen.insert(i); }), in.size());
    EXPECT_EQ(seen, in);
    EXPECT_FALSE(set.maybe_any());
    EXPECT_FALSE(set.test(0));
}

TEST(MarkedLines, OneRemainderOrAny) {
    MarkedLines lines = MarkedLines::none();
    lines = lines.with(70);
    EXPECT_FALSE(lines.all());
    EXPECT_EQ(lines.remainder(), 6u);
    lines = lines.with(6 + 64 * 9);
    EXPECT_EQ(lines, MarkedLines::of(6));
    lines = lines.with(7);
    EXPECT_TRUE(lines.all());
    EXPECT_TRUE(lines.with(7).all());
    EXPECT_EQ(MarkedLines::none().with(0).remainder(), 0u);
    EXPECT_EQ(MarkedLines::none().with(63).remainder(), 63u);
}

TEST(LargeSpans, NeighboursJoinAndNothingElseIsCovered) {
    constexpr std::uint64_t kSize = 0x200000;
    LargeSpans spans;
    EXPECT_FALSE(spans.covers(0));
    spans.add(0x600123, kSize);
    spans.add(0x200000, kSize);
    EXPECT_EQ(spans.size(), 2u);
    EXPECT_TRUE(spans.covers(0x600000) && spans.covers(0x7fffff) && spans.covers(0x200000) && spans.covers(0x3fffff));
    EXPECT_FALSE(spans.covers(0x1fffff) || spans.covers(0x400000) || spans.covers(0x5fffff) || spans.covers(0x800000));
    spans.add(0x400000, kSize);
    EXPECT_EQ(spans.size(), 1u);
    EXPECT_TRUE(spans.covers(0x5fffff));
    spans.add(0x200000, kSize);
    spans.add(0, 0x40000000); // swallows them
    EXPECT_EQ(spans.size(), 1u);
    spans.add(0x3fe00000, kSize);
    spans.add(~0ull, kSize);
    EXPECT_EQ(spans.size(), 2u);
    EXPECT_TRUE(spans.covers(~0ull));
    EXPECT_FALSE(spans.covers(0x40000000));
    spans.clear();
    EXPECT_FALSE(spans.covers(0));
}

TEST(LargeSpans, TooManyBecomeOneThatCoversAll) {
    LargeSpans spans;
    for (std::uint64_t n = 0; n <= LargeSpans::kMost; ++n)
        spans.add(n * 0x1000000, 0x200000);
    EXPECT_EQ(spans.size(), 1u);
    EXPECT_TRUE(spans.covers(0x800000));
    EXPECT_FALSE(spans.covers(0x100000000));
}

TEST(WritePlaces, KnowsAllPlacesOrSaysThatItDoesNot) {
    WritePlaces places;
    std::vector<std::pair<unsigned, std::uint64_t>> seen;
    const auto ask = [&](std::uint64_t host_page) {
        seen.clear();
        const bool known = places.for_each(host_page, [&](const WritePlaces::Place &p) { seen.emplace_back(p.window, p.linear_page); });
        return known ? static_cast<int>(seen.size()) : -1;
    };
    EXPECT_EQ(ask(0x7000), -1);
    places.note(0x7000, {0x1000, 3}, true);
    places.note(0x7000, {0x1000, 3}, false);
    places.note(0x7000, {0x2000, 1}, false);
    ASSERT_EQ(ask(0x7000), 2);
    EXPECT_EQ(seen[1], (std::pair<unsigned, std::uint64_t>{1, 0x2000}));
    places.note(0x7000, {0x3000, 1}, false);
    EXPECT_EQ(ask(0x7000), 3);
    places.note(0x7000, {0x4000, 1}, false); // no room
    EXPECT_EQ(ask(0x7000), -1);
    places.note(0x7000, {0x1000, 3}, true);
    EXPECT_EQ(ask(0x7000), 1);
    const std::uint64_t beside = 0x7000 + (1024u << 12); // the same line
    places.note(beside, {0x9000, 2}, false); // it had others before
    EXPECT_EQ(ask(0x7000), -1);
    EXPECT_EQ(ask(beside), -1);
}

} // namespace
} // namespace rhea::accel
