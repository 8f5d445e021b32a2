// The image file as the metadata code sees it: bytes at offsets, zeroes behind its end, and error sentences that
// name file, offset and what was there.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "rhea/block/node.h"

namespace rhea::block::qcow2 {

class HostFile {
public:
    HostFile(std::shared_ptr<BlockNode> node, std::string filename) : node_(std::move(node)), filename_(std::move(filename)) {}

    BlockNode &node() const { return *node_; }
    const std::shared_ptr<BlockNode> &shared() const { return node_; }
    const std::string &filename() const { return filename_; }
    std::uint64_t length() const { return node_->length(); }

    /// `what` is for the sentence: "the L1 table".
    Task<Result<void>> read(std::uint64_t offset, std::span<std::uint8_t> to, const char *what);
    Task<Result<void>> write(std::uint64_t offset, std::span<const std::uint8_t> from, const char *what);
    Task<Result<void>> flush();
    /// An image that is being made holds nothing that a crash could harm: while flushes are held they cost nothing.
    void hold_flushes(bool held) { flushes_held_ = held; }

private:
    std::shared_ptr<BlockNode> node_;
    std::string filename_;
    bool flushes_held_ = false;
};

/// Reads from a node of any length: what lies behind its end is zero.
Task<Result<void>> read_zero_extended(BlockNode &node, std::uint64_t offset, const IoVector &to);

} // namespace rhea::block::qcow2
