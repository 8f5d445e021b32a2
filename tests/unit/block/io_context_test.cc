#include "rhea/block/io_context.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "fixture.h"
#include "rhea/block/co_sync.h"

namespace rhea::block {
namespace {

class IoContextTest : public EngineTest {};

Task<int> nested(int depth) {
    if (depth == 0)
        co_return 0;
    const int below = co_await nested(depth - 1);
    co_return below + 1;
}

TEST_P(IoContextTest, AwaitsNest) { EXPECT_EQ(context_.run(nested(1000)), 1000); }

TEST_P(IoContextTest, FilesAreReadAndWrittenInManyPieces) {
    const int fd = ::open(path("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    std::vector<std::uint8_t> out = pattern(300'000), in(out.size());
    IoVector from, to;
    for (std::size_t at = 0; at < out.size(); at += 1000) {
        from.append(out.data() + at, std::min<std::size_t>(1000, out.size() - at));
        to.append(in.data() + at, std::min<std::size_t>(1000, in.size() - at));
    }
    EXPECT_EQ(context_.run(context_.pwritev(fd, from, 5)), 300'000);
    EXPECT_EQ(context_.run(context_.fdatasync(fd)), 0);
    EXPECT_EQ(context_.run(context_.preadv(fd, to, 5)), 300'000);
    EXPECT_EQ(in, out);
    EXPECT_EQ(context_.run(context_.preadv(fd, to, 300'000)), 5) << "short at the end of the file";
    EXPECT_EQ(context_.run(context_.preadv(fd, to, 300'005)), 0);
    ::close(fd);
    EXPECT_EQ(context_.run(context_.preadv(fd, to, 0)), -EBADF);
}

TEST_P(IoContextTest, PoolWorkRunsElsewhereAndManyAtOnce) {
    std::atomic<int> inside{0}, most{0};
    unsigned finished = 0;
    for (int i = 0; i < 200; ++i)
        context_.spawn([](IoContext &context, std::atomic<int> &now, std::atomic<int> &peak, unsigned &done) -> Task<void> {
            const auto here = std::this_thread::get_id();
            std::function<std::int64_t()> work = [&now, &peak, here]() -> std::int64_t {
                EXPECT_NE(std::this_thread::get_id(), here);
                const int count = ++now;
                for (int seen = peak; count > seen && !peak.compare_exchange_weak(seen, count);) {
                }
                ::usleep(2000);
                --now;
                return 7;
            };
            const std::int64_t value = co_await context.in_pool(work);
            EXPECT_EQ(value, 7);
            EXPECT_EQ(std::this_thread::get_id(), here);
            ++done;
        }(context_, inside, most, finished));
    context_.run([](IoContext &context, unsigned &done) -> Task<void> {
        while (done < 200)
            co_await context.sleep(100'000);
    }(context_, finished));
    EXPECT_GT(most, 1);
    EXPECT_LE(most, 64);
}

TEST_P(IoContextTest, SleepersWakeInOrder) {
    std::string order;
    const auto sleeper = [](IoContext &context, std::int64_t ms, char name, std::string &out) -> Task<void> {
        co_await context.sleep(ms * 1'000'000);
        out += name;
    };
    context_.spawn(sleeper(context_, 20, 'c', order));
    context_.spawn(sleeper(context_, 1, 'a', order));
    context_.spawn(sleeper(context_, 10, 'b', order));
    context_.run(sleeper(context_, 40, 'd', order));
    EXPECT_EQ(order, "abcd");
}

TEST_P(IoContextTest, ReaderAndWriterWaitForOneSocket) {
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    std::string got;
    context_.spawn([](IoContext &context, int fd, std::string &out) -> Task<void> {
        const unsigned events = co_await context.wait_fd(fd, util::EventLoop::kReadable);
        EXPECT_EQ(events, unsigned{util::EventLoop::kReadable});
        char text[8];
        out.assign(text, static_cast<std::size_t>(::read(fd, text, sizeof text)));
    }(context_, pair[0], got));
    const unsigned writable = context_.run(context_.wait_fd(pair[0], util::EventLoop::kWritable));
    EXPECT_EQ(writable, unsigned{util::EventLoop::kWritable});
    EXPECT_EQ(got, "");
    EXPECT_EQ(::write(pair[1], "hello", 5), 5);
    context_.run(context_.sleep(5'000'000));
    EXPECT_EQ(got, "hello");
    ::close(pair[1]);
    const unsigned end = context_.run(context_.wait_fd(pair[0], util::EventLoop::kWritable));
    EXPECT_TRUE(end & util::EventLoop::kHangup);
    ::close(pair[0]);
}

TEST_P(IoContextTest, OtherThreadsWaitForWhatRunsInAnIoThread) {
    IoThread thread("io0");
    EXPECT_FALSE(thread.context().in_thread());
    const auto where = [](IoContext &context) -> Task<std::thread::id> {
        EXPECT_TRUE(context.in_thread());
        co_await context.sleep(1'000'000);
        co_return std::this_thread::get_id();
    };
    const std::thread::id id = thread.context().run_from_other_thread(where(thread.context()));
    EXPECT_NE(id, std::this_thread::get_id());
    // A coroutine of ours goes there and back.
    const auto hop = [](IoContext &home, IoContext &away) -> Task<bool> {
        co_await away.schedule();
        const bool was_there = away.in_thread();
        co_await home.schedule();
        co_return was_there &&home.in_thread();
    };
    EXPECT_TRUE(context_.run(hop(context_, thread.context())));
}

TEST_P(IoContextTest, ALoopOfAwaitsThatEndAtOnceTakesNoStack) {
    constexpr int kTurns = 1'000'000; // some 100 bytes of stack each would be more than there is
    const auto loop = []() -> Task<std::int64_t> {
        std::int64_t sum = 0;
        for (int i = 0; i < kTurns; ++i)
            sum += co_await nested(1);
        co_return sum;
    };
    EXPECT_EQ(context_.run(loop()), kTurns);
}

TEST_P(IoContextTest, ATaskMayEndInAnotherThreadThanItsAwaiterStartedItIn) {
    IoThread thread("io0");
    const auto go = [](IoContext &away) -> Task<int> {
        co_await away.schedule();
        co_return 1;
    };
    const auto loop = [](IoContext &home, IoContext &away, auto step) -> Task<int> {
        int sum = 0;
        for (int i = 0; i < 1000; ++i) {
            sum += co_await step(away);
            co_await home.schedule();
        }
        co_return sum;
    };
    EXPECT_EQ(context_.run(loop(context_, thread.context(), go)), 1000);
}

TEST_P(IoContextTest, AJoinedContextRunsInTheEventLoop) {
    util::EventLoop loop;
    IoContext context(&loop, GetParam());
    bool done = false;
    std::thread poster([&] { context.post([&] { done = true; }); });
    while (!done)
        loop.iterate(true);
    poster.join();
    int value = 0;
    context.spawn([](IoContext &self, int &out) -> Task<void> {
        co_await self.sleep(1'000'000);
        std::function<std::int64_t()> work = [] { return std::int64_t{3}; };
        out = static_cast<int>(co_await self.in_pool(work));
    }(context, value));
    while (value == 0)
        loop.iterate(true);
    EXPECT_EQ(value, 3);
    EXPECT_EQ(context.run(nested(3)), 3) << "run() needs no turn of the loop";
}

TEST_P(IoContextTest, MutexAndQueueKeepTheirOrder) {
    CoMutex mutex;
    std::string order;
    const auto user = [](IoContext &context, CoMutex &lock, std::string &out, char name) -> Task<void> {
        co_await lock.lock();
        out += name;
        co_await context.sleep(1'000'000);
        out += name;
        lock.unlock();
    };
    context_.spawn(user(context_, mutex, order, 'a'));
    context_.spawn(user(context_, mutex, order, 'b'));
    context_.run(user(context_, mutex, order, 'c'));
    EXPECT_EQ(order, "aabbcc");
    EXPECT_FALSE(mutex.locked());
}

Task<void> read_block(IoContext &context, int fd, std::vector<std::uint8_t> &image, std::uint64_t offset, unsigned &done) {
    std::vector<std::uint8_t> bytes(512);
    const IoVector to(bytes.data(), bytes.size());
    const std::int64_t got = co_await context.preadv(fd, to, offset);
    EXPECT_EQ(got, 512);
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), image.begin() + static_cast<std::ptrdiff_t>(offset)));
    ++done;
}

TEST_P(IoContextTest, MoreRequestsThanARingHolds) {
    std::vector<std::uint8_t> image = pattern(1000 * 512);
    const int fd = ::open(make_file("f", image).c_str(), O_RDONLY | O_CLOEXEC);
    unsigned done = 0;
    {
        const IoContext::Batch batch(context_);
        for (std::uint64_t i = 0; i < 1000; ++i)
            context_.spawn(read_block(context_, fd, image, i * 512, done));
    }
    context_.run([](IoContext &context, unsigned &count) -> Task<void> {
        while (count < 1000)
            co_await context.sleep(100'000);
    }(context_, done));
    EXPECT_EQ(done, 1000u);
    ::close(fd);
}

INSTANTIATE_TEST_SUITE_P(Each, IoContextTest, ::testing::Values(Engine::kIoUring, Engine::kThreads), engine_name);

} // namespace
} // namespace rhea::block
