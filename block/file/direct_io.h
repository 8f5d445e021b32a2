// O_DIRECT wants offsets, lengths and memory in multiples of the device's block: requests of any kind are brought into that
// form, through a bounce buffer where they must be. For FileNode; the context's thread.
#pragma once
#include <cstdint>
#include <list>

#include "rhea/block/co_sync.h"
#include "rhea/block/io_context.h"

namespace rhea::block {

class DirectIo {
public:
    DirectIo(int fd, std::uint32_t alignment, std::uint64_t size, bool is_device)
        : fd_(fd), alignment_(alignment), end_(size), is_device_(is_device) {}

    /// The alignment that `fd` wants: found by trying.
    static std::uint32_t probe_alignment(int fd, bool is_device);

    std::uint32_t alignment() const { return alignment_; }
    /// As IoContext::preadv and pwritev.
    Task<std::int64_t> read(IoContext &context, const IoVector &to, std::uint64_t offset, bool in_pool);
    Task<std::int64_t> write(IoContext &context, const IoVector &from, std::uint64_t offset, bool fua, bool in_pool);
    std::uint64_t end() const { return end_; }
    /// The file's length changed by other means.
    void set_end(std::uint64_t end) { end_ = end; }

private:
    struct Range {
        std::uint64_t begin, end;
    };
    bool fits(const IoVector &memory, std::uint64_t offset) const;
    std::uint64_t down(std::uint64_t at) const { return at & ~std::uint64_t{alignment_ - 1}; }
    std::uint64_t up(std::uint64_t at) const { return down(at + alignment_ - 1); }
    Task<std::int64_t> bounce_write(IoContext &context, const IoVector &from, std::uint64_t offset, bool fua, bool in_pool);

    int fd_;
    std::uint32_t alignment_;
    std::uint64_t end_; ///< of the file when all writes that have begun are done
    bool is_device_;
    std::list<Range> writing_; ///< whole blocks that writes in flight touch
    CoQueue written_;
};

} // namespace rhea::block
