// Qcow2Node: what holds a range.
#include "block/qcow2/node.h"

namespace rhea::block::qcow2 {

namespace {

/// `file`: where the bytes lie as they are; null: nowhere.
Extent extent_of(const Mapping &mapping, BlockNode *file) {
    Extent extent;
    extent.length = mapping.length;
    extent.zero = mapping.kind == Kind::kZero || mapping.kind == Kind::kZeroAlloc;
    extent.data = mapping.kind == Kind::kData || mapping.kind == Kind::kCompressed;
    extent.allocated = extent.zero || extent.data;
    extent.compressed = mapping.kind == Kind::kCompressed;
    if (file != nullptr && (mapping.kind == Kind::kData || mapping.kind == Kind::kZeroAlloc || mapping.kind == Kind::kUnallocatedAlloc)) {
        extent.host_offset = mapping.host;
        extent.file = file;
    }
    return extent;
}

/// Does `next` go on where `extent` ends?
bool continues(const Extent &extent, const Extent &next) {
    if (next.zero != extent.zero || next.data != extent.data || next.allocated != extent.allocated || next.compressed != extent.compressed ||
        next.host_offset.has_value() != extent.host_offset.has_value())
        return false;
    return !extent.host_offset || *next.host_offset == *extent.host_offset + extent.length;
}

} // namespace

/// Does the file have holes where clusters are in use (preallocation=metadata)? Then it is asked what reads as zeroes.
Task<bool> Qcow2Node::has_preallocated_holes() {
    if (holes_known_)
        co_return has_holes_;
    holes_known_ = true;
    auto under = co_await image_->file.node().info();
    if (!under || !under->actual_size || image_->data)
        co_return false;
    const std::uint64_t stored = *under->actual_size >> image_->geometry.cluster_bits, end = image_->geometry.clusters(image_->file.length());
    const std::uint64_t threshold = std::max(stored * 10 / 9, stored + 2);
    std::uint64_t used = 0;
    for (std::uint64_t cluster = 0; cluster < end && used < threshold; ++cluster) {
        auto count = co_await image_->refcounts.get_loading(cluster);
        if (!count)
            co_return false;
        used += *count != 0 ? 1 : 0;
    }
    has_holes_ = used >= threshold;
    co_return has_holes_;
}

Task<Result<Extent>> Qcow2Node::block_status(std::uint64_t offset, std::uint64_t bytes) {
    if (!image_->gate.try_enter())
        co_await image_->gate.enter();
    const RequestScope scope(*image_);
    const bool ask_file = co_await has_preallocated_holes();
    Extent extent;
    while (extent.length < bytes) {
        Mapping mapping;
        const std::uint64_t at = offset + extent.length;
        auto need = map_range(*image_, at, bytes - extent.length, mapping);
        if (!need && extent.length != 0)
            break;
        if (!need) {
            const util::Error error = need.error();
            auto noted = co_await failed(error);
            co_return util::fail(noted.error());
        }
        if (*need) {
            auto loaded = co_await need->load();
            if (!loaded)
                co_return util::fail(loaded.error());
            continue;
        }
        Extent next = extent_of(mapping, image_->crypt ? nullptr : &image_->data_node());
        if (!next.allocated) { // zero where there is no backing file, or behind its end
            const std::uint64_t covered = backing_ ? backing_->length() : 0;
            next.zero = at >= covered;
            if (!next.zero)
                next.length = std::min(next.length, covered - at);
        }
        if (ask_file && next.data && next.host_offset && *next.host_offset < image_->file.length()) {
            const std::uint64_t inside = std::min(next.length, image_->file.length() - *next.host_offset);
            auto under = co_await image_->file.node().block_status(*next.host_offset, inside);
            if (under && under->length != 0) {
                next.zero = under->zero;
                next.length = std::min(next.length, under->length);
            }
        }
        if (extent.length == 0)
            extent = next;
        else if (continues(extent, next))
            extent.length += next.length;
        else
            break;
    }
    co_return extent;
}

} // namespace rhea::block::qcow2
