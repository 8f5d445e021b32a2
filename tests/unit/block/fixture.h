// A context of the test's own, a folder for images, and bytes with a pattern.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "rhea/block/driver.h"

namespace rhea::block {

inline std::vector<std::uint8_t> pattern(std::size_t size, unsigned seed = 1) {
    std::vector<std::uint8_t> bytes(size);
    std::uint32_t state = seed * 2654435761u + 1;
    for (std::uint8_t &byte : bytes) {
        state = state * 1664525u + 1013904223u;
        byte = static_cast<std::uint8_t>(state >> 24);
    }
    return bytes;
}

class BlockTest : public ::testing::Test {
protected:
    explicit BlockTest(Engine engine = Engine::kIoUring) : context_(nullptr, engine) {
        std::string name = ::testing::TempDir() + "rhea-block-XXXXXX";
        folder_ = ::mkdtemp(name.data());
    }
    ~BlockTest() override { std::filesystem::remove_all(folder_); }

    std::string path(const std::string &name) const { return folder_ + "/" + name; }
    std::string make_file(const std::string &name, const std::vector<std::uint8_t> &bytes) {
        std::ofstream(path(name), std::ios::binary).write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        return path(name);
    }
    std::vector<std::uint8_t> file_bytes(const std::string &name) const {
        std::ifstream in(path(name), std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    Result<std::shared_ptr<BlockNode>> open(std::string filename, const std::string &options = "", OpenFlags flags = {}) {
        return context_.run(open_image(context_, std::move(filename), NodeOptions::from_text(options).value(), flags));
    }
    std::vector<std::uint8_t> read(BlockNode &node, std::uint64_t offset, std::size_t size) {
        std::vector<std::uint8_t> bytes(size, 0xee);
        const IoVector all(bytes.data(), size);
        auto done = context_.run(node.read(offset, all));
        EXPECT_TRUE(done) << done.error().message();
        return bytes;
    }
    Result<void> write(BlockNode &node, std::uint64_t offset, std::vector<std::uint8_t> bytes, unsigned flags = kNoFlags) {
        const IoVector all(bytes.data(), bytes.size());
        return context_.run(node.write(offset, all, flags));
    }

    IoContext context_;
    std::string folder_;
};

/// Runs with each engine that the host allows: TEST_P, and INSTANTIATE_TEST_SUITE_P below the tests.
class EngineTest : public BlockTest, public ::testing::WithParamInterface<Engine> {
protected:
    EngineTest() : BlockTest(GetParam()) {}
    void SetUp() override {
        if (context_.engine() != GetParam())
            GTEST_SKIP() << "this host forbids io_uring";
    }
};
inline std::string engine_name(const ::testing::TestParamInfo<Engine> &info) { return info.param == Engine::kIoUring ? "IoUring" : "Threads"; }

} // namespace rhea::block
