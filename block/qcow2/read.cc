// Qcow2Node: reading.
#include <cerrno>

#include "block/qcow2/codec.h"
#include "block/qcow2/node.h"

namespace rhea::block::qcow2 {

Task<Result<void>> Qcow2Node::read(std::uint64_t offset, const IoVector &to) {
    if (to.empty())
        co_return Result<void>{};
    if (!image_->gate.try_enter())
        co_await image_->gate.enter();
    const RequestScope scope(*image_);
    // The usual request is one run of clusters whose L2 slice is in the cache: no coroutine but the file's.
    Mapping mapping;
    auto need = map_range(*image_, offset, to.size(), mapping);
    if (need && !*need && mapping.length == to.size() && mapping.kind == Kind::kData) {
        BlockNode &node = image_->data_node();
        if (mapping.host + to.size() <= node.length())
            co_return co_await node.read(mapping.host, to);
    }
    auto task = read_inside(offset, to);
    auto done = co_await task;
    if (!done)
        co_return co_await failed(done.error());
    co_return done;
}

Task<Result<void>> Qcow2Node::read_inside(std::uint64_t offset, IoVector to) {
    TaskGroup group(context());
    const std::uint64_t size = to.size();
    std::uint64_t at = 0;
    while (at < size && !group.failed()) {
        Mapping mapping;
        auto need = map_range(*image_, offset + at, size - at, mapping);
        if (!need) {
            group.fail(need.error());
            break;
        }
        if (*need) {
            auto loaded = co_await need->load();
            if (!loaded)
                group.fail(loaded.error());
            continue;
        }
        if (mapping.length == size) {
            auto task = read_mapped(mapping, offset, std::move(to));
            co_return co_await task;
        }
        IoVector piece = to.slice(at, mapping.length);
        if (mapping.kind == Kind::kZero || mapping.kind == Kind::kZeroAlloc) {
            piece.fill(0, 0, mapping.length);
        } else {
            group.start(read_mapped(mapping, offset + at, std::move(piece)));
            co_await group.below(15);
        }
        at += mapping.length;
    }
    co_return co_await group.wait();
}

Task<Result<void>> Qcow2Node::read_mapped(Mapping mapping, std::uint64_t offset, IoVector to) {
    switch (mapping.kind) {
    case Kind::kUnallocated:
    case Kind::kUnallocatedAlloc: {
        auto task = read_backing(offset, std::move(to));
        co_return co_await task;
    }
    case Kind::kZero:
    case Kind::kZeroAlloc: to.fill(0, 0, to.size()); co_return Result<void>{};
    case Kind::kData: co_return co_await read_zero_extended(image_->data_node(), mapping.host, to);
    case Kind::kCompressed: break;
    }
    auto task = read_compressed(mapping.entry, offset & image_->geometry.cluster_mask(), std::move(to));
    co_return co_await task;
}

Task<Result<void>> Qcow2Node::read_backing(std::uint64_t offset, IoVector to) {
    if (no_backing_at(offset)) {
        to.fill(0, 0, to.size());
        co_return Result<void>{};
    }
    const std::shared_ptr<BlockNode> backing = backing_; // it may be replaced meanwhile
    co_return co_await read_zero_extended(*backing, offset, to);
}

Task<Result<void>> Qcow2Node::read_compressed(L2Entry entry, std::uint64_t in_cluster, IoVector to) {
    const Geometry &g = image_->geometry;
    const std::uint64_t size = g.cluster_size(), writes = compressed_writes_;
    for (const Decompressed &kept : decompressed_)
        if (kept.bytes && kept.word == entry.word) {
            to.copy_from(0, kept.bytes.get() + in_cluster, to.size());
            co_return Result<void>{};
        }
    std::uint64_t offset = g.compressed_offset(entry.word), bytes = g.compressed_bytes(entry.word);
    // The last sector may lie behind the end of the file; and the file may want aligned requests.
    const std::uint64_t skip = offset & (alignment_ - 1);
    offset -= skip;
    bytes = (bytes + skip + alignment_ - 1) & ~std::uint64_t{alignment_ - 1};
    const auto packed = std::make_unique_for_overwrite<std::uint8_t[]>(bytes);
    const IoVector vector(packed.get(), bytes);
    auto done = co_await read_zero_extended(image_->file.node(), offset, vector);
    if (!done)
        co_return done;
    std::shared_ptr<std::uint8_t[]> whole;
    std::uint8_t *target = to.size() == size ? to.contiguous() : nullptr;
    if (target == nullptr) {
        whole = std::make_shared_for_overwrite<std::uint8_t[]>(size);
        target = whole.get();
    }
    const Compression type = image_->header.compression;
    const std::span<const std::uint8_t> from(packed.get() + skip, bytes - skip);
    std::function<std::int64_t()> work = [type, from, target, size] { return decompress_cluster(type, from, {target, size}); };
    auto result_task = context().in_pool(std::move(work));
    const std::int64_t result = co_await result_task;
    if (result < 0)
        co_return util::fail(util::Error("{}: the compressed cluster at {:#x} cannot be decompressed ({} bytes); its data is damaged",
                                         image_->filename(), offset + skip, bytes - skip).with_code(EIO));
    if (whole) {
        to.copy_from(0, target + in_cluster, to.size());
        if (writes == compressed_writes_)
            decompressed_[next_decompressed_++ % decompressed_.size()] = {entry.word, std::move(whole)};
    }
    co_return Result<void>{};
}

} // namespace rhea::block::qcow2
