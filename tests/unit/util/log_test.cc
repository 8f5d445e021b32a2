#include "rhea/util/log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace rhea::util {
namespace {

/// Sends the log to a file of its own and puts everything back afterwards.
class LogTest : public testing::Test {
  protected:
    void SetUp() override {
        directory_ = testing::TempDir() + "rhea-log-XXXXXX";
        ASSERT_NE(mkdtemp(directory_.data()), nullptr);
        path_ = directory_ + "/log";
        ASSERT_TRUE(set_log_file(path_).has_value());
    }

    void TearDown() override {
        set_log_mask(0);
        EXPECT_TRUE(set_log_file("").has_value());
        std::filesystem::remove_all(directory_);
    }

    static std::vector<std::string> lines_of(const std::string& path) {
        std::ifstream file(path);
        std::vector<std::string> lines;
        for (std::string line; std::getline(file, line);) {
            lines.push_back(line);
        }
        return lines;
    }

    std::string directory_;
    std::string path_;
};

TEST_F(LogTest, WritesOnlyEnabledItems) {
    set_log_mask(kLogInt | kLogUnimp);
    EXPECT_TRUE(log_enabled(kLogInt));
    EXPECT_TRUE(log_enabled(kLogInt | kLogExec));
    EXPECT_FALSE(log_enabled(kLogExec));
    log_write(kLogInt, "vector {:#x}\n", 0x20);
    log_write(kLogExec, "never seen\n");
    EXPECT_EQ(lines_of(path_), std::vector<std::string>{"vector 0x20"});
}

TEST_F(LogTest, LinesOfManyThreadsStayWhole) {
    constexpr int kThreads = 4;
    constexpr int kLines = 200;
    set_log_mask(kLogCpu);
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
        threads.emplace_back([thread] {
            for (int line = 0; line < kLines; ++line) {
                log_write(kLogCpu, "thread {} line {} end\n", thread, line);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    std::multiset<std::string> expected;
    for (int thread = 0; thread < kThreads; ++thread) {
        for (int line = 0; line < kLines; ++line) {
            expected.insert(fmt::format("thread {} line {} end", thread, line));
        }
    }
    const auto lines = lines_of(path_);
    EXPECT_EQ(std::multiset<std::string>(lines.begin(), lines.end()), expected);
}

TEST_F(LogTest, FileNameMayHoldTheProcessId) {
    ASSERT_TRUE(set_log_file(directory_ + "/log.%d").has_value());
    set_log_mask(kLogOp);
    log_write(kLogOp, "here\n");
    EXPECT_EQ(lines_of(directory_ + "/log." + std::to_string(getpid())),
              std::vector<std::string>{"here"});
}

TEST_F(LogTest, AFileThatCannotBeOpenedKeepsTheOldOne) {
    const Result<void> result = set_log_file(directory_ + "/none/log");
    ASSERT_FALSE(result.has_value());
    EXPECT_NE(result.error().message().find("/none/log"), std::string::npos);
    set_log_mask(kLogOp);
    log_write(kLogOp, "still here\n");
    EXPECT_EQ(lines_of(path_), std::vector<std::string>{"still here"});
}

TEST(LogItems, EachHasItsOwnBit) {
    LogMask seen = 0;
    for (const LogItem& item : log_items()) {
        EXPECT_EQ(seen & item.mask, 0u) << item.name;
        EXPECT_FALSE(item.help.empty()) << item.name;
        seen |= item.mask;
    }
    EXPECT_EQ(parse_log_items("all"), seen);
}

TEST(LogItems, ParsesEveryName) {
    for (const LogItem& item : log_items()) {
        EXPECT_EQ(parse_log_items(item.name), item.mask) << item.name;
    }
    EXPECT_EQ(parse_log_items("in_asm,int,cpu"), kLogInAsm | kLogInt | kLogCpu);
}

TEST(LogItems, RefusesAnUnknownNameAndSuggestsTheNearest) {
    const auto misspelt = parse_log_items("cpu,guest_error");
    ASSERT_FALSE(misspelt.has_value());
    EXPECT_EQ(misspelt.error().message(),
              "unknown log item 'guest_error'; did you mean 'guest_errors'?");
    EXPECT_FALSE(parse_log_items("").has_value());
    EXPECT_FALSE(parse_log_items("cpu,").has_value());
}

}  // namespace
}  // namespace rhea::util
