// What the translator remembers of code that changes: places that are patched, pages that are made anew.
#include "accel/tcg/patch_sites.h"
#include "accel/tcg/regenerated_pages.h"

#include <gtest/gtest.h>

namespace rhea::accel {
namespace {

using tcg::ir::CodeField;

TEST(PatchSites, AreToldOfWhenTheyAreStoredToOften) {
    PatchSites sites;
    std::vector<CodeField> found{{1, 1}};
    for (unsigned n = 0; n < PatchSites::kOften; ++n) {
        sites.of_page(0x5000, found);
        EXPECT_TRUE(found.empty()) << n;
        sites.note(0x5123, 4);
    }
    sites.of_page(0x5000, found);
    EXPECT_EQ(found, (std::vector<CodeField>{{0x123, 4}}));
    sites.of_page(0x6000, found);
    EXPECT_TRUE(found.empty()) << "another page";
    sites.note(0x5123, 2); // as large no more
    sites.of_page(0x5000, found);
    EXPECT_TRUE(found.empty());
}

TEST(PatchSites, OfAPageAreForgotten) {
    PatchSites sites;
    for (unsigned n = 0; n < PatchSites::kOften; ++n) {
        sites.note(0x5123, 4);
        sites.note(0x7001, 1);
    }
    sites.forget_page(0x5000);
    std::vector<CodeField> found;
    sites.of_page(0x5000, found);
    EXPECT_TRUE(found.empty());
    sites.of_page(0x7000, found);
    EXPECT_EQ(found, (std::vector<CodeField>{{1, 1}}));
}

TEST(RegeneratedPages, AreShortLivedWhenSomeGenerationsWere) {
    RegeneratedPages pages;
    constexpr std::int64_t kStep = RegeneratedPages::kSoon / 2;
    std::int64_t now = 0;
    for (unsigned n = 0; n <= RegeneratedPages::kOften; ++n) {
        EXPECT_FALSE(pages.short_lived(0x5000, now)) << n;
        pages.note(0x5000, now += kStep);
    }
    EXPECT_TRUE(pages.short_lived(0x5000, now + kStep));
    EXPECT_FALSE(pages.short_lived(0x6000, now + kStep));
    EXPECT_FALSE(pages.short_lived(0x5000, now + 2 * kStep)) << "this one has lived for long";
    pages.note(0x5000, now += 2 * kStep);
    EXPECT_FALSE(pages.short_lived(0x5000, now)) << "counted anew";
}

} // namespace
} // namespace rhea::accel
