// Apple disk images, read-only: chunks that are stored, compressed, or zero.
#pragma once
#include "block/dmg/dmg_chunks.h"

namespace rhea::block {

class DmgNode final : public BlockNode {
public:
    DmgNode(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename);
    Task<Result<void>> load();

    std::uint64_t length() const override { return length_; }
    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override;
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags) override;
    Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) override;
    Task<Result<void>> flush() override { co_return Result<void>{}; }
    Task<Result<Extent>> block_status(std::uint64_t offset, std::uint64_t length) override;
    Task<Result<NodeInfo>> info() override { return file_.info_of(*this); }
    BlockNode *file() const override { return &file_.node(); }

private:
    using Bytes = std::shared_ptr<std::vector<std::uint8_t>>;
    /// The chunk at `offset`, or (null) how far the gap there goes.
    const DmgChunk *chunk_at(std::uint64_t offset, std::uint64_t &length) const;
    Task<Result<Bytes>> expand(const DmgChunk &chunk);

    FileAccess file_;
    std::vector<DmgChunk> chunks_;
    std::uint64_t length_ = 0;
    Bytes last_; ///< the chunk that was expanded last
    std::uint64_t last_start_ = 0;
};

} // namespace rhea::block
