#include "rhea/util/event_loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

namespace rhea::util {
namespace {

class EventLoopTest : public ::testing::Test {
  protected:
    EventLoop loop;
    int ends[2] = {-1, -1};

    EventLoopTest() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0); }
    ~EventLoopTest() override {
        ::close(ends[0]);
        if (ends[1] >= 0) {
            ::close(ends[1]);
        }
    }
    void send() { EXPECT_EQ(::write(ends[1], "x", 1), 1); }
    void hang_up() {
        ::close(ends[1]);
        ends[1] = -1;
    }
};

TEST_F(EventLoopTest, TellsOfReadableDescriptors) {
    unsigned seen = 0;
    auto watch =
        loop.watch(ends[0], EventLoop::kReadable, [&](unsigned events) { seen |= events; });
    EXPECT_FALSE(loop.iterate(false));
    EXPECT_EQ(seen, 0u);
    send();
    EXPECT_TRUE(loop.iterate(true));
    EXPECT_EQ(seen, unsigned{EventLoop::kReadable});
}

TEST_F(EventLoopTest, EventsCanBeChanged) {
    int calls = 0;
    auto watch = loop.watch(ends[0], 0, [&](unsigned) { ++calls; });
    send();
    EXPECT_FALSE(loop.iterate(false));
    watch->set_events(EventLoop::kReadable);
    EXPECT_TRUE(loop.iterate(false));
    EXPECT_EQ(calls, 1);
    watch->set_events(EventLoop::kWritable | EventLoop::kReadable);
    EXPECT_TRUE(loop.iterate(false));
    EXPECT_EQ(calls, 2);
    watch->set_events(0);
    EXPECT_FALSE(loop.iterate(false));
    EXPECT_EQ(calls, 2);
}

TEST_F(EventLoopTest, AHangUpDoesNotSpinAPausedWatch) {
    int calls = 0;
    auto watch = loop.watch(ends[0], 0, [&](unsigned) { ++calls; });
    hang_up();
    EXPECT_FALSE(loop.iterate(false));
    EXPECT_EQ(calls, 0);
    unsigned seen = 0;
    auto other = loop.watch(ends[0], EventLoop::kReadable, [&](unsigned events) { seen = events; });
    EXPECT_TRUE(loop.iterate(false));
    EXPECT_NE(seen & EventLoop::kHangup, 0u);
}

TEST_F(EventLoopTest, AWatchMayEndInItsOwnCallback) {
    int calls = 0;
    std::unique_ptr<EventLoop::Watch> watch;
    watch = loop.watch(ends[0], EventLoop::kReadable, [&](unsigned) {
        ++calls;
        watch.reset();
        ++calls;
    });
    send();
    EXPECT_TRUE(loop.iterate(true));
    EXPECT_FALSE(loop.iterate(false));
    EXPECT_EQ(calls, 2);
}

TEST_F(EventLoopTest, PostedFunctionsRunInTheLoopsThreadInOrder) {
    const std::thread::id here = std::this_thread::get_id();
    std::vector<int> order;
    std::thread other([&] {
        for (int i = 0; i < 5; ++i) {
            loop.post([&, i] {
                EXPECT_EQ(std::this_thread::get_id(), here);
                order.push_back(i);
            });
        }
        loop.post([&] { loop.quit(); });
    });
    loop.run();
    other.join();
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST_F(EventLoopTest, QuitFromAnotherThreadEndsRun) {
    std::thread other([&] { loop.quit(); });
    loop.run();
    other.join();
    bool ran = false;
    loop.post([&] {
        ran = true;
        loop.quit();
    });
    loop.run();  // and it can run again
    EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace rhea::util
