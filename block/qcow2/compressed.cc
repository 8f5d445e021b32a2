// Qcow2Node: writing compressed clusters. They are packed byte by byte, one behind the other; each host cluster that one
// touches has one more reference.
#include <cerrno>

#include "block/qcow2/codec.h"
#include "block/qcow2/write_plan.h"

namespace rhea::block::qcow2 {

Task<Result<void>> Qcow2Node::write_compressed(std::uint64_t offset, IoVector from) {
    const Geometry &g = image_->geometry;
    if (image_->data != nullptr)
        co_return util::fail(util::Error("{}: images with an external data file have no compressed clusters", image_->filename()).with_code(ENOTSUP));
    if (image_->crypt) // the format has them in the clear
        co_return util::fail(util::Error("{}: encrypted images have no compressed clusters", image_->filename()).with_code(ENOTSUP));
    const std::uint64_t size = from.size();
    if (!g.aligned(offset) || (!g.aligned(size) && offset + size != length()))
        co_return util::fail(util::Error("{}: a compressed write must be whole clusters of {} bytes, not {} bytes at {:#x}", image_->filename(),
                                         g.cluster_size(), size, offset).with_code(EINVAL));
    if (size <= g.cluster_size()) {
        auto task = write_compressed_cluster(offset, std::move(from));
        co_return co_await task;
    }
    TaskGroup group(context());
    for (std::uint64_t at = 0; at < size && !group.failed(); at += g.cluster_size()) {
        group.start(write_compressed_cluster(offset + at, from.slice(at, std::min(g.cluster_size(), size - at))));
        co_await group.below(15);
    }
    co_return co_await group.wait();
}

Task<Result<void>> Qcow2Node::write_compressed_cluster(std::uint64_t offset, IoVector from) {
    const Geometry &g = image_->geometry;
    const std::uint64_t size = g.cluster_size();
    std::unique_ptr<std::uint8_t[]> copy;
    const std::uint8_t *bytes = from.size() == size ? from.contiguous() : nullptr;
    if (bytes == nullptr) {
        copy = std::make_unique<std::uint8_t[]>(size); // what is behind the end of the disk is zero
        from.copy_to(0, copy.get(), from.size());
        bytes = copy.get();
    }
    const auto packed = std::make_unique_for_overwrite<std::uint8_t[]>(size);
    const Compression type = image_->header.compression;
    // A cluster that does not get smaller is stored as it is.
    const std::span<std::uint8_t> out(packed.get(), size - 1);
    std::function<std::int64_t()> work = [type, bytes, size, out] { return compress_cluster(type, {bytes, size}, out); };
    auto length_task = context().in_pool(std::move(work));
    const std::int64_t length = co_await length_task;
    if (length < 0)
        co_return util::fail(util::Error("{}: cannot compress the cluster at guest offset {:#x}: {}", image_->filename(), offset,
                                         std::strerror(static_cast<int>(-length))).with_code(static_cast<int>(-length)));
    if (length == 0) {
        auto task = write_inside(offset, std::move(from));
        co_return co_await task;
    }

    const std::uint64_t cluster = offset >> g.cluster_bits;
    co_await wait_not_busy(cluster, cluster);
    InFlight flight;
    flight.first = flight.last = cluster;
    begin(flight);
    Result<void> done;
    if (image_->wants_commit())
        done = co_await image_->commit();
    if (done && !image_->l2_writable(offset))
        done = co_await image_->make_l2_writable(offset);
    std::uint64_t host = 0;
    if (done) {
        auto place = co_await allocate_bytes(static_cast<std::uint64_t>(length));
        if (place)
            host = *place;
        else
            done = util::fail(place.error());
    }
    if (done)
        done = co_await write_unaligned(host, {packed.get(), static_cast<std::size_t>(length)});
    while (done) {
        Slice *slice = nullptr;
        std::uint64_t index = 0;
        auto need = image_->find_l2(offset, slice, index);
        if (!need) {
            done = util::fail(need.error());
        } else if (*need) {
            done = co_await need->load();
        } else {
            image_->free_entry_later(load_l2(slice->data, g, index), FreeReason::kOther);
            image_->set_l2(*slice, index, {g.compressed_entry(host, static_cast<std::uint64_t>(length)), 0});
            image_->publish();
            break;
        }
    }
    if (!done && host != 0) {
        const std::uint64_t first = host >> g.cluster_bits, last = (host + static_cast<std::uint64_t>(length) - 1) >> g.cluster_bits;
        co_await image_->free_unused(first, last - first + 1);
    }
    end(flight);
    co_return done;
}

Task<Result<std::uint64_t>> Qcow2Node::allocate_bytes(std::uint64_t bytes) {
    const Geometry &g = image_->geometry;
    Refcounts &refcounts = image_->refcounts;
    decompressed_ = {};
    ++compressed_writes_;
    co_await compressed_mutex_.lock();
    std::uint64_t place = 0;
    Result<void> failed;
    while (place == 0 && failed) {
        std::uint64_t &tail = image_->compressed_tail;
        Result<Need> need = Need{};
        if (tail != 0) {
            const std::uint64_t cluster = tail >> g.cluster_bits;
            std::uint64_t count = 0;
            need = refcounts.get(cluster, count);
            if (need && !*need) {
                if (count == 0 || count == g.max_refcount()) {
                    tail = 0;
                    continue;
                }
                std::uint64_t got = 1;
                if (g.cluster_size() - (tail & g.cluster_mask()) < bytes)
                    need = refcounts.allocate_at(cluster + 1, 1, got);
                if (need && !*need && got == 1) {
                    place = tail; // the slice of `cluster` is here: get() found it just now
                    need = refcounts.change(cluster, 1, true);
                } else if (need && !*need) {
                    tail = 0;
                    continue;
                }
            }
        } else {
            ClusterRun run;
            need = refcounts.allocate(1, false, run);
            if (need && !*need)
                place = run.first << g.cluster_bits;
        }
        if (!need) {
            failed = util::fail(need.error());
        } else if (*need) {
            place = 0;
            failed = co_await need->load();
        }
    }
    if (failed && place + bytes > g.max_compressed_offset())
        failed = util::fail(util::Error("{}: a compressed cluster cannot lie at {:#x}: the image file is too big for it", image_->filename(), place)
                                .with_code(EFBIG));
    if (failed) {
        image_->note_written(g.align_up(place + bytes));
        image_->compressed_tail = g.aligned(place + bytes) ? 0 : place + bytes;
    }
    compressed_mutex_.unlock();
    if (!failed)
        co_return util::fail(failed.error());
    co_return place;
}

Task<Result<void>> Qcow2Node::write_unaligned(std::uint64_t offset, std::span<const std::uint8_t> bytes) {
    BlockNode &node = image_->file.node();
    if (alignment_ == 1) {
        const IoVector vector(const_cast<std::uint8_t *>(bytes.data()), bytes.size());
        co_return co_await node.write(offset, vector);
    }
    const std::uint64_t mask = alignment_ - 1, start = offset & ~mask, end = (offset + bytes.size() + mask) & ~mask;
    std::vector<std::uint8_t> around(end - start);
    co_await compressed_mutex_.lock(); // neighbours share a sector
    const IoVector vector(around);
    auto done = co_await read_zero_extended(node, start, vector);
    if (done) {
        std::memcpy(&around[offset - start], bytes.data(), bytes.size());
        done = co_await node.write(start, vector);
    }
    compressed_mutex_.unlock();
    co_return done;
}

} // namespace rhea::block::qcow2
