#include "block/format/cluster_node.h"

#include <algorithm>
#include <cerrno>

#include "block/format/bytes.h"

namespace rhea::block {

namespace {

/// Zeroes that are written out go in pieces of this size.
constexpr std::uint64_t kZeroPiece = 1 << 20;
/// Block status looks at this many clusters at a time: it must not hold up the loop in a large, empty image.
constexpr std::uint64_t kStatusClusters = 1 << 16;

} // namespace

ClusterNode::ClusterNode(IoContext &context, std::string driver, std::shared_ptr<BlockNode> file, std::string filename)
    : BlockNode(context, std::move(driver)), file_(std::move(file), std::move(filename)) {}

util::Failure ClusterNode::damaged(std::string what) {
    damaged_ = true;
    return file_.fail(EIO, "{}; the image is damaged and is no longer written", what);
}

Result<void> ClusterNode::check_writable() const {
    if (read_only())
        return file_.fail(EPERM, "the image is open read-only");
    if (damaged_)
        return file_.fail(EIO, "the image is damaged and is not written");
    return {};
}

Task<Result<void>> ClusterNode::prepare_write() {
    if (auto writable = check_writable(); !writable)
        co_return writable;
    if (written_)
        co_return Result<void>{};
    co_await allocation_.lock();
    Result<void> done;
    if (!written_)
        done = co_await before_write();
    written_ = written_ || done.has_value();
    allocation_.unlock();
    co_return done;
}

Task<Result<bool>> ClusterNode::make_zero(std::uint64_t, std::uint64_t, unsigned) { co_return false; }

Task<Result<void>> ClusterNode::read_compressed(std::uint64_t, std::uint64_t, std::uint64_t, const IoVector &) {
    co_return file_.fail(EIO, "compressed clusters are not part of this format");
}

Task<Result<void>> ClusterNode::read_backing(std::uint64_t offset, const IoVector &to) {
    const std::uint64_t end = backing_ ? backing_->length() : 0;
    const std::uint64_t inside = offset >= end ? 0 : std::min(end - offset, to.size());
    if (inside < to.size())
        to.fill(inside, 0, to.size() - inside);
    if (inside == 0)
        co_return Result<void>{};
    const IoVector part = to.slice(0, inside);
    co_return co_await backing_->read(offset, part);
}

Task<Result<ClusterPlace>> ClusterNode::find(std::uint64_t index) {
    ClusterPlace place;
    if (place_now(index, place))
        co_return place;
    co_return co_await this->place(index);
}

Task<Result<ClusterNode::Run>> ClusterNode::run_at(std::uint64_t offset, std::uint64_t limit) {
    const std::uint64_t in = offset % cluster_size_;
    std::uint64_t index = offset / cluster_size_;
    auto first = co_await find(index);
    if (!first)
        co_return util::fail(first.error());
    Run run{*first, std::min<std::uint64_t>(cluster_size_ - in, limit)};
    const std::uint64_t start = run.place.offset;
    if (run.place.kind == Kind::kData)
        run.place.offset += in;
    while (run.length < limit && run.place.kind != Kind::kCompressed) {
        ClusterPlace next;
        const std::uint64_t distance = ++index * cluster_size_ - offset;
        if (!place_now(index, next)) {
            auto found = co_await place(index);
            if (!found)
                break; // the request that begins there reports it
            next = *found;
        }
        if (next.kind != run.place.kind || (next.kind == Kind::kData && next.offset != start + in + distance))
            break;
        run.length = std::min(distance + cluster_size_, limit);
    }
    co_return run;
}

Task<Result<void>> ClusterNode::read(std::uint64_t offset, const IoVector &to) {
    for (std::uint64_t at = 0; at < to.size();) {
        auto run = co_await run_at(offset + at, to.size() - at);
        if (!run)
            co_return util::fail(run.error());
        const IoVector part = to.slice(at, run->length);
        Result<void> done;
        switch (run->place.kind) {
        case Kind::kData:
            done = co_await file_.read(run->place.offset, part);
            break;
        case Kind::kCompressed: {
            const std::uint64_t index = (offset + at) / cluster_size_;
            done = co_await read_compressed(index, run->place.offset, (offset + at) % cluster_size_, part);
            break;
        }
        case Kind::kUnallocated:
            if (has_backing()) {
                done = co_await read_backing(offset + at, part);
                break;
            }
            [[fallthrough]];
        case Kind::kZero:
            part.fill(0, 0, part.size());
            break;
        }
        if (!done)
            co_return done;
        at += run->length;
    }
    co_return Result<void>{};
}

Task<Result<void>> ClusterNode::write(std::uint64_t offset, const IoVector &from, unsigned flags) {
    if ((flags & kCompressed) && !stores_compressed())
        co_return file_.fail(ENOTSUP, "this format stores no compressed clusters");
    if (auto ready = co_await prepare_write(); !ready)
        co_return ready;
    for (std::uint64_t at = 0; at < from.size();) {
        auto run = co_await run_at(offset + at, from.size() - at);
        if (!run)
            co_return util::fail(run.error());
        const IoVector part = from.slice(at, run->length);
        Result<void> done;
        std::uint64_t written = run->length;
        if (run->place.kind == Kind::kData && !(flags & kCompressed)) {
            done = co_await file_.write(run->place.offset, part);
        } else {
            co_await allocation_.lock();
            done = co_await write_new(offset + at, part, written);
            allocation_.unlock();
        }
        if (!done)
            co_return done;
        at += written;
    }
    if (flags & kFua)
        co_return co_await flush();
    co_return Result<void>{};
}

/// Writes the beginning of `from`, whose clusters had no storage when they were looked at; `done`: how much of it.
Task<Result<void>> ClusterNode::write_new(std::uint64_t offset, const IoVector &from, std::uint64_t &done) {
    auto run = co_await run_at(offset, from.size());
    if (!run)
        co_return util::fail(run.error());
    done = run->length;
    if (run->place.kind == Kind::kData) {
        const IoVector part = from.slice(0, done);
        co_return co_await file_.write(run->place.offset, part);
    }
    if (run->place.kind == Kind::kCompressed)
        co_return file_.fail(EIO, "the cluster at offset {} is compressed, and compressed clusters are not overwritten",
                             offset);
    const std::uint64_t first = offset / cluster_size_;
    const std::uint64_t head = offset % cluster_size_;
    const std::uint64_t last = divide_up(offset + done, cluster_size_);
    const std::uint64_t tail = std::min(last * cluster_size_, length_) - (offset + done);
    const IoVector part = from.slice(0, done);
    if (run->place.kind != Kind::kUnallocated || !has_backing() || (head == 0 && tail == 0))
        co_return co_await allocate(first, last - first, head, part);

    std::vector<std::uint8_t> before(head), behind(tail);
    IoVector whole;
    if (head > 0) {
        const IoVector buffer{std::span(before)};
        auto copied = co_await read_backing(offset - head, buffer);
        if (!copied)
            co_return copied;
        whole.append(before.data(), head);
    }
    for (const iovec &piece : part.pieces())
        whole.append(piece.iov_base, piece.iov_len);
    if (tail > 0) {
        const IoVector buffer{std::span(behind)};
        auto copied = co_await read_backing(offset + done, buffer);
        if (!copied)
            co_return copied;
        whole.append(behind.data(), tail);
    }
    co_return co_await allocate(first, last - first, 0, whole);
}

Task<Result<void>> ClusterNode::write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) {
    if (auto ready = co_await prepare_write(); !ready)
        co_return ready;
    for (std::uint64_t at = 0; at < length;) {
        auto run = co_await run_at(offset + at, length - at);
        if (!run)
            co_return util::fail(run.error());
        const bool zero = run->place.kind == Kind::kZero || (run->place.kind == Kind::kUnallocated && !has_backing());
        if (!zero) {
            auto done = co_await zero_run(offset + at, run->length, flags);
            if (!done)
                co_return done;
        }
        at += run->length;
    }
    if (flags & kFua)
        co_return co_await flush();
    co_return Result<void>{};
}

/// Makes a range of one kind read as zeroes: its whole clusters by the format's means, the rest by writing.
Task<Result<void>> ClusterNode::zero_run(std::uint64_t offset, std::uint64_t length, unsigned flags) {
    const std::uint64_t end = offset + length;
    const std::uint64_t first = divide_up(offset, cluster_size_);
    const std::uint64_t last = end == length_ ? divide_up(end, cluster_size_) : end / cluster_size_;
    std::uint64_t skip_from = end, skip_to = end;
    if (first < last) {
        co_await allocation_.lock();
        auto made = co_await make_zero(first, last - first, flags);
        allocation_.unlock();
        if (!made)
            co_return util::fail(made.error());
        if (*made) {
            skip_from = first * cluster_size_;
            skip_to = std::min(last * cluster_size_, end);
        }
    }
    if ((flags & kNoFallback) && (offset < skip_from || skip_to < end))
        co_return file_.fail(ENOTSUP, "the image cannot make this range zero without writing it");
    std::vector<std::uint8_t> zeroes;
    for (std::uint64_t at = offset; at < end;) {
        if (at == skip_from) {
            at = skip_to;
            continue;
        }
        const std::uint64_t piece = std::min((at < skip_from ? skip_from : end) - at, kZeroPiece);
        zeroes.resize(std::max<std::uint64_t>(zeroes.size(), piece));
        const IoVector part(zeroes.data(), piece);
        auto done = co_await write(at, part, kNoFlags);
        if (!done)
            co_return done;
        at += piece;
    }
    co_return Result<void>{};
}

Task<Result<Extent>> ClusterNode::block_status(std::uint64_t offset, std::uint64_t length) {
    auto run = co_await run_at(offset, std::min(length, kStatusClusters * cluster_size_));
    if (!run)
        co_return util::fail(run.error());
    Extent extent;
    extent.length = run->length;
    switch (run->place.kind) {
    case Kind::kData:
        extent.data = extent.allocated = true;
        extent.host_offset = run->place.offset;
        extent.file = file();
        break;
    case Kind::kCompressed:
        extent.data = extent.allocated = extent.compressed = true;
        break;
    case Kind::kZero:
        extent.zero = extent.allocated = true;
        break;
    case Kind::kUnallocated:
        extent.zero = !has_backing();
        break;
    }
    co_return extent;
}

} // namespace rhea::block
