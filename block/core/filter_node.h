// A node that shows what the node below holds: requests go there, unless the derived filter does something about them.
#pragma once
#include <memory>
#include <string>
#include <utility>

#include "rhea/block/node.h"

namespace rhea::block {

class FilterNode : public BlockNode {
public:
    FilterNode(IoContext &context, std::string driver, std::shared_ptr<BlockNode> file)
        : BlockNode(context, std::move(driver)), file_(std::move(file)) {}

    bool is_filter() const override { return true; }
    BlockNode *file() const override { return file_.get(); }
    std::uint64_t length() const override { return file_->length(); }
    std::uint32_t request_alignment() const override { return file_->request_alignment(); }
    bool has_fua() const override { return file_->has_fua(); }
    std::uint32_t cluster_size() const override { return file_->cluster_size(); }

    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override { return file_->read(offset, to); }
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags) override { return file_->write(offset, from, flags); }
    Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) override {
        return file_->write_zeroes(offset, length, flags);
    }
    Task<Result<void>> discard(std::uint64_t offset, std::uint64_t length) override { return file_->discard(offset, length); }
    Task<Result<void>> flush() override { return file_->flush(); }
    Task<Result<Extent>> block_status(std::uint64_t offset, std::uint64_t length) override { return file_->block_status(offset, length); }
    Task<Result<void>> truncate(std::uint64_t length, Preallocation preallocation) override { return file_->truncate(length, preallocation); }
    Task<Result<void>> close() override { return close_below(*file_); }

private:
    std::shared_ptr<BlockNode> file_;
};

} // namespace rhea::block
