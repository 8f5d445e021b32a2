#include "tests/golden/fixture.h"

#include <gtest/gtest.h>

#include "tests/golden/host_listing.h"

namespace rhea::golden {
namespace {

constexpr const char* kText =
    "# Comment\nproducer: p\n\n=== one\na  \nb\n---\nx\n\ny\n\n=== two\n---\n";

TEST(GoldenFixture, PartsAreTakenApart) {
    const auto f = parse_fixture(kText);
    ASSERT_TRUE(f) << f.error().message();
    EXPECT_EQ(f->producer, "p");
    EXPECT_EQ(f->header, "# Comment\nproducer: p\n");
    ASSERT_EQ(f->cases.size(), 2u);
    EXPECT_EQ(f->cases[0].name, "one");
    EXPECT_EQ(f->cases[0].input, "a\nb\n");
    EXPECT_EQ(f->cases[0].expected, "x\n\ny\n");
    EXPECT_EQ(f->cases[1].name, "two");
    EXPECT_EQ(f->cases[1].input, "");
    EXPECT_EQ(f->cases[1].expected, "");
}

TEST(GoldenFixture, FormattingIsStable) {
    const std::string text = format_fixture(*parse_fixture(kText));
    EXPECT_EQ(text, "# Comment\nproducer: p\n\n=== one\na\nb\n---\nx\n\ny\n\n=== two\n---\n");
    EXPECT_EQ(format_fixture(*parse_fixture(text)), text);
}

TEST(GoldenFixture, MistakesAreNamed) {
    EXPECT_EQ(parse_fixture("=== a\n---\n").error().message(), "no line \"producer: name\"");
    EXPECT_EQ(parse_fixture("producer: p\n=== a\n=== b\n---\n").error().message(),
              "line 3: case \"a\" has no line \"---\"");
    EXPECT_EQ(parse_fixture("producer: p\n=== a\n").error().message(),
              "the last case has no line \"---\"");
    EXPECT_EQ(parse_fixture("producer: p\n=== a\n---\n=== a\n---\n").error().message(),
              "line 4: a case needs a name of its own, not \"a\"");
    EXPECT_FALSE(parse_fixture("hello\n"));
    EXPECT_FALSE(read_fixture("/nonexistent.golden"));
}

TEST(GoldenDiff, ShowsChangesWithContext) {
    EXPECT_EQ(line_diff("a\nb\n", "a \nb"), "");
    EXPECT_EQ(line_diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\n5\nx\n7\n8\n9\n"),
              "...\n  3\n  4\n  5\n- 6\n+ x\n  7\n  8\n  9\n");
    EXPECT_EQ(line_diff("", "new\n"), "+ new\n");
    EXPECT_EQ(line_diff("old\n", ""), "- old\n");
}

TEST(GoldenBytes, HexadecimalWithComments) {
    const auto bytes = parse_bytes("48 89c8 # mov\n; nothing\nC3");
    ASSERT_TRUE(bytes);
    EXPECT_EQ(*bytes, (std::vector<std::uint8_t>{0x48, 0x89, 0xc8, 0xc3}));
    EXPECT_FALSE(parse_bytes("4"));
    EXPECT_FALSE(parse_bytes("4 8"));
    EXPECT_FALSE(parse_bytes("xy"));
}

TEST(GoldenListing, IsTheSameWhereverTheCodeLies) {
    const auto bytes = *parse_bytes("e8 05 00 00 00 48 8b 05 f4 ff ff ff 75 f2 c3");
    const HostListing a = list_host_code(bytes, 0x1000), b = list_host_code(bytes, 0x7f0000000000);
    EXPECT_EQ(a.text, b.text);
    EXPECT_EQ(a.calls, 1u);
    EXPECT_EQ(a.instructions, 4u);
}

TEST(GoldenListing, NamesComeFromTheCaller) {
    const Namer namer = [](std::uint64_t address) -> std::string {
        return address == 0x2000 ? "thunk" : address == 0x1122334455667788 ? "function" : "";
    };
    const auto bytes =
        *parse_bytes("e9 fb 0f 00 00 48 b8 88 77 66 55 44 33 22 11 48 b8 01 00 00 00 00 00 00 10");
    EXPECT_EQ(list_host_code(bytes, 0x1000, namer).text,
              "    jmp thunk\n    movabs rax, function\n    movabs rax, 0x1000000000000001\n");
}

}  // namespace
}  // namespace rhea::golden
