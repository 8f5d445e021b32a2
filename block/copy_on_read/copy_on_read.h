// The driver of filter `copy-on-read`, and what keeps its copies and the guest's writes apart.
#pragma once
#include <cstdint>
#include <vector>

#include "rhea/block/co_sync.h"
#include "rhea/block/copy_on_read.h"
#include "rhea/block/driver.h"

namespace rhea::block {

extern const BlockDriver kCopyOnReadDriver;

/// Keeps a copy of old data and the guest's writes to the same bytes apart: else the copy, read before the write and written
/// after it, would undo it. Requests of one context.
class CopyRanges {
public:
    /// From construction and enter() to destruction a request is under way.
    class Request {
    public:
        Request(CopyRanges &all, std::uint64_t begin, std::uint64_t end, bool is_copy) : all_(all), begin_(begin), end_(end), is_copy_(is_copy) {}
        ~Request();
        Request(const Request &) = delete;
        Request &operator=(const Request &) = delete;
        /// Waits for the copies in this range; a copy for everything in it.
        Task<void> enter();

    private:
        friend CopyRanges;
        bool conflicts(const Request &other) const { return (is_copy_ || other.is_copy_) && begin_ < other.end_ && other.begin_ < end_; }

        CopyRanges &all_;
        std::uint64_t begin_, end_;
        bool is_copy_, entered_ = false;
    };

private:
    std::vector<const Request *> under_way_;
    CoQueue waiting_;
};

} // namespace rhea::block
