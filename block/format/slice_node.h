// block::SliceNode: a part of a file as it is: fixed VHD images, flat extents of VMDK images.
#pragma once
#include "block/format/file_access.h"

namespace rhea::block {

class SliceNode : public BlockNode {
public:
    /// Bytes [start, start + length) of `file`.
    SliceNode(IoContext &context, std::string driver, std::shared_ptr<BlockNode> file, std::string filename,
              std::uint64_t start, std::uint64_t length)
        : BlockNode(context, std::move(driver)), file_(std::move(file), std::move(filename)), start_(start),
          length_(length) {}

    std::uint64_t length() const override { return length_; }
    std::uint32_t request_alignment() const override { return file_.node().request_alignment(); }
    bool has_fua() const override { return true; }
    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override;
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags) override;
    Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) override;
    Task<Result<void>> discard(std::uint64_t offset, std::uint64_t length) override;
    Task<Result<void>> flush() override { return file_.flush(); }
    Task<Result<Extent>> block_status(std::uint64_t offset, std::uint64_t length) override;
    Task<Result<NodeInfo>> info() override { return file_.info_of(*this); }
    BlockNode *file() const override { return &file_.node(); }

private:
    Result<void> check_writable() const;

    FileAccess file_;
    std::uint64_t start_, length_;
};

} // namespace rhea::block
