// The multiplexer, on a backend of memory.
#include "../../support/fake_char.h"
#include "harness.h"

namespace rhea::chardev {
namespace {

/// A Chardev whose outside is the test.
class LoopChardev final : public Chardev {
  public:
    LoopChardev() : Chardev("loop") { set_connected(true); }
    std::string describe() const override { return "loop"; }
    void type(std::string_view text) {
        for (const char c : text) {
            const auto byte = static_cast<std::uint8_t>(c);
            if (room() > 0) {
                deliver({&byte, 1});
            }
        }
    }
    std::string shown;

  private:
    std::size_t send(std::span<const std::uint8_t> bytes) override {
        shown.append(bytes.begin(), bytes.end());
        return bytes.size();
    }
};

class MuxTest : public testing::Test {
  protected:
    MuxTest() {
        first_ = *mux_.add_port();
        second_ = *mux_.add_port();
        first_->set_front_end(guest_.front_end());
        second_->set_front_end(monitor_.front_end());
    }
    LoopChardev outside_;
    unsigned quits_ = 0;
    Mux mux_{outside_, 1, [this] { ++quits_; }};
    MuxPort* first_;
    MuxPort* second_;
    Device guest_, monitor_;
};

TEST_F(MuxTest, InputGoesToThePortWithTheFocus) {
    outside_.type("one\001ctwo\001cthree");
    EXPECT_EQ(guest_.received, "onethree");
    EXPECT_EQ(monitor_.received, "two");
}

TEST_F(MuxTest, OutputOfAllPortsGoesOut) {
    const std::uint8_t a = 'a', b = 'b';
    first_->write({&a, 1});
    second_->write({&b, 1});
    EXPECT_EQ(outside_.shown, "ab");
}

TEST_F(MuxTest, TheFocusIsTold) {
    std::string log;
    first_->set_focus_handler([&](bool on) { log += on ? "F" : "f"; });
    second_->set_focus_handler([&](bool on) { log += on ? "S" : "s"; });
    outside_.type("\001c\001c");
    EXPECT_EQ(log, "fSsF");
    EXPECT_TRUE(first_->focused());
}

TEST_F(MuxTest, EscapeTwiceSendsTheEscape) {
    outside_.type("x\001\001y");
    EXPECT_EQ(guest_.received, "x\001y");
}

TEST_F(MuxTest, CommandsDoWhatHelpSays) {
    outside_.type("\001h");
    for (const char* line : {"C-a h    list these keys\r\n", "C-a x    leave the emulator\r\n",
                             "C-a c    the next of those who share this terminal\r\n",
                             "C-a C-a  sends C-a\r\n"}) {
        EXPECT_THAT(outside_.shown, testing::HasSubstr(line));
    }
    outside_.type("\001b");
    EXPECT_EQ(guest_.breaks, 1u);
    outside_.type("\001x");
    EXPECT_EQ(quits_, 1u);
    EXPECT_EQ(guest_.received, "");
}

TEST_F(MuxTest, AnUnknownLetterIsDropped) {
    outside_.type("a\001zb");
    EXPECT_EQ(guest_.received, "ab");
}

TEST_F(MuxTest, TimestampsStandAtLineStarts) {
    outside_.type("\001t");
    const std::string text = "one\ntwo\n";
    first_->write({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    EXPECT_THAT(outside_.shown,
                testing::MatchesRegex("\\[00:00:0.\\....\\] one\n\\[00:00:0.\\....\\] two\n"));
}

TEST_F(MuxTest, InputWaitsForADeviceWithoutRoomAndTheEscapeStillWorks) {
    guest_.room = 2;
    outside_.type("abcd\001x");
    EXPECT_EQ(guest_.received, "ab");
    EXPECT_EQ(quits_, 1u);
    guest_.room = 10;
    first_->accept_input();
    EXPECT_EQ(guest_.received, "abcd");
}

TEST_F(MuxTest, AFloodIsBounded) {
    guest_.room = 0;
    outside_.type(std::string(100'000, 'x'));
    guest_.room = 1 << 20;
    first_->accept_input();
    EXPECT_EQ(guest_.received.size(), 1024u);
}

TEST_F(MuxTest, HasRoomForFourPorts) {
    EXPECT_TRUE(mux_.add_port());
    EXPECT_TRUE(mux_.add_port());
    EXPECT_FALSE(mux_.add_port());
}

TEST_F(ChardevTest, MuxedChardevHasSeveralUsers) {
    ASSERT_TRUE(set_.add(util::OptionList::parse("null,id=m,mux=on", "backend")));
    const auto first = set_.claim("m");
    const auto second = set_.claim("m");
    ASSERT_TRUE(first && second);
    EXPECT_NE(*first, *second);
}

}  // namespace
}  // namespace rhea::chardev
