// The command table, by what a person types and by what a program gets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "fake_host.h"
#include "rhea/monitor/command.h"

namespace rhea::monitor {
namespace {

using testing::HasSubstr;

class CommandTest : public testing::Test {
  protected:
    std::string run(std::string_view line) { return run_line(host_, line); }
    FakeHost host_{"guest"};
};

TEST_F(CommandTest, StopAndContChangeTheStatus) {
    EXPECT_EQ(run("info status"), "VM status: running\n");
    EXPECT_EQ(run("stop"), "");
    EXPECT_EQ(run("info status"), "VM status: paused\n");
    EXPECT_EQ(run("c"), "");
    EXPECT_EQ(run("info status"), "VM status: running\n");
    EXPECT_EQ(run("  s  "), "");
    EXPECT_FALSE(host_.running);
}

TEST_F(CommandTest, RequestsReachTheHost) {
    run("system_reset");
    run("system_powerdown");
    run("nmi");
    run("q");
    EXPECT_EQ(host_.asked, "reset power nmi quit ");
}

TEST_F(CommandTest, AFailureIsAnErrorLine) {
    host_.refuse_cont = true;
    EXPECT_EQ(run("cont"), "Error: the guest cannot go on from here; system_reset starts it again\n");
}

TEST_F(CommandTest, UnknownCommandsAreNamed) {
    EXPECT_EQ(run("foo"), "unknown command: 'foo'\n");
    EXPECT_EQ(run("foo bar"), "unknown command: 'foo'\n");
    EXPECT_EQ(run("info foo"), "unknown command: 'info foo'\n");
    EXPECT_EQ(run(""), "");
    EXPECT_EQ(run("   "), "");
}

TEST_F(CommandTest, ArgumentsAreCheckedAgainstTheSchema) {
    EXPECT_THAT(run("stop now"), HasSubstr("'now' is more than the command takes"));
    EXPECT_THAT(run("xp"), HasSubstr("the argument 'addr' is missing"));
    EXPECT_THAT(run("xp zero"), HasSubstr("'zero' is no number"));
    EXPECT_THAT(run("log \"x"), HasSubstr("a quotation mark is missing"));
    EXPECT_THAT(run("info registers -z"), HasSubstr("is more than the command takes"));
}

TEST_F(CommandTest, InfoSaysWhatIs) {
    EXPECT_EQ(run("info version"), "0.1\n");
    EXPECT_EQ(run("info name"), "guest\n");
    EXPECT_EQ(run("info cpus"), "* CPU #0: thread_id=4242 (halted)\n");
    EXPECT_THAT(run("cpu 1"), HasSubstr("there is no CPU 1"));
    EXPECT_EQ(run("info chardev"), "serial0: filename=pty:/dev/pts/3\n");
    EXPECT_EQ(run("info jit"), "jit counters\n");
    EXPECT_EQ(run("info kvm"), "kvm support: disabled\n");
    EXPECT_EQ(run("info registers"), "Error: the machine has no CPU\n");
    EXPECT_THAT(run("info mtree"), HasSubstr("ram"));
    EXPECT_THAT(run("info mtree -f"), HasSubstr("00000000000fffff"));
}

TEST_F(CommandTest, HelpListsEveryCommandOnce) {
    const std::string all = run("help") + run("help info");
    for (const Command& command : command_table()) {
        EXPECT_THAT(all, HasSubstr(std::string(command.name)));
        EXPECT_FALSE(command.help.empty()) << command.name;
    }
    EXPECT_EQ(run("info"), run("help info"));
    EXPECT_EQ(run("help stop"), "stop|s -- hold the guest\n");
    EXPECT_EQ(run("? c"), "cont|c -- let the guest run on\n");
    EXPECT_THAT(run("help info kvm"), HasSubstr("info kvm --"));
    EXPECT_EQ(run("help nothing"), "unknown command: 'nothing'\n");
}

TEST_F(CommandTest, NoNameIsTakenTwice) {
    std::set<std::string> names;
    for (const Command& command : command_table()) {
        const bool info = command.name.starts_with("info ");
        std::string_view list = info ? command.name.substr(5) : command.name;
        while (!list.empty()) {
            const std::string_view name = list.substr(0, list.find('|'));
            EXPECT_TRUE(names.insert((info ? "info " : "") + std::string(name)).second) << name;
            list.remove_prefix(std::min(list.size(), name.size() + 1));
        }
    }
}

TEST_F(CommandTest, MemoryIsDumpedInLines) {
    const std::uint8_t bytes[] = {0x41, 0x42, 0x00, 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
    host_.machine().memory().write(0x1000, bytes, sizeof bytes);
    EXPECT_EQ(run("xp /5xw 0x1000"),
              "0000000000001000: 0xff004241 0x04030201 0x08070605 0x0c0b0a09\n"
              "0000000000001010: 0x0000000d\n");
    EXPECT_EQ(run("xp/3c 4096"), "0000000000001000: 'A' 'B' '\\x00'\n");
    EXPECT_EQ(run("xp /1xg 0x1000"), "0000000000001000: 0x04030201ff004241\n");
    EXPECT_EQ(run("xp /2xb 0x1000+2"), "0000000000001002: 0x00 0xff\n");
    EXPECT_EQ(run("xp /1db 0x1003"), "0000000000001003:  -1\n");
    EXPECT_EQ(run("xp /1ub 0x1003"), "0000000000001003: 255\n");
}

TEST_F(CommandTest, MemoryDumpsHaveLimits) {
    EXPECT_THAT(run("xp /99999999xw 0"), HasSubstr("at most 65536"));
    EXPECT_THAT(run("xp /1q 0"), HasSubstr("'q' is no letter of a format: x, d, u, o or c,"));
    EXPECT_THAT(run("xp /1i 0"), HasSubstr("not in this version"));
    EXPECT_THAT(run("xp 0xffffffffffffffff"), HasSubstr("Cannot access memory"));
    EXPECT_EQ(run("x 0"), "Error: the machine has no CPU\n");
}

TEST_F(CommandTest, RingbufferCommandsPassTheirArguments) {
    EXPECT_EQ(run("ringbuf_read r 2"), "ab\n");
    EXPECT_EQ(run("ringbuf_write r two words"), "");
    EXPECT_EQ(host_.asked, "two words");
    EXPECT_THAT(run("ringbuf_read r -1"), HasSubstr("size must be 0 or more"));
}

TEST(ParseIntegerTest, AddsAndSubtracts) {
    EXPECT_EQ(parse_integer("0x10+1"), 17);
    EXPECT_EQ(parse_integer("-1"), -1);
    EXPECT_EQ(parse_integer("10-3+2"), 9);
    for (const char* text : {"", "+", "1+", "x", "1 2", "1--1"}) {
        EXPECT_EQ(parse_integer(text), std::nullopt) << text;
    }
}

TEST(CompletionsTest, OfferNamesThatBeginSo) {
    EXPECT_EQ(completions("sto"), std::vector<std::string>{"stop"});
    EXPECT_EQ(completions("system_"),
              (std::vector<std::string>{"system_powerdown", "system_reset"}));
    EXPECT_EQ(completions("info st"), std::vector<std::string>{"status"});
    EXPECT_TRUE(completions("zzz").empty());
}

TEST(ValueTest, WritesJson) {
    const Value value(Value::Object{{"a", std::int64_t{1}},
                                    {"b", Value::List{true, Value(), "x\"\n\x01"}},
                                    {"c", Value::Object{}}});
    EXPECT_EQ(value.to_json(), "{\"a\": 1, \"b\": [true, null, \"x\\\"\\n\\u0001\"], \"c\": {}}");
}

TEST_F(CommandTest, ProgramsGetStructuredData) {
    const Command* status = find_command("info", "status");
    ASSERT_NE(status, nullptr);
    EXPECT_EQ(status->qmp_name, "query-status");
    const auto result = status->run(host_, {});
    ASSERT_TRUE(result);
    EXPECT_TRUE((*result)["running"].as_bool());
    EXPECT_EQ((*result)["status"].as_string(), "running");
}

}  // namespace
}  // namespace rhea::monitor
