// Images in use: locks that QEMU's programs and ours both see.
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "fixture.h"

namespace rhea::block {
namespace {

class LockTest : public BlockTest {
protected:
    int code(const std::string &options, OpenFlags flags = {}) {
        auto node = open(path("f"), options, flags);
        return node ? 0 : node.error().code();
    }
    LockTest() { make_file("f", pattern(4096)); }
};

TEST_F(LockTest, AWriterIsAlone) {
    auto writer = open(path("f"), "driver=raw");
    ASSERT_TRUE(writer);
    EXPECT_EQ(open(path("f"), "driver=raw").error().message(), "'" + path("f") + "' is in use by another process or drive, which must end first");
    EXPECT_EQ(code("driver=raw,read-only=on"), EBUSY);
    EXPECT_EQ(code("driver=raw,read-only=on,force-share=on"), 0);
    EXPECT_EQ(code("driver=raw,file.locking=off"), 0);
    OpenFlags share;
    share.no_lock = share.read_only = true;
    EXPECT_EQ(code("driver=raw", share), 0);
    writer->reset();
    EXPECT_EQ(code("driver=raw"), 0);
}

TEST_F(LockTest, ReadersShare) {
    auto reader = open(path("f"), "driver=raw,read-only=on");
    ASSERT_TRUE(reader);
    EXPECT_EQ(code("driver=raw,read-only=on"), 0);
    EXPECT_EQ(code("driver=raw"), EBUSY);
    EXPECT_EQ(context_.run(create_image(context_, **find_driver("raw"), path("f"), 100, {})).error().code(), EBUSY);
    EXPECT_EQ(file_bytes("f").size(), 4096u) << "what is in use is not emptied";
}

/// Runs qemu-img on the image; its exit status.
int qemu_img(const std::string &arguments) { return WEXITSTATUS(std::system(("qemu-img " + arguments + " >/dev/null 2>&1").c_str())); }

TEST_F(LockTest, QemuImgSeesThem) {
    if (qemu_img("--version") != 0)
        GTEST_SKIP() << "qemu-img is not installed";
    auto writer = open(path("f"), "driver=raw");
    EXPECT_NE(qemu_img("resize -f raw " + path("f") + " 1M"), 0);
    writer->reset();
    writer = open(path("f"), "driver=raw,force-share=on,read-only=on");
    auto reader = open(path("f"), "driver=raw,read-only=on");
    EXPECT_EQ(qemu_img("info -f raw " + path("f")), 0);
    EXPECT_NE(qemu_img("resize -f raw " + path("f") + " 1M"), 0);
}

} // namespace
} // namespace rhea::block
