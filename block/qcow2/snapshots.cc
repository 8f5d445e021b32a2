// Qcow2Node: internal snapshots and the VM state area.
//
// Between the moment when counts change and the one when all flags agree with them, the image carries the dirty bit (version
// 3), so that whoever opens it after a crash repairs it first. Without that bit a crash leaves leaks and flags that are more
// careful than they need to be, never a cluster that is shared and written in place.
#include <cerrno>
#include <charconv>

#include "block/qcow2/snapshot_table.h"
#include "block/qcow2/table_refs.h"
#include "block/qcow2/write_plan.h"

namespace rhea::block::qcow2 {

namespace {

std::string next_id(const Image &image) {
    std::uint64_t highest = 0;
    for (const SnapshotEntry &snapshot : image.snapshots) {
        std::uint64_t id = 0;
        std::from_chars(snapshot.id.data(), snapshot.id.data() + snapshot.id.size(), id);
        highest = std::max(highest, id);
    }
    return std::to_string(highest + 1);
}

util::Failure no_snapshot(const Image &image, const std::string &id_or_name) {
    return util::fail(util::Error("{}: there is no snapshot '{}'", image.filename(), id_or_name).with_code(ENOENT));
}

/// Writes an L1 table to new clusters; not named by anything yet.
Task<Result<std::uint64_t>> write_new_l1(Image &image, const std::vector<std::uint64_t> &l1) {
    const Geometry &g = image.geometry;
    const std::uint64_t clusters = std::max<std::uint64_t>(1, g.clusters(l1.size() * 8));
    auto first = co_await image.refcounts.allocate_contiguous(clusters);
    if (!first)
        co_return util::fail(first.error());
    const std::uint64_t offset = *first << g.cluster_bits;
    image.note_written(offset + (clusters << g.cluster_bits));
    std::vector<std::uint8_t> raw(clusters << g.cluster_bits);
    for (std::size_t i = 0; i < l1.size(); ++i)
        store_be(&raw[i * 8], l1[i]);
    auto done = co_await image.file.write(offset, raw, "an L1 table");
    if (!done) {
        co_await image.free_unused(*first, clusters);
        co_return util::fail(done.error());
    }
    co_return offset;
}

} // namespace

Task<Result<void>> Qcow2Node::after_surgery(Result<void> done) {
    Image &image = *image_;
    if (!done && !image.damaged()) { // counts are back, or too high; flags may be cleared where they need not be
        image.l2.forget_all();
        auto committed = co_await image.commit();
        if (committed)
            committed = co_await restore_copied(image);
        if (!committed)
            co_return done; // the dirty bit stays: whoever opens the image next repairs it
    }
    auto ended = co_await image.end_surgery();
    co_return done ? ended : done;
}

Task<Result<void>> Qcow2Node::snapshot_create(NodeInfo::Snapshot snapshot) {
    Image &image = *image_;
    if (!image.writable)
        co_return util::fail(util::Error("{}: the image is opened read-only", image.filename()).with_code(EPERM));
    if (image.header.external_data())
        co_return util::fail(util::Error("{}: images with an external data file have no internal snapshots", image.filename()).with_code(ENOTSUP));
    co_await image.gate.close();
    const GateClosed closed(image.gate);
    auto done = co_await image.begin_surgery();
    if (done) {
        auto creating = create_snapshot(std::move(snapshot));
        done = co_await creating;
        done = co_await after_surgery(done);
    }
    if (!done)
        co_return co_await failed(done.error());
    co_return done;
}

Task<Result<void>> Qcow2Node::create_snapshot(NodeInfo::Snapshot snapshot) {
    Image &image = *image_;
    const Geometry &g = image.geometry;
    SnapshotEntry entry;
    entry.id = snapshot.id.empty() ? next_id(image) : snapshot.id;
    entry.name = snapshot.name;
    for (const SnapshotEntry &other : image.snapshots)
        if (other.id == entry.id)
            co_return util::fail(util::Error("{}: there is already a snapshot with the id '{}'", image.filename(), entry.id).with_code(EEXIST));
    if (entry.id.size() > 65535 || entry.name.size() > 65535)
        co_return util::fail(util::Error("{}: the name of the snapshot is too long", image.filename()).with_code(EINVAL));
    entry.date_sec = snapshot.date_sec;
    entry.date_nsec = snapshot.date_nsec;
    entry.vm_clock_nsec = snapshot.vm_clock_nsec;
    entry.vm_state_size = snapshot.vm_state_size;
    entry.icount = snapshot.icount.value_or(~0ull);
    entry.disk_size = image.header.size;

    // The VM state goes over to the snapshot; the rest is shared from now on.
    const std::size_t shared = std::min<std::size_t>(g.l1_entries(image.header.size), image.l1.size());
    std::vector<std::uint64_t> both(image.l1.begin(), image.l1.begin() + static_cast<std::ptrdiff_t>(shared));
    auto done = co_await add_references(image, both);
    if (!done)
        co_return done;
    std::vector<std::uint64_t> copy = image.l1;
    for (std::uint64_t &word : copy)
        word &= ~kCopied;
    auto offset = co_await write_new_l1(image, copy);
    if (!offset) {
        auto dropped = co_await drop_references(image, both);
        co_return util::fail(dropped ? offset.error() : dropped.error());
    }
    entry.l1_offset = *offset;
    entry.l1_size = static_cast<std::uint32_t>(copy.size());
    for (std::size_t i = 0; i < image.l1.size(); ++i)
        if (const std::uint64_t now = i < shared ? both[i] : 0; image.l1[i] != now)
            image.set_l1(i, now);
    image.l2.forget_all(); // flags in the file have changed
    image.publish();
    done = co_await image.commit();
    if (!done)
        co_return done;
    std::vector<SnapshotEntry> list = image.snapshots;
    list.push_back(entry);
    auto storing = store_snapshot_table(image, std::move(list));
    done = co_await storing;
    if (done)
        image.map.add(entry.l1_offset >> g.cluster_bits, g.clusters(std::uint64_t{entry.l1_size} * 8), Metadata::kInactiveL1);
    co_return done;
}

Task<Result<void>> Qcow2Node::change_snapshot(std::string id_or_name, Task<Result<void>> (Qcow2Node::*step)(const std::string &)) {
    Image &image = *image_;
    if (!image.writable)
        co_return util::fail(util::Error("{}: the image is opened read-only", image.filename()).with_code(EPERM));
    co_await image.gate.close();
    const GateClosed closed(image.gate);
    if (find_snapshot(image, id_or_name) == image.snapshots.size())
        co_return no_snapshot(image, id_or_name);
    auto done = co_await image.begin_surgery();
    if (done) {
        done = co_await (this->*step)(id_or_name);
        done = co_await after_surgery(done);
    }
    if (!done)
        co_return co_await failed(done.error());
    co_return done;
}

Task<Result<void>> Qcow2Node::snapshot_apply(std::string id_or_name) {
    return change_snapshot(std::move(id_or_name), &Qcow2Node::apply_snapshot);
}

Task<Result<void>> Qcow2Node::snapshot_delete(std::string id_or_name) {
    return change_snapshot(std::move(id_or_name), &Qcow2Node::delete_snapshot);
}

Task<Result<void>> Qcow2Node::apply_snapshot(const std::string &id_or_name) {
    Image &image = *image_;
    const Geometry &g = image.geometry;
    const SnapshotEntry entry = image.snapshots[find_snapshot(image, id_or_name)];
    if (entry.disk_size != image.header.size && image.header.version < 3)
        co_return util::fail(util::Error("{}: snapshot '{}' has a disk of {} bytes, the image one of {}; version 2 cannot change it", image.filename(),
                                         id_or_name, entry.disk_size, image.header.size).with_code(ENOTSUP));
    if (entry.disk_size != image.header.size && image.header.bitmaps)
        co_return util::fail(util::Error("{}: snapshot '{}' has a disk of {} bytes; an image that has bitmaps cannot change its size",
                                         image.filename(), id_or_name, entry.disk_size).with_code(ENOTSUP));
    if (entry.disk_size > (1ull << 63) - g.cluster_size() || g.l1_entries(entry.disk_size) * 8 > kMaxL1Bytes)
        co_return util::fail(util::Error("{}: snapshot '{}' has an impossible disk size of {} bytes", image.filename(), id_or_name, entry.disk_size)
                                 .with_code(EINVAL));
    auto l1 = co_await read_l1(image, entry.l1_offset, entry.l1_size);
    if (!l1)
        co_return util::fail(l1.error());
    auto done = co_await add_references(image, *l1);
    if (!done)
        co_return done;
    l1->resize(std::max<std::size_t>(l1->size(), g.l1_entries(entry.disk_size)), 0);
    auto offset = co_await write_new_l1(image, *l1);
    if (!offset)
        co_return util::fail(offset.error());
    done = co_await image.commit();
    if (!done)
        co_return done;
    const Header old = image.header;
    image.header.l1_offset = *offset;
    image.header.l1_size = static_cast<std::uint32_t>(l1->size());
    image.header.size = entry.disk_size;
    done = co_await image.write_header();
    if (done)
        done = co_await image.file.flush();
    if (!done) {
        image.header = old;
        co_return done;
    }
    const std::vector<std::uint64_t> old_l1 = std::exchange(image.l1, std::move(*l1));
    image.record(0, image.header.size);
    image.l2.forget_all();
    done = co_await drop_references(image, old_l1);
    image.free_later({old.l1_offset >> g.cluster_bits, g.clusters(std::uint64_t{old.l1_size} * 8), FreeReason::kSnapshot, false});
    if (done)
        done = co_await image.build_map();
    co_return done;
}

Task<Result<void>> Qcow2Node::delete_snapshot(const std::string &id_or_name) {
    Image &image = *image_;
    const Geometry &g = image.geometry;
    const std::size_t index = find_snapshot(image, id_or_name);
    const SnapshotEntry entry = image.snapshots[index];
    auto l1 = co_await read_l1(image, entry.l1_offset, entry.l1_size);
    if (!l1)
        co_return util::fail(l1.error());
    std::vector<SnapshotEntry> list = image.snapshots;
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(index));
    auto storing = store_snapshot_table(image, std::move(list));
    auto done = co_await storing;
    if (!done)
        co_return done;
    const std::uint64_t clusters = g.clusters(std::uint64_t{entry.l1_size} * 8);
    image.map.remove(entry.l1_offset >> g.cluster_bits, clusters);
    if (entry.l1_offset != 0)
        image.free_later({entry.l1_offset >> g.cluster_bits, clusters, FreeReason::kSnapshot, false});
    done = co_await drop_references(image, *l1);
    if (done)
        done = co_await image.commit(); // counts are down before the flags say so
    if (done)
        done = co_await restore_copied(image);
    image.l2.forget_all();
    co_return done;
}

Task<Result<void>> Qcow2Node::snapshot_show(std::string id_or_name) {
    Image &image = *image_;
    co_await image.gate.close();
    const GateClosed closed(image.gate);
    const std::size_t index = find_snapshot(image, id_or_name);
    if (index == image.snapshots.size())
        co_return no_snapshot(image, id_or_name);
    auto done = co_await image.finish();
    if (!done)
        co_return done;
    const SnapshotEntry &entry = image.snapshots[index];
    auto l1 = co_await read_l1(image, entry.l1_offset, entry.l1_size);
    if (!l1)
        co_return util::fail(l1.error());
    image.l1 = std::move(*l1);
    image.l2.forget_all();
    image.header.size = entry.disk_size;
    image.writable = false;
    set_read_only(true);
    co_return done;
}

// ---- VM state --------------------------------------------------------------------------------------------------------

Task<Result<void>> Qcow2Node::vmstate_write(std::uint64_t offset, const IoVector &from) {
    Image &image = *image_;
    if (!image.writable)
        co_return util::fail(util::Error("{}: the image is opened read-only", image.filename()).with_code(EPERM));
    if (image.header.external_data())
        co_return util::fail(util::Error("{}: images with an external data file have no internal snapshots", image.filename()).with_code(ENOTSUP));
    co_await image.gate.enter();
    const RequestScope scope(image);
    auto done = co_await image.prepare_write();
    const std::uint64_t start = image.geometry.l1_entries(image.header.size) << image.geometry.l1_shift();
    if (done) {
        auto task = write_inside(start + offset, from);
        done = co_await task;
    }
    if (!done)
        co_return co_await failed(done.error());
    co_return done;
}

Task<Result<void>> Qcow2Node::vmstate_read(std::uint64_t offset, const IoVector &to) {
    Image &image = *image_;
    co_await image.gate.enter();
    const RequestScope scope(image);
    const std::uint64_t start = image.geometry.l1_entries(image.header.size) << image.geometry.l1_shift();
    auto task = read_inside(start + offset, to);
    auto done = co_await task;
    if (!done)
        co_return co_await failed(done.error());
    co_return done;
}

} // namespace rhea::block::qcow2
