// Images of any format in memory, for unit tests and fuzzers: made and opened by the driver's own functions.
#pragma once
#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "memory_block_node.h"
#include "rhea/block/driver.h"

namespace rhea::block::testing {

using NodePtr = std::shared_ptr<BlockNode>;
using MemoryPtr = std::shared_ptr<MemoryBlockNode>;

inline NodeOptions options_of(const std::string &text) { return text.empty() ? NodeOptions() : NodeOptions::from_text(text).value(); }

/// An empty file that refuses to become longer than `limit`.
inline MemoryPtr memory_file(IoContext &context, std::vector<std::uint8_t> bytes = {}, std::uint64_t limit = 512 << 20) {
    auto file = std::make_shared<MemoryBlockNode>(context, 0);
    file->bytes = std::move(bytes);
    file->fault = [limit](std::size_t, const MemoryBlockNode::Logged &request) {
        using Kind = MemoryBlockNode::Kind;
        const bool grows = request.kind == Kind::kTruncate || request.kind == Kind::kWrite || request.kind == Kind::kWriteZeroes;
        return grows && (request.offset > limit || request.length > limit) ? EFBIG : 0;
    };
    return file;
}

inline Result<void> create_in(IoContext &context, const std::string &format, MemoryPtr file, std::uint64_t size,
                              const std::string &options = "") {
    CreateRequest request{context, "memory." + format, size, options_of(options), {}, {}};
    request.create_file = [file]() -> Task<Result<NodePtr>> { co_return NodePtr(file); };
    auto driver = find_driver(format);
    return context.run((*driver)->create(std::move(request)));
}

/// `backing`: what the image's backing file is, whatever its header says.
inline Result<NodePtr> open_in(IoContext &context, const std::string &format, MemoryPtr file, OpenFlags flags = {},
                               NodePtr backing = nullptr, const std::string &options = "") {
    OpenRequest request{context, "memory." + format, options_of(options), flags, {}, file, {}};
    request.open_child = [backing](NodeOptions, OpenFlags) -> Task<Result<NodePtr>> {
        if (!backing)
            co_return io_error(ENOENT, "no other file is in this test");
        co_return backing;
    };
    auto driver = find_driver(format);
    return context.run((*driver)->open(std::move(request)));
}

inline std::vector<std::uint8_t> read_bytes(IoContext &context, BlockNode &node, std::uint64_t offset, std::size_t size) {
    std::vector<std::uint8_t> bytes(size, 0xee);
    const IoVector to(bytes.data(), bytes.size());
    auto done = context.run(node.read(offset, to));
    if (!done)
        bytes.clear();
    return bytes;
}

inline Result<void> write_bytes(IoContext &context, BlockNode &node, std::uint64_t offset, std::vector<std::uint8_t> bytes,
                                unsigned flags = kNoFlags) {
    const IoVector from(bytes.data(), bytes.size());
    return context.run(node.write(offset, from, flags));
}

} // namespace rhea::block::testing
