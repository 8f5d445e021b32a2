// Limits, on a clock of the test's own.
#include "rhea/block/throttle.h"

#include "fixture.h"
#include "rhea/block/backend.h"
#include "tests/support/memory_block_node.h"

namespace rhea::block {
namespace {

ThrottleLimits limits_of(const std::string &text) {
    auto options = NodeOptions::from_text(text);
    auto limits = ThrottleLimits::take(*options, "throttling.");
    EXPECT_TRUE(limits) << limits.error().message();
    EXPECT_TRUE(options->empty());
    return limits.value_or(ThrottleLimits{});
}
std::string refusal(const std::string &text) {
    auto options = NodeOptions::from_text(text);
    auto limits = ThrottleLimits::take(*options, "throttling.");
    return limits ? "" : limits.error().message();
}

/// Bytes that get through in `seconds` when the drive asks all the time.
std::uint64_t through(ThrottleGroup &group, std::int64_t seconds, std::uint64_t request, bool is_write, std::int64_t begin = 1'000'000'000) {
    std::uint64_t bytes = 0;
    for (std::int64_t now = begin; now < begin + seconds * 1'000'000'000;) {
        const std::int64_t wait = group.admit(is_write, request, now);
        if (wait == 0)
            bytes += request;
        now += wait;
    }
    return bytes;
}

TEST(ThrottleTest, TheAverageIsKept) {
    ThrottleGroup bytes("g", limits_of("throttling.bps-total=1000000"));
    EXPECT_NEAR(static_cast<double>(through(bytes, 10, 4096, true)), 1e7, 2.5e5);
    ThrottleGroup requests("g", limits_of("throttling.iops-read=100"));
    EXPECT_NEAR(static_cast<double>(through(requests, 10, 512, false)), 512 * 1000, 512 * 12);
    EXPECT_EQ(requests.admit(true, 512, 2'000'000'000), 0) << "writes have no limit there";
}

TEST(ThrottleTest, BurstsAreAllowedOnce) {
    ThrottleGroup group("g", limits_of("throttling.bps-write=1000,throttling.bps-write-max=10000,throttling.bps-write-max-length=5"));
    const auto first = static_cast<double>(through(group, 5, 100, true));
    EXPECT_NEAR(first, 50'000, 6000);
    const auto later = static_cast<double>(through(group, 10, 100, true, 11'000'000'000));
    EXPECT_LT(later, 22'000) << "what the first burst left, and the average";
}

TEST(ThrottleTest, LargeRequestsCountAsSeveral) {
    ThrottleGroup group("g", limits_of("throttling.iops-total=10,throttling.iops-size=4096"));
    EXPECT_NEAR(static_cast<double>(through(group, 10, 40960, true)), 4096 * 100, 4096 * 25);
}

TEST(ThrottleTest, ImpossibleLimitsAreRefused) {
    EXPECT_EQ(refusal("throttling.bps-total=1,throttling.bps-read=1"),
              "throttling.bps-total cannot be used together with throttling.bps-read or throttling.bps-write");
    EXPECT_EQ(refusal("throttling.iops-read-max=5"), "throttling.iops-read-max needs throttling.iops-read");
    EXPECT_EQ(refusal("throttling.iops-read=9,throttling.iops-read-max=5"), "throttling.iops-read-max is less than throttling.iops-read");
    EXPECT_EQ(refusal("throttling.bps-read=9,throttling.bps-read-max-length=2"), "throttling.bps-read-max-length needs throttling.bps-read-max");
    EXPECT_EQ(refusal("throttling.iops-size=512"), "throttling.iops-size needs a limit of iops");
    EXPECT_EQ(refusal("throttling.bps-read=x"), "'throttling.bps-read' takes a number, not 'x'");
}

class ThrottleDriveTest : public BlockTest {};

TEST_F(ThrottleDriveTest, DrainLetsEverybodyThrough) {
    BlockBackend backend("d", context_);
    auto node = std::make_shared<testing::MemoryBlockNode>(context_, 1 << 20);
    ASSERT_TRUE(backend.set_node(node));
    backend.set_throttle_group(std::make_shared<ThrottleGroup>("g", limits_of("throttling.iops-total=1")));
    unsigned done = 0;
    for (int i = 0; i < 20; ++i)
        context_.spawn([](BlockBackend &drive, unsigned &count) -> Task<void> {
            std::uint8_t byte = 0;
            const IoVector to(&byte, 1);
            auto got = co_await drive.read(0, to);
            EXPECT_TRUE(got);
            ++count;
        }(backend, done));
    EXPECT_LT(done, 5u);
    backend.drain(); // at one a second this would take long
    EXPECT_EQ(done, 20u);
}

TEST_F(ThrottleDriveTest, TheFilterNeedsItsGroup) {
    make_file("f", pattern(4096));
    NodeNames names;
    OpenFlags flags;
    flags.names = &names;
    const std::string options = "driver=throttle,throttle-group=g,file.driver=file,file.filename=" + path("f");
    EXPECT_EQ(open("", options, flags).error().message(), "there is no throttle group 'g'; -object throttle-group,id=g makes one");
    ASSERT_TRUE(names.add_throttle_group(std::make_shared<ThrottleGroup>("g", limits_of("throttling.bps-total=1000000"))));
    auto node = open("", options, flags);
    ASSERT_TRUE(node) << node.error().message();
    EXPECT_EQ(read(**node, 0, 4096), pattern(4096));
}

} // namespace
} // namespace rhea::block
