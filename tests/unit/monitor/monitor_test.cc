// The monitor on a byte stream: prompt, editing, focus, a slow reader.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "../../support/fake_char.h"
#include "fake_host.h"
#include "monitor/line_editor.h"
#include "rhea/monitor/monitor.h"

namespace rhea::monitor {
namespace {

class MonitorTest : public testing::Test {
  protected:
    void type(std::string_view text) {
        {
            const core::MachineLockGuard lock;
            terminal_.send(text);
        }
        for (int i = 0; i < 10; ++i) {
            loop_.iterate(false);
        }
    }
    void connect(Monitor&) {
        const core::MachineLockGuard lock;
        terminal_.front_end.on_connection(true);
    }
    std::string shown() { return std::exchange(terminal_.taken, {}); }

    util::EventLoop loop_;
    FakeHost host_;
    test::FakeChar terminal_;
};

TEST_F(MonitorTest, GreetsAndAnswers) {
    Monitor monitor(loop_, host_, terminal_, false);
    connect(monitor);
    EXPECT_EQ(shown(), "Rhea 0.1 monitor - type 'help' for more information\r\n(qemu) ");
    type("info status\n");
    EXPECT_EQ(shown(), "info status\r\nVM status: running\r\n(qemu) ");
}

TEST_F(MonitorTest, CarriageReturnAndNewlineAreOneKey) {
    Monitor monitor(loop_, host_, terminal_, false);
    connect(monitor);
    shown();
    type("foo\r\n");
    EXPECT_EQ(shown(), "foo\r\nunknown command: 'foo'\r\n(qemu) ");
}

TEST_F(MonitorTest, WaitsForItsFocus) {
    Monitor monitor(loop_, host_, terminal_, true);
    connect(monitor);
    EXPECT_EQ(shown(), "");
    monitor.set_focus(true);
    EXPECT_THAT(shown(), testing::EndsWith("(qemu) "));
    type("sto");
    monitor.set_focus(false);
    shown();
    monitor.set_focus(true);
    EXPECT_EQ(shown(), "(qemu) sto");
}

TEST_F(MonitorTest, ANewConnectionStartsAfresh) {
    Monitor monitor(loop_, host_, terminal_, false);
    connect(monitor);
    type("half a li");
    terminal_.front_end.on_connection(false);
    connect(monitor);
    shown();
    type("stop\n");
    EXPECT_FALSE(host_.running);
}

TEST_F(MonitorTest, ASlowReaderGetsEverythingLater) {
    Monitor monitor(loop_, host_, terminal_, false);
    terminal_.room = 10;
    connect(monitor);
    EXPECT_EQ(terminal_.taken, "Rhea 0.1 m");
    terminal_.make_room(1000);
    EXPECT_THAT(terminal_.taken, testing::EndsWith("(qemu) "));
}

TEST_F(MonitorTest, TakesABoundedAmountOfInput) {
    Monitor monitor(loop_, host_, terminal_, false);
    connect(monitor);
    {
        const core::MachineLockGuard lock;
        terminal_.send(std::string(100'000, 'x'));
    }
    EXPECT_EQ(terminal_.waiting.size(), 100'000u - 4096);
    for (int i = 0; i < 200; ++i) {
        loop_.iterate(false);
    }
    EXPECT_TRUE(terminal_.waiting.empty());
}

// ---- the line editor ------------------------------------------------------------------------

class LineEditorTest : public testing::Test {
  protected:
    std::string type(std::string_view text) {
        shown_.clear();
        for (const char c : text) {
            editor_.input(static_cast<std::uint8_t>(c));
        }
        return shown_;
    }
    std::string shown_, line_;
    std::vector<std::string> candidates_;
    LineEditor editor_{"> ",
                       {[this](std::string_view text) { shown_ += text; },
                        [this](const std::string& line) { line_ = line; },
                        [this](std::string_view) { return candidates_; }}};
};

TEST_F(LineEditorTest, EchoesWhatIsTypedAtTheEnd) {
    EXPECT_EQ(type("abc"), "abc");
    EXPECT_EQ(type("\x7f"), "\b \b");
    EXPECT_EQ(type("\r"), "\r\n");
    EXPECT_EQ(line_, "ab");
}

TEST_F(LineEditorTest, EditsInTheMiddle) {
    type("hello\x1b[D\x1b[D\x1b[DXY\x08\x1b[3~\r");
    EXPECT_EQ(line_, "heXlo");
    type("one two three\x17\x01start \r");
    EXPECT_EQ(line_, "start one two ");
    type("rest\x1b[H\x0b" "new\r");
    EXPECT_EQ(line_, "new");
}

TEST_F(LineEditorTest, RecallsFormerLines) {
    type("first\rsecond\r");
    type("thi\x1b[A\x1b[A\r");
    EXPECT_EQ(line_, "first");
    type("draft\x10\x0e!\r");
    EXPECT_EQ(line_, "draft!");
    type("\x1b[B\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\r");
    EXPECT_EQ(line_, "first");
}

TEST_F(LineEditorTest, CompletesTheCommonPart) {
    candidates_ = {"system_powerdown", "system_reset"};
    type("sys\t");
    EXPECT_EQ(type("r\r"), "r\r\n");
    EXPECT_EQ(line_, "system_r");
    candidates_ = {"status"};
    type("info st\t\r");
    EXPECT_EQ(line_, "info status ");
    candidates_ = {"aa", "ab"};
    EXPECT_THAT(type("a\t"), testing::HasSubstr("aa\r\nab\r\n> a"));
}

TEST_F(LineEditorTest, ALineHasALimitAndOddBytesDoNoHarm) {
    type(std::string(10'000, 'x'));
    type("\r");
    EXPECT_EQ(line_.size(), 4096u);
    std::string odd;
    for (int i = 0; i < 256; ++i) {
        odd += static_cast<char>(i);
        odd += "\x1b[99999999999;";
        odd += static_cast<char>(255 - i);
    }
    type(odd);
}

}  // namespace
}  // namespace rhea::monitor
