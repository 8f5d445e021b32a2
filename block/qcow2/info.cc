// Qcow2Node: what info and query-block show.
#include "block/qcow2/bitmaps.h"
#include "block/qcow2/json_text.h"
#include "block/qcow2/node.h"
#include "rhea/block/driver.h"

namespace rhea::block::qcow2 {

Task<Result<NodeInfo>> Qcow2Node::info() {
    auto base = co_await BlockNode::info();
    if (!base)
        co_return base;
    NodeInfo &info = *base;
    const Image &image = *image_;
    const Header &header = image.header;
    info.filename = image.filename();
    info.dirty = header.dirty();
    info.encrypted = header.encryption.has_value();
    info.backing_filename = header.backing_file;
    info.backing_format = header.backing_format;
    if (!header.backing_file.empty())
        info.full_backing_filename = resolve_backing(image.filename(), header.backing_file);
    if (image.data) {
        auto under = co_await image.data->info();
        if (under && under->actual_size && info.actual_size)
            *info.actual_size += *under->actual_size;
    }
    for (const SnapshotEntry &entry : image.snapshots) {
        NodeInfo::Snapshot snapshot;
        snapshot.id = entry.id;
        snapshot.name = entry.name;
        snapshot.vm_state_size = entry.vm_state_size;
        snapshot.date_sec = entry.date_sec;
        snapshot.date_nsec = entry.date_nsec;
        snapshot.vm_clock_nsec = entry.vm_clock_nsec;
        if (entry.icount != ~0ull)
            snapshot.icount = entry.icount;
        snapshot.disk_size = entry.disk_size;
        info.snapshots.push_back(std::move(snapshot));
    }
    const auto detail = [&info](const char *key, std::string json) { info.details.push_back({key, std::move(json)}); };
    const auto flag = [&detail](const char *key, bool on) { detail(key, on ? "true" : "false"); };
    detail("compat", header.version == 2 ? "\"0.10\"" : "\"1.1\"");
    detail("compression type", header.compression == Compression::kZstd ? "\"zstd\"" : "\"zlib\"");
    if (header.version == 2) {
        detail("refcount bits", "16");
        if (image.luks)
            detail("encrypt", crypto::luks_json(*image.luks));
        co_return base;
    }
    flag("lazy refcounts", header.lazy_refcounts());
    if (header.bitmaps) {
        auto directory = co_await read_bitmap_directory(*image_);
        if (directory)
            detail("bitmaps", bitmaps_json(*directory));
    }
    detail("refcount bits", std::to_string(image.geometry.refcount_bits()));
    if (header.external_data()) {
        if (header.has_data_file_name)
            detail("data file", json_quote(header.data_file));
        flag("data file raw", header.raw_external_data());
    }
    flag("corrupt", header.corrupt());
    flag("extended l2", header.extended_l2());
    if (image.luks)
        detail("encrypt", crypto::luks_json(*image.luks));
    co_return base;
}

} // namespace rhea::block::qcow2
