// qcow2 images in memory: making, opening, reading, checking them.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "block/qcow2/open_options.h"
#include "block/qcow2/qcow2.h"
#include "tests/support/memory_block_node.h"

namespace rhea::block::qcow2 {

using testing::MemoryBlockNode;
using Bytes = std::vector<std::uint8_t>;

/// Bytes that differ with `seed` and place.
inline Bytes pattern(std::size_t size, unsigned seed) {
    Bytes bytes(size);
    std::uint32_t state = seed * 2654435761u + 12345;
    for (std::uint8_t &byte : bytes) {
        state = state * 1664525u + 1013904223u;
        byte = static_cast<std::uint8_t>(state >> 24 | 1); // never zero
    }
    return bytes;
}

class Qcow2Test : public ::testing::Test {
protected:
    template <typename T> T run(Task<T> task) { return context_.run(std::move(task)); }

    std::shared_ptr<MemoryBlockNode> memory(Bytes bytes = {}) {
        auto node = std::make_shared<MemoryBlockNode>(context_);
        if (!bytes.empty()) {
            const IoVector all(bytes.data(), bytes.size());
            EXPECT_TRUE(run(node->write(0, all, kNoFlags)));
            EXPECT_TRUE(run(node->flush()));
            node->log.clear();
        }
        return node;
    }
    Result<void> try_create(std::shared_ptr<MemoryBlockNode> file, std::uint64_t size, const std::string &options) {
        CreateRequest request{context_, "test.qcow2", size, NodeOptions::from_text(options).value(), {}, {}};
        request.create_file = [file]() -> Task<Result<std::shared_ptr<BlockNode>>> { co_return std::static_pointer_cast<BlockNode>(file); };
        auto done = run(create(std::move(request)));
        if (done)
            done = run(file->flush());
        return done;
    }
    std::shared_ptr<MemoryBlockNode> make(std::uint64_t size, const std::string &options = "") {
        auto file = memory();
        auto done = try_create(file, size, options);
        EXPECT_TRUE(done) << done.error().message();
        file->log.clear();
        return file;
    }
    Result<std::shared_ptr<Qcow2Node>> try_open(std::shared_ptr<MemoryBlockNode> file, OpenFlags flags = {}, const OpenOptions *options = nullptr) {
        return run(open_on(context_, file, "test.qcow2", nullptr, flags, options));
    }
    std::shared_ptr<Qcow2Node> open(std::shared_ptr<MemoryBlockNode> file, OpenFlags flags = {}, const OpenOptions *options = nullptr) {
        auto node = try_open(file, flags, options);
        EXPECT_TRUE(node) << node.error().message();
        return node ? *node : nullptr;
    }
    Bytes read(BlockNode &node, std::uint64_t offset, std::size_t size) {
        Bytes bytes(size, 0xee);
        const IoVector all(bytes.data(), size);
        auto done = run(node.read(offset, all));
        EXPECT_TRUE(done) << done.error().message();
        return bytes;
    }
    Result<void> try_write(BlockNode &node, std::uint64_t offset, Bytes bytes, unsigned flags = kNoFlags) {
        const IoVector all(bytes.data(), bytes.size());
        return run(node.write(offset, all, flags));
    }
    void write(BlockNode &node, std::uint64_t offset, const Bytes &bytes, unsigned flags = kNoFlags) {
        auto done = try_write(node, offset, bytes, flags);
        ASSERT_TRUE(done) << done.error().message();
    }
    template <typename T> void expect_ok(const Result<T> &result) { ASSERT_TRUE(result) << result.error().message(); }
    /// Nothing wrong, nothing leaked.
    void expect_clean(BlockNode &node, bool leaks_allowed = false) {
        auto result = run(node.check(CheckFix::kNone));
        ASSERT_TRUE(result) << result.error().message();
        const std::string first = result->messages.empty() ? "" : result->messages.front();
        EXPECT_EQ(result->corruptions, 0u) << first;
        EXPECT_EQ(result->check_errors, 0u) << first;
        if (!leaks_allowed) {
            EXPECT_EQ(result->leaks, 0u) << first;
        }
    }
    Extent status(BlockNode &node, std::uint64_t offset, std::uint64_t length) {
        auto extent = run(node.block_status(offset, length));
        EXPECT_TRUE(extent) << extent.error().message();
        return extent ? *extent : Extent{};
    }

    IoContext context_;
};

} // namespace rhea::block::qcow2
