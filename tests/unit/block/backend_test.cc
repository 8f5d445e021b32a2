// What a device sees of its drive, over a node in memory.
#include "rhea/block/backend.h"

#include <cerrno>
#include <thread>

#include "fixture.h"
#include "tests/support/memory_block_node.h"

namespace rhea::block {
namespace {

using testing::MemoryBlockNode;
using Kind = MemoryBlockNode::Kind;

class BackendTest : public BlockTest {
protected:
    BackendTest() { EXPECT_TRUE(backend_.set_node(node_)); }

    int write_code(std::uint64_t offset, std::vector<std::uint8_t> bytes, unsigned flags = kNoFlags) {
        const IoVector all(bytes.data(), bytes.size());
        auto done = context_.run(backend_.write(offset, all, flags));
        return done ? 0 : done.error().code();
    }
    int read_code(std::uint64_t offset, std::size_t size) {
        std::vector<std::uint8_t> bytes(size);
        const IoVector all(bytes.data(), size);
        auto done = context_.run(backend_.read(offset, all));
        return done ? 0 : done.error().code();
    }

    std::shared_ptr<MemoryBlockNode> node_ = std::make_shared<MemoryBlockNode>(context_, 65536);
    BlockBackend backend_{"drive0", context_};
};

TEST_F(BackendTest, RequestsOutsideTheMediumFailWithoutReachingIt) {
    EXPECT_EQ(read_code(65536, 1), EINVAL);
    EXPECT_EQ(read_code(65535, 2), EINVAL);
    EXPECT_EQ(read_code(~0ull, 2), EINVAL);
    EXPECT_EQ(write_code(65530, pattern(7)), EINVAL);
    EXPECT_TRUE(node_->log.empty());
    EXPECT_EQ(backend_.stats().read.invalid, 3u);
    EXPECT_EQ(read_code(65535, 1), 0);
    EXPECT_EQ(backend_.stats().read.operations, 1u);
    EXPECT_EQ(backend_.stats().read.bytes, 1u);
}

TEST_F(BackendTest, NoMediumAndReadOnlyHaveTheirCodes) {
    node_->set_read_only(true);
    EXPECT_EQ(write_code(0, pattern(512)), EPERM);
    EXPECT_EQ(context_.run(backend_.discard(0, 512)).error().code(), EPERM);
    EXPECT_TRUE(backend_.set_node(nullptr));
    EXPECT_EQ(backend_.length(), 0u);
    EXPECT_EQ(read_code(0, 1), ENOMEDIUM);
    EXPECT_EQ(context_.run(backend_.flush()).error().code(), ENOMEDIUM);
}

TEST_F(BackendTest, WithoutAWriteCacheEachWriteIsStable) {
    backend_.set_write_cache(false);
    EXPECT_EQ(write_code(0, pattern(512)), 0);
    EXPECT_EQ(node_->unflushed(), 0u);
    EXPECT_TRUE(context_.run(backend_.write_zeroes(0, 512)));
    EXPECT_EQ(node_->unflushed(), 0u);
    backend_.set_write_cache(true);
    EXPECT_EQ(write_code(0, pattern(512)), 0);
    EXPECT_EQ(node_->unflushed(), 1u);
    EXPECT_NE(node_->after_crash(0), node_->bytes);
    EXPECT_TRUE(context_.run(backend_.flush()));
    EXPECT_EQ(node_->after_crash(0), node_->bytes);
}

TEST_F(BackendTest, ZeroesAreDetectedWhenAskedFor) {
    NodeSettings settings;
    EXPECT_EQ(write_code(0, std::vector<std::uint8_t>(4096)), 0);
    EXPECT_EQ(node_->log.back().kind, Kind::kWrite);
    settings.detect_zeroes = DetectZeroes::kUnmap;
    node_->set_settings(settings);
    EXPECT_EQ(write_code(0, std::vector<std::uint8_t>(4096)), 0);
    EXPECT_EQ(node_->log.back().kind, Kind::kWriteZeroes);
    EXPECT_EQ(node_->log.back().flags, unsigned{kMayUnmap});
    EXPECT_EQ(write_code(0, pattern(4096)), 0);
    EXPECT_EQ(node_->log.back().kind, Kind::kWrite);
}

TEST_F(BackendTest, DiscardsReachTheNodeOnlyWithUnmap) {
    EXPECT_TRUE(context_.run(backend_.discard(0, 4096)));
    EXPECT_EQ(node_->count(Kind::kDiscard), 0u);
    NodeSettings settings;
    settings.unmap = true;
    node_->set_settings(settings);
    EXPECT_TRUE(context_.run(backend_.discard(0, 4096)));
    EXPECT_EQ(node_->count(Kind::kDiscard), 1u);
}

TEST_F(BackendTest, ErrorsKeepTheHostsCodeAndFollowThePolicy) {
    node_->fail_request(1, ENOSPC, Kind::kWrite);
    EXPECT_EQ(write_code(0, pattern(512)), 0);
    EXPECT_EQ(write_code(0, pattern(512)), ENOSPC);
    EXPECT_EQ(backend_.stats().write.failed, 1u);

    unsigned stops = 0;
    backend_.on_stop = [&](const util::Error &error) {
        ++stops;
        EXPECT_EQ(error.code(), ENOSPC);
    };
    EXPECT_EQ(backend_.error_action(true, EIO), ErrorAction::kReport);
    EXPECT_EQ(backend_.error_action(false, EIO), ErrorAction::kReport);
    EXPECT_EQ(backend_.error_action(false, ENOSPC), ErrorAction::kStop);
    EXPECT_EQ(stops, 1u);
    EXPECT_EQ(backend_.io_status(), ENOSPC);
    backend_.set_error_actions(ErrorAction::kIgnore, ErrorAction::kReport);
    EXPECT_EQ(backend_.error_action(true, EIO), ErrorAction::kIgnore);
    EXPECT_EQ(backend_.error_action(false, ENOSPC), ErrorAction::kReport);
}

Task<void> slow_read(BlockBackend &backend, std::uint8_t &byte, unsigned &done) {
    const IoVector to(&byte, 1);
    auto result = co_await backend.read(0, to);
    EXPECT_TRUE(result);
    ++done;
}

TEST_F(BackendTest, DrainWaitsForWhatIsInFlight) {
    IoThread thread("io0");
    BlockBackend backend("drive1", thread.context());
    auto node = std::make_shared<MemoryBlockNode>(thread.context(), 4096);
    node->yields = true;
    ASSERT_TRUE(backend.set_node(node));
    std::uint8_t byte = 0;
    unsigned done = 0;
    for (unsigned round = 1; round <= 50; ++round) {
        thread.context().post([&] {
            for (int i = 0; i < 10; ++i)
                thread.context().spawn(slow_read(backend, byte, done));
        });
        backend.drain();
        EXPECT_EQ(backend.in_flight(), 0u);
        EXPECT_EQ(done, round * 10);
    }
    EXPECT_EQ(backend.copy_stats().read.operations, 500u);
}

TEST_F(BackendTest, ADriveMovesToAnotherContextAndBack) {
    make_file("f", pattern(4096));
    auto opened = open(path("f"), "driver=raw");
    ASSERT_TRUE(opened) << opened.error().message();
    BlockBackend backend("drive1", context_);
    ASSERT_TRUE(backend.set_node(*opened));
    IoThread thread("io0");
    ASSERT_TRUE(backend.set_context(thread.context()));
    EXPECT_EQ(&(*opened)->file()->context(), &thread.context());
    std::uint8_t byte = 0;
    unsigned done = 0;
    thread.context().run_from_other_thread(slow_read(backend, byte, done));
    EXPECT_EQ(byte, pattern(1)[0]);
    ASSERT_TRUE(backend.set_context(context_));
    context_.run(slow_read(backend, byte, done));
    EXPECT_EQ(done, 2u);
}

TEST_F(BackendTest, ResizeTellsTheDevice) {
    unsigned told = 0;
    backend_.on_resize = [&] { ++told; };
    ASSERT_TRUE(backend_.resize(131072));
    EXPECT_EQ(backend_.length(), 131072u);
    EXPECT_EQ(told, 1u);
    node_->set_read_only(true);
    EXPECT_EQ(backend_.resize(1).error().code(), EPERM);
    EXPECT_EQ(told, 1u);
}

} // namespace
} // namespace rhea::block
