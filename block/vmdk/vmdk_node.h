// A VMware disk image: the extents that its descriptor names, one behind the other.
#pragma once
#include <vector>

#include "block/vmdk/vmdk_descriptor.h"
#include "block/vmdk/vmdk_extent.h"

namespace rhea::block {

/// A part of the disk.
struct VmdkPart {
    VmdkExtentLine line;
    std::uint64_t start = 0, length = 0;  ///< bytes of the disk
    std::shared_ptr<BlockNode> node;      ///< null: zeroes
    std::shared_ptr<VmdkSparseExtent> sparse; ///< `node`, when it is one
    std::string filename;                 ///< the extent's file, for info
};

class VmdkNode final : public BlockNode {
public:
    /// `file`: the descriptor's, `text_offset` and `text_bytes`: where the descriptor lies in it (0 bytes: all of it).
    VmdkNode(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename, VmdkDescriptor descriptor,
             std::uint64_t text_offset, std::uint64_t text_bytes);
    /// Behind those that are there already.
    void add_part(VmdkPart part);
    /// Fails when the parent is another one than when this image was made, or was written since.
    Result<void> check_parent() const;

    const VmdkDescriptor &descriptor() const { return descriptor_; }

    std::uint64_t length() const override { return length_; }
    std::uint32_t request_alignment() const override { return file_.node().request_alignment(); }
    std::uint32_t cluster_size() const override;
    bool has_fua() const override { return true; }
    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override;
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags) override;
    Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) override;
    Task<Result<void>> discard(std::uint64_t offset, std::uint64_t length) override;
    Task<Result<void>> flush() override;
    Task<Result<Extent>> block_status(std::uint64_t offset, std::uint64_t length) override;
    Task<Result<CheckResult>> check(CheckFix fix) override;
    Task<Result<NodeInfo>> info() override;
    BlockNode *file() const override { return &file_.node(); }
    BlockNode *backing() const override { return backing_.get(); }
    std::vector<BlockNode *> children() const override;
    Result<void> set_backing(std::shared_ptr<BlockNode> backing) override;

private:
    /// Of the descriptor and all extents.
    std::vector<BlockNode *> files() const;
    const VmdkPart *part_at(std::uint64_t offset) const;
    Task<Result<void>> prepare_write();
    Task<Result<void>> write_cid();

    FileAccess file_;
    VmdkDescriptor descriptor_;
    std::uint64_t text_offset_, text_bytes_;
    std::vector<VmdkPart> parts_;
    std::shared_ptr<BlockNode> backing_;
    std::uint64_t length_ = 0;
    CoMutex first_write_;
    bool written_ = false;
};

} // namespace rhea::block
