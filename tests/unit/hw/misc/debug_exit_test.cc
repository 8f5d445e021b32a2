#include "hw/misc/debug_exit.h"

#include <gtest/gtest.h>

namespace rhea::hw {
namespace {

struct Requests final : core::MachineRequests {
    core::ShutdownCause cause = core::ShutdownCause::kNone;
    int status = -1;
    void request_shutdown(core::ShutdownCause why, int exit_status) override {
        cause = why;
        status = exit_status;
    }
    void request_reset(core::ShutdownCause) override {}
    void request_work(std::function<void()>) override {}
};

class DebugExitTest : public ::testing::Test {
  protected:
    std::unique_ptr<core::MemoryRegion> root = core::MemoryRegion::container("io", 0x10000);
    core::AddressSpace io{"io", *root};

    Requests requests;
    DebugExit device{requests, *root};
};

TEST_F(DebugExitTest, TheWrittenValueMakesTheStatus) {
    ASSERT_TRUE(device.realize());
    EXPECT_EQ(io.load(0x501, 1), 0u);
    EXPECT_EQ(requests.cause, core::ShutdownCause::kNone);
    io.store(0x501, 0x10, 1);
    EXPECT_EQ(requests.cause, core::ShutdownCause::kDebugExit);
    EXPECT_EQ(requests.status, 0x21);
    io.store(0x501, 0, 1);
    EXPECT_EQ(requests.status, 1);
}

TEST_F(DebugExitTest, FourPortsTakeADoubleWord) {
    ASSERT_TRUE(device.properties().set("iobase", "0xf4"));
    ASSERT_TRUE(device.properties().set("iosize", "4"));
    ASSERT_TRUE(device.realize());
    io.store(0xf4, 0x12345, 4);
    EXPECT_EQ(requests.status, 0x8b);
}

TEST_F(DebugExitTest, RefusesPortsThatDoNotExist) {
    ASSERT_TRUE(device.properties().set("iobase", "0xffff"));
    EXPECT_FALSE(device.realize());
}

}  // namespace
}  // namespace rhea::hw
