// Backends without a network: null, file, pipe, pty, ringbuf.
#include <fcntl.h>
#include <sys/stat.h>
#include <termios.h>

#include <fstream>
#include <sstream>

#include "harness.h"
#include "rhea/chardev/ringbuf.h"

namespace rhea::chardev {
namespace {

std::string contents(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

TEST_F(ChardevTest, NullTakesEverything) {
    Device device;
    auto* backend = open("null", device);
    EXPECT_EQ(write(backend, "lost"), 4u);
    EXPECT_EQ(device.opened, 1u);
    EXPECT_EQ(device.received, "");
}

TEST_F(ChardevTest, NoneIsNoBackend) {
    auto backend = set_.open_short("none", "x");
    ASSERT_TRUE(backend);
    EXPECT_EQ(*backend, nullptr);
}

TEST_F(ChardevTest, FileGetsWhatIsWritten) {
    Device device;
    auto* backend = open("file:" + folder_ + "/out", device);
    EXPECT_EQ(write(backend, "hello\n"), 6u);
    EXPECT_EQ(contents(folder_ + "/out"), "hello\n");
}

TEST_F(ChardevTest, FileIsTruncatedUnlessAppended) {
    const std::string path = folder_ + "/log";
    std::ofstream(path) << "old";
    Device device;
    write(open("file:" + path + ",append=on", device), "+new");
    EXPECT_EQ(contents(path), "old+new");
    write(open("file:" + path, device), "x");
    EXPECT_EQ(contents(path), "x");
}

TEST_F(ChardevTest, FileThatCannotBeMadeIsRefusedByName) {
    EXPECT_EQ(refusal("file:" + folder_ + "/no/such"),
              "cannot open " + folder_ + "/no/such: No such file or directory");
}

TEST_F(ChardevTest, LogFileHoldsTheOutputToo) {
    auto added = set_.add(util::OptionList::parse("null,id=n,logfile=" + folder_ + "/copy", "backend"));
    ASSERT_TRUE(added);
    write(*added, "seen");
    EXPECT_EQ(contents(folder_ + "/copy"), "seen");
}

TEST_F(ChardevTest, PipeCarriesBothWays) {
    ASSERT_EQ(::mkfifo((folder_ + "/p.in").c_str(), 0600), 0);
    ASSERT_EQ(::mkfifo((folder_ + "/p.out").c_str(), 0600), 0);
    Device device;
    auto* backend = open("pipe:" + folder_ + "/p", device);
    ASSERT_NE(backend, nullptr);
    const int in = ::open((folder_ + "/p.in").c_str(), O_WRONLY);
    const int out = ::open((folder_ + "/p.out").c_str(), O_RDONLY | O_NONBLOCK);
    ASSERT_EQ(::write(in, "typed", 5), 5);
    EXPECT_TRUE(wait_for([&] { return device.received == "typed"; }));
    write(backend, "said");
    char buffer[8] = {};
    EXPECT_EQ(::read(out, buffer, sizeof buffer), 4);
    EXPECT_STREQ(buffer, "said");
    ::close(in);
    ::close(out);
}

TEST_F(ChardevTest, PtyConnectsWhenItsSlaveIsOpened) {
    Device device;
    auto* backend = open("pty", device);
    const std::size_t at = announced_.find("/dev/pts/");
    ASSERT_NE(at, std::string::npos) << announced_;
    const std::string path = announced_.substr(at, announced_.find(' ', at) - at);
    EXPECT_EQ(device.opened, 0u);
    EXPECT_EQ(write(backend, "nobody reads this"), 17u);

    const int slave = ::open(path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK);
    ASSERT_GE(slave, 0);
    EXPECT_TRUE(wait_for([&] { return device.opened == 1; }));
    ASSERT_EQ(::write(slave, "in\r", 3), 3);
    EXPECT_TRUE(wait_for([&] { return device.received == "in\r"; }));
    write(backend, "out\n");
    char buffer[32] = {};
    EXPECT_EQ(::read(slave, buffer, sizeof buffer), 4);
    EXPECT_STREQ(buffer, "out\n");

    ::close(slave);
    EXPECT_TRUE(wait_for([&] { return device.closed == 1; }));
    const int again = ::open(path.c_str(), O_RDWR | O_NOCTTY);
    EXPECT_TRUE(wait_for([&] { return device.opened == 2; }));
    ::close(again);
}

TEST_F(ChardevTest, RingbufKeepsTheLastBytes) {
    auto added = set_.add(util::OptionList::parse("ringbuf,id=r,size=8", "backend"));
    ASSERT_TRUE(added);
    write(*added, "0123456789");
    auto* ring = dynamic_cast<RingBuffer*>(*added);
    ASSERT_NE(ring, nullptr);
    EXPECT_EQ(ring->take(3), "234");
    EXPECT_EQ(ring->take(100), "56789");
    EXPECT_EQ(ring->take(100), "");
}

TEST_F(ChardevTest, RingbufSizeIsAPowerOfTwo) {
    EXPECT_FALSE(set_.add(util::OptionList::parse("ringbuf,id=r,size=9", "backend")));
    EXPECT_FALSE(set_.add(util::OptionList::parse("ringbuf,id=r,size=1T", "backend")));
}

TEST_F(ChardevTest, RefusalsNameTheThingAndTheNearest) {
    EXPECT_EQ(refusal("stdi"), "character device 'stdi' is unknown; did you mean 'stdio'?");
    EXPECT_THAT(refusal("telnet:localhost:23"), testing::HasSubstr("telnet:localhost:23"));
    EXPECT_THAT(refusal("udp::9"), testing::HasSubstr("does not have"));
    EXPECT_EQ(refusal("chardev:nobody"),
              "there is no chardev 'nobody'; add -chardev ...,id=nobody");
    auto unknown = set_.add(util::OptionList::parse("nul,id=x", "backend"));
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().message(), "unknown chardev backend 'nul'; did you mean 'null'?");
}

TEST_F(ChardevTest, AnIdIsUsedOnce) {
    ASSERT_TRUE(set_.add(util::OptionList::parse("null,id=a", "backend")));
    EXPECT_FALSE(set_.add(util::OptionList::parse("null,id=a", "backend")));
    EXPECT_FALSE(set_.add(util::OptionList::parse("null", "backend")));
    EXPECT_TRUE(set_.claim("a"));
    const auto second = set_.claim("a");
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().message(), "chardev 'a' is in use; mux=on lets several share it");
}

TEST_F(ChardevTest, UnknownKeysOpenNothing) {
    const std::string path = folder_ + "/never";
    EXPECT_FALSE(set_.add(util::OptionList::parse("file,id=f,path=" + path + ",apend=on", "backend")));
    EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace rhea::chardev
