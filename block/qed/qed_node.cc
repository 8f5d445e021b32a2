#include "block/qed/qed_node.h"

#include <algorithm>
#include <cerrno>

#include "block/format/bytes.h"
#include "rhea/block/driver.h"

namespace rhea::block {

namespace {

/// An L2 entry: the cluster reads as zeroes and has no storage.
constexpr std::uint64_t kZeroEntry = 1;
constexpr std::size_t kPageBytes = 64 << 10, kPages = 128;

} // namespace

QedNode::QedNode(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename)
    : ClusterNode(context, "qed", std::move(file), std::move(filename)), cache_(file_, kPageBytes, kPages) {}

Task<Result<void>> QedNode::load() {
    auto header = co_await QedHeader::load(file_);
    if (!header)
        co_return util::fail(header.error());
    header_ = std::move(*header);
    set_shape({header_.image_size, header_.cluster_size});
    if (file_.length() > std::uint64_t{INT64_MAX} - header_.cluster_size)
        co_return file_.fail(EFBIG, "the file of {} bytes is too long", file_.length());
    end_ = round_up(file_.length(), header_.cluster_size);
    co_return Result<void>{};
}

Task<Result<void>> QedNode::prepare_for_writing() {
    if (header_.features & kQedNeedCheck) {
        auto checked = co_await check(CheckFix::kAll);
        if (!checked)
            co_return util::fail(checked.error());
        if (checked->corruptions + checked->check_errors > 0)
            co_return file_.fail(EIO, "the image was not closed and has {} errors; see rhea-img check",
                                 checked->corruptions + checked->check_errors);
    }
    if (header_.autoclear_features == 0)
        co_return Result<void>{};
    header_.autoclear_features = 0; // what we do not know does not hold any more after a write
    co_return co_await write_header();
}

Task<Result<void>> QedNode::write_header() {
    const auto raw = header_.encode();
    auto done = co_await file_.write_bytes(0, raw.data(), raw.size());
    if (!done)
        co_return done;
    co_return co_await file_.flush();
}

Task<Result<void>> QedNode::mark_need_check() {
    if (header_.features & kQedNeedCheck)
        co_return Result<void>{};
    header_.features |= kQedNeedCheck;
    auto done = co_await write_header();
    if (!done)
        header_.features &= ~std::uint64_t{kQedNeedCheck};
    co_return done;
}

Task<Result<void>> QedNode::close() {
    if (read_only() || is_damaged() || !(header_.features & kQedNeedCheck))
        co_return Result<void>{};
    auto done = co_await file_.flush();
    if (!done)
        co_return done;
    header_.features &= ~std::uint64_t{kQedNeedCheck};
    co_return co_await write_header();
}

bool QedNode::valid_table(std::uint64_t offset) const {
    return offset % header_.cluster_size == 0 && offset >= std::uint64_t{header_.header_size} * header_.cluster_size &&
           range_fits(offset, header_.table_bytes(), round_up(file_.length(), header_.cluster_size));
}

bool QedNode::decode(std::uint64_t entry, ClusterPlace &place) const {
    place = {};
    if (entry == 0)
        return true;
    if (entry == kZeroEntry) {
        place.kind = ClusterPlace::Kind::kZero;
        return true;
    }
    place = {ClusterPlace::Kind::kData, entry};
    const bool in_l1 = entry >= header_.l1_offset && entry < header_.l1_offset + header_.table_bytes();
    return entry % header_.cluster_size == 0 && entry >= std::uint64_t{header_.header_size} * header_.cluster_size &&
           !in_l1 && entry < file_.length();
}

bool QedNode::place_now(std::uint64_t index, ClusterPlace &place) {
    place = {};
    const std::uint8_t *entry = cache_.find(l1(), index / header_.table_entries() * 8);
    if (!entry)
        return false;
    const std::uint64_t table = load_le64(entry);
    if (table == 0)
        return true;
    if (!valid_table(table))
        return false;
    entry = cache_.find(l2(table), index % header_.table_entries() * 8);
    return entry && decode(load_le64(entry), place);
}

Task<Result<ClusterPlace>> QedNode::place(std::uint64_t index) {
    const std::uint64_t l1_index = index / header_.table_entries(), l2_index = index % header_.table_entries();
    auto entry = co_await cache_.load(l1(), l1_index * 8);
    if (!entry)
        co_return util::fail(entry.error());
    const std::uint64_t table = load_le64(*entry);
    ClusterPlace place;
    if (table == 0)
        co_return place;
    if (!valid_table(table))
        co_return damaged(fmt::format("entry {} of the L1 table (offset {}) has no valid offset: {:#x}", l1_index,
                                      header_.l1_offset + l1_index * 8, table));
    entry = co_await cache_.load(l2(table), l2_index * 8);
    if (!entry)
        co_return util::fail(entry.error());
    const std::uint64_t value = load_le64(*entry);
    if (!decode(value, place))
        co_return damaged(fmt::format("entry {} of the L2 table at offset {} has no valid offset: {:#x}", l2_index, table,
                                      value));
    co_return place;
}

std::uint64_t QedNode::take_space(std::uint64_t bytes) {
    const std::uint64_t start = end_;
    end_ += round_up(bytes, header_.cluster_size);
    return start;
}

Task<Result<void>> QedNode::allocate(std::uint64_t first, std::uint64_t count, std::uint64_t skip,
                                     const IoVector &contents) {
    auto done = co_await mark_need_check();
    if (!done)
        co_return done;
    const std::uint64_t start = take_space(count * header_.cluster_size);
    done = co_await file_.grow(end_);
    if (!done)
        co_return done;
    done = co_await file_.write(start + skip, contents);
    if (!done)
        co_return done;
    co_return co_await set_entries(first, count, start, header_.cluster_size);
}

Task<Result<bool>> QedNode::make_zero(std::uint64_t first, std::uint64_t count, unsigned) {
    // Clusters with storage would be lost space: the format has no list of free ones.
    for (std::uint64_t index = first; index < first + count; ++index) {
        auto found = co_await place(index);
        if (!found)
            co_return util::fail(found.error());
        if (found->kind == ClusterPlace::Kind::kData)
            co_return false;
    }
    auto done = co_await mark_need_check();
    if (done)
        done = co_await set_entries(first, count, kZeroEntry, 0);
    if (!done)
        co_return util::fail(done.error());
    co_return true;
}

Task<Result<void>> QedNode::set_entries(std::uint64_t first, std::uint64_t count, std::uint64_t value, std::uint64_t step) {
    while (count > 0) {
        const std::uint64_t l2_index = first % header_.table_entries();
        const std::uint64_t here = std::min(count, header_.table_entries() - l2_index);
        std::vector<std::uint8_t> entries(here * 8);
        for (std::uint64_t i = 0; i < here; ++i)
            store_le64(&entries[i * 8], value + i * step);
        auto setting = set_table_entries(first / header_.table_entries(), l2_index, std::move(entries));
        auto done = co_await setting;
        if (!done)
            co_return done;
        first += here;
        count -= here;
        value += here * step;
    }
    co_return Result<void>{};
}

Task<Result<void>> QedNode::set_table_entries(std::uint64_t l1_index, std::uint64_t l2_index,
                                              std::vector<std::uint8_t> entries) {
    auto l1_entry = co_await cache_.load(l1(), l1_index * 8);
    if (!l1_entry)
        co_return util::fail(l1_entry.error());
    std::uint64_t table = load_le64(*l1_entry);
    if (table != 0) {
        if (!valid_table(table))
            co_return damaged(fmt::format("entry {} of the L1 table has no valid offset: {:#x}", l1_index, table));
        co_return co_await cache_.update(l2(table), l2_index * 8, entries.data(), entries.size());
    }
    table = take_space(header_.table_bytes());
    auto done = co_await file_.grow(end_); // a new table is zero behind and in front of the entries
    if (!done)
        co_return done;
    done = co_await cache_.update(l2(table), l2_index * 8, entries.data(), entries.size());
    if (!done)
        co_return done;
    std::uint8_t raw[8];
    store_le64(raw, table);
    co_return co_await cache_.update(l1(), l1_index * 8, raw, sizeof(raw));
}

Task<Result<void>> QedNode::truncate(std::uint64_t length, Preallocation preallocation) {
    if (preallocation != Preallocation::kOff)
        co_return file_.fail(ENOTSUP, "QED images cannot be grown with preallocation; use preallocation=off");
    if (length < header_.image_size)
        co_return file_.fail(ENOTSUP, "QED images cannot be made smaller");
    QedHeader changed = header_;
    changed.image_size = length;
    if (auto fits = changed.check_sizes(file_.filename()); !fits)
        co_return fits;
    std::swap(header_.image_size, changed.image_size);
    auto done = co_await write_header();
    if (!done)
        header_.image_size = changed.image_size;
    else
        set_shape({length, header_.cluster_size});
    co_return done;
}

Task<Result<NodeInfo>> QedNode::info() {
    auto info = co_await ClusterNode::info();
    if (!info)
        co_return info;
    info->dirty = (header_.features & kQedNeedCheck) != 0;
    info->backing_filename = header_.backing_file;
    if (!header_.backing_file.empty())
        info->full_backing_filename = resolve_backing(file_.filename(), header_.backing_file);
    if (header_.features & kQedRawBacking)
        info->backing_format = "raw";
    co_return info;
}

Result<void> QedNode::set_backing(std::shared_ptr<BlockNode> backing) {
    backing_ = std::move(backing);
    return {};
}

Task<Result<void>> QedNode::change_backing_file(std::string filename, std::string format) {
    if (filename.size() > header_.max_backing_name())
        co_return file_.fail(EINVAL, "the backing file's name is longer than {} bytes", header_.max_backing_name());
    QedHeader old = header_;
    header_.features &= ~std::uint64_t{kQedBackingFile | kQedRawBacking};
    if (!filename.empty())
        header_.features |= kQedBackingFile;
    if (format == "raw")
        header_.features |= kQedRawBacking;
    header_.backing_file = std::move(filename);
    auto done = co_await write_header();
    if (!done)
        header_ = std::move(old);
    co_return done;
}

} // namespace rhea::block
