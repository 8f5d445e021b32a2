// Compares what the producers make of the checked-in snippets with the checked-in text.
//
//     golden [--update] DIR [GoogleTest options]
//
// Every DIR/*.golden is a test suite, every case in it a test. --update writes the new text into
// the files instead, and prints what changed. DIR/summary.txt is the ratchet of summary.h.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <fstream>

#include "tests/golden/fixture.h"
#include "tests/golden/producers.h"
#include "tests/golden/summary.h"

namespace rhea::golden {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> golden_files(const fs::path& folder) {
    std::vector<fs::path> files;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        if (entry.path().extension() == ".golden") {
            files.push_back(entry.path());
        }
    }
    std::sort(files.begin(), files.end());
    return files;
}

/// A GoogleTest name: letters, digits and underscores.
std::string identifier(std::string text) {
    for (char& c : text) {
        if (std::isalnum(static_cast<unsigned char>(c)) == 0) {
            c = '_';
        }
    }
    return text;
}

/// The text that the producer makes of a case; a failure becomes text too, and so never matches.
std::string produced(const Producer& producer, const Case& c) {
    const auto result = producer.produce(c.input);
    return result ? *result : "error: " + result.error().message() + "\n";
}

class GoldenCase : public testing::Test {
  public:
    GoldenCase(const Producer& producer, Case c) : producer_(producer), case_(std::move(c)) {}
    void TestBody() override {
        const std::string diff = line_diff(case_.expected, produced(producer_, case_));
        if (!diff.empty()) {
            ADD_FAILURE() << case_.name << " (scripts/golden --update accepts this):\n" << diff;
        }
    }

  private:
    const Producer& producer_;
    Case case_;
};

class BrokenFile : public testing::Test {
  public:
    explicit BrokenFile(std::string why) : why_(std::move(why)) {}
    void TestBody() override { ADD_FAILURE() << why_; }

  private:
    std::string why_;
};

/// All cases of all files, produced anew.
Summary produced_summary(const std::vector<fs::path>& files) {
    Summary summary;
    for (const fs::path& path : files) {
        const auto fixture = read_fixture(path);
        const Producer* producer = fixture ? find_producer(fixture->producer) : nullptr;
        if (producer == nullptr) {
            continue;  // the file's own test says so
        }
        for (const Case& c : fixture->cases) {
            add_to_summary(summary, path.stem().string(), produced(*producer, c));
        }
    }
    return summary;
}

class Ratchet : public testing::Test {
  public:
    Ratchet(fs::path recorded, std::vector<fs::path> files)
        : recorded_(std::move(recorded)), files_(std::move(files)) {}
    void TestBody() override {
        const auto recorded = read_summary(recorded_);
        ASSERT_TRUE(recorded) << recorded.error().message();
        EXPECT_EQ(compare_summary(*recorded, produced_summary(files_)), "");
    }

  private:
    fs::path recorded_;
    std::vector<fs::path> files_;
};

/// False when a total rose: that is not written.
bool update_summary(const fs::path& path, const std::vector<fs::path>& files) {
    const auto recorded = read_summary(path);
    const Summary now = produced_summary(files);
    const Summary next = recorded ? updated_summary(*recorded, now) : now;
    std::ofstream file(path);
    file << format_summary(next);
    if (!file.flush()) {
        fmt::print(stderr, "cannot write {}\n", path.string());
        return false;
    }
    const std::string faults = compare_summary(next, now);
    fmt::print(stderr, "{}", faults);
    return faults.empty();
}

void register_file(const fs::path& path) {
    const std::string suite = "Golden_" + identifier(path.stem().string());
    const auto fixture = read_fixture(path);
    const Producer* producer = fixture ? find_producer(fixture->producer) : nullptr;
    if (producer == nullptr) {
        const std::string why = fixture ? fmt::format("{}: no producer is called \"{}\"",
                                                      path.string(), fixture->producer)
                                        : fixture.error().message();
        testing::RegisterTest(suite.c_str(), "Readable", nullptr, nullptr, __FILE__, __LINE__,
                              [why]() -> testing::Test* { return new BrokenFile(why); });
        return;
    }
    for (const Case& c : fixture->cases) {
        testing::RegisterTest(
            suite.c_str(), identifier(c.name).c_str(), nullptr, nullptr, path.c_str(), 1,
            [producer, c]() -> testing::Test* { return new GoldenCase(*producer, c); });
    }
}

/// Rewrites one file where its text changed; prints the changes. False on failure.
bool update_file(const fs::path& path) {
    auto fixture = read_fixture(path);
    if (!fixture) {
        fmt::print(stderr, "{}\n", fixture.error().message());
        return false;
    }
    const Producer* producer = find_producer(fixture->producer);
    if (producer == nullptr) {
        fmt::print(stderr, "{}: no producer is called \"{}\"\n", path.string(), fixture->producer);
        return false;
    }
    bool ok = true;
    unsigned changed = 0;
    for (Case& c : fixture->cases) {
        const auto actual = producer->produce(c.input);
        if (!actual) {
            fmt::print(stderr, "{}: {}: {}\n", path.string(), c.name, actual.error().message());
            ok = false;
            continue;
        }
        if (const std::string diff = line_diff(c.expected, *actual); !diff.empty()) {
            fmt::print("{}: {}\n{}\n", path.filename().string(), c.name, diff);
            c.expected = *actual;
            ++changed;
        }
    }
    if (changed != 0) {
        const auto written = write_fixture(path, *fixture);
        if (!written) {
            fmt::print(stderr, "{}\n", written.error().message());
            return false;
        }
    }
    fmt::print("{}: {} of {} cases changed\n", path.filename().string(), changed,
               fixture->cases.size());
    return ok;
}

int run(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    bool update = false;
    fs::path folder;
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(argv[i], "--update") == 0) {
            update = true;
        } else if (argv[i][0] != '-' && folder.empty()) {
            folder = argv[i];
        } else {
            fmt::print(stderr, "golden: usage: golden [--update] DIR, not \"{}\"\n", argv[i]);
            return 2;
        }
    }
    const std::vector<fs::path> files = golden_files(folder);
    if (files.empty()) {
        fmt::print(stderr, "golden: no *.golden file in \"{}\"\n", folder.string());
        return 2;
    }
    if (update) {
        bool ok = true;
        for (const fs::path& file : files) {
            ok &= update_file(file);
        }
        ok &= update_summary(folder / "summary.txt", files);
        return ok ? 0 : 1;
    }
    for (const fs::path& file : files) {
        register_file(file);
    }
    testing::RegisterTest("Golden", "HostInstructionsMayOnlyFall", nullptr, nullptr, __FILE__, __LINE__,
                          [=]() -> testing::Test* { return new Ratchet(folder / "summary.txt", files); });
    return RUN_ALL_TESTS();
}

}  // namespace
}  // namespace rhea::golden

int main(int argc, char** argv) {
    return rhea::golden::run(argc, argv);
}
