// An export of an NBD server as a protocol node.
#pragma once
#include "block/nbd/nbd_connection.h"
#include "rhea/block/co_sync.h"
#include "rhea/block/node.h"

namespace rhea::block {

class NbdNode final : public BlockNode {
public:
    NbdNode(IoContext &context, std::shared_ptr<NbdConnection> connection, NbdAddress address);

    bool export_is_read_only() const { return server_.read_only; }
    std::uint64_t length() const override { return server_.size; }
    std::uint32_t request_alignment() const override { return server_.alignment; }
    bool has_fua() const override { return server_.fua; }
    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override;
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags) override;
    Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) override;
    Task<Result<void>> discard(std::uint64_t offset, std::uint64_t length) override;
    Task<Result<void>> flush() override;
    Task<Result<Extent>> block_status(std::uint64_t offset, std::uint64_t length) override;
    Task<Result<NodeInfo>> info() override;
    Task<Result<void>> close() override;

private:
    /// What the server told about the export.
    struct Server {
        std::uint64_t size = 0;
        std::uint32_t alignment = 1;
        std::uint64_t max_request = 0;
        bool read_only = false, flush = false, fua = false, trim = false, zero = false, fast_zero = false, status = false;
    };

    util::Failure failed(int code, const char *action, std::uint64_t offset) const;
    bool aligned(std::uint64_t offset, std::uint64_t length) const;
    Task<Result<void>> read_piece(std::uint64_t offset, std::uint8_t *to, std::uint64_t length);
    Task<Result<void>> write_piece(std::uint64_t offset, const std::uint8_t *from, std::uint64_t length, unsigned flags);
    Task<Result<void>> write_unaligned(std::uint64_t offset, const IoVector &from, unsigned flags);

    std::shared_ptr<NbdConnection> connection_;
    NbdAddress address_;
    Server server_;
    CoMutex unaligned_;
};

} // namespace rhea::block
