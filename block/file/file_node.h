// Protocol `file`: an ordinary file of the host, or (host_device) a block device.
#pragma once
#include <string>

#include "block/file/direct_io.h"
#include "block/file/file_lock.h"
#include "rhea/block/driver.h"
#include "rhea/block/node.h"

namespace rhea::block {

class FileNode final : public BlockNode {
public:
    struct Opened {
        int fd = -1;
        std::string filename;
        std::uint64_t size = 0;
        bool is_device = false;
        bool in_pool = false; ///< aio=threads
        Locking locking = Locking::kOff;
    };
    /// Takes the descriptor over.
    FileNode(IoContext &context, std::string driver, Opened opened, const NodeSettings &settings);
    ~FileNode() override;

    std::uint64_t length() const override { return size_; }
    std::uint32_t request_alignment() const override { return direct_ ? direct_->alignment() : 1; }
    bool has_fua() const override { return true; }

    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override;
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags) override;
    Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) override;
    Task<Result<void>> discard(std::uint64_t offset, std::uint64_t length) override;
    /// copy_file_range(2), from another file.
    Task<bool> copy_from(std::uint64_t offset, std::uint64_t length, BlockNode &from, std::uint64_t from_offset) override;
    Task<Result<void>> flush() override;
    Task<Result<Extent>> block_status(std::uint64_t offset, std::uint64_t length) override;
    Task<Result<void>> truncate(std::uint64_t length, Preallocation preallocation) override;
    Task<Result<NodeInfo>> info() override;
    Task<Result<void>> reopen(bool read_only) override;

private:
    util::Failure failed(std::int64_t code, std::string_view verb) const;
    Task<std::int64_t> zero_by_host(std::uint64_t offset, std::uint64_t length, unsigned flags);
    Task<std::int64_t> preallocate(std::uint64_t from, std::uint64_t to, Preallocation preallocation);
    void wrote(std::uint64_t end) { size_ = end > size_ ? end : size_; }

    int fd_;
    std::string filename_;
    std::uint64_t size_;
    bool is_device_, in_pool_;
    Locking locking_;
    std::unique_ptr<DirectIo> direct_; ///< with O_DIRECT
    // What the host turned out not to have: not asked for again.
    bool can_punch_ = true, can_zero_ = true, can_seek_holes_ = true, can_copy_ = true;
    bool flush_failed_ = false; ///< the host dropped written pages: no later flush may succeed
};

/// Driver functions (file_open.cc, file_create.cc).
Task<Result<std::shared_ptr<BlockNode>>> open_file(OpenRequest request);
Task<Result<std::shared_ptr<BlockNode>>> open_host_device(OpenRequest request);
Task<Result<void>> create_file(CreateRequest request);

} // namespace rhea::block
