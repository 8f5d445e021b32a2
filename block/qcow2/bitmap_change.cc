// Qcow2Node: steps on one bitmap (rhea-img bitmap), with the gate closed.
#include <algorithm>
#include <bit>
#include <cerrno>

#include "block/qcow2/bitmaps.h"
#include "block/qcow2/node.h"
#include "block/qcow2/qcow2.h"

namespace rhea::block::qcow2 {

namespace {

using Entries = std::vector<BitmapEntry>;

util::Failure refuse(const Image &image, int code, std::string sentence) {
    return util::fail(util::Error("{}: {}", image.filename(), sentence).with_code(code));
}

Result<std::size_t> find_bitmap(const Image &image, const Entries &entries, const std::string &name) {
    const auto found = std::find_if(entries.begin(), entries.end(), [&](const BitmapEntry &entry) { return entry.name == name; });
    if (found == entries.end())
        return refuse(image, ENOENT, fmt::format("there is no bitmap '{}'", name));
    return static_cast<std::size_t>(found - entries.begin());
}

Result<void> check_usable(const Image &image, const BitmapEntry &entry) {
    if (entry.flags & BitmapEntry::kInUse)
        return refuse(image, EINVAL, fmt::format("bitmap '{}' is in use: whoever recorded in it did not store it, so that it has gaps; it can only "
                                                 "be removed", entry.name));
    return {};
}

/// A new bitmap without a bit set.
Task<Result<void>> add_bitmap(Image &image, const BitmapChange &change, Entries &entries) {
    if (find_bitmap(image, entries, change.name))
        co_return refuse(image, EEXIST, fmt::format("there is already a bitmap '{}'", change.name));
    if (change.name.empty() || change.name.size() > kMaxBitmapName)
        co_return refuse(image, EINVAL, fmt::format("the name of a bitmap has 1 to {} bytes", kMaxBitmapName));
    if (!std::has_single_bit(change.granularity) || change.granularity < 512 || change.granularity > 1ull << 31)
        co_return refuse(image, EINVAL, fmt::format("the granularity of a bitmap is a power of two from 512 to 2G, not {}", change.granularity));
    BitmapEntry entry;
    entry.name = change.name;
    entry.type = 1;
    entry.granularity_bits = static_cast<std::uint8_t>(std::countr_zero(change.granularity));
    entry.flags = BitmapEntry::kAuto;
    auto bits = empty_bitmap(image, entry);
    if (!bits)
        co_return util::fail(bits.error());
    auto stored = co_await store_bitmap(image, entry, *bits);
    if (!stored)
        co_return stored;
    entries.push_back(std::move(entry));
    co_return Result<void>{};
}

/// The bits of another bitmap, of the same image or of another one.
Task<Result<BitmapBits>> source_bits(Image &own, const BitmapChange &change) {
    Image *image = &own;
    if (change.source != nullptr) {
        auto *node = dynamic_cast<Qcow2Node *>(change.source);
        if (node == nullptr)
            co_return refuse(own, ENOTSUP, fmt::format("bitmaps can be merged from qcow2 images only, not from {}", change.source->driver()));
        image = &node->image();
    }
    auto entries = co_await read_bitmap_directory(*image);
    if (!entries)
        co_return util::fail(entries.error());
    auto at = find_bitmap(*image, *entries, change.source_name);
    if (!at)
        co_return util::fail(at.error());
    if (auto usable = check_usable(*image, (*entries)[*at]); !usable)
        co_return util::fail(usable.error());
    co_return co_await load_bitmap(*image, (*entries)[*at]);
}

/// Changes entries; what has to be freed when they are stored goes to `old`.
Task<Result<void>> apply(Image &image, const BitmapChange &change, Entries &entries, Entries &old) {
    if (change.kind == BitmapChange::Kind::kAdd)
        co_return co_await add_bitmap(image, change, entries);
    auto at = find_bitmap(image, entries, change.name);
    if (!at)
        co_return util::fail(at.error());
    BitmapEntry &entry = entries[*at];
    if (change.kind == BitmapChange::Kind::kRemove) {
        old.push_back(entry);
        entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(*at));
        co_return Result<void>{};
    }
    if (auto usable = check_usable(image, entry); !usable)
        co_return usable;
    if (change.kind == BitmapChange::Kind::kEnable || change.kind == BitmapChange::Kind::kDisable) {
        const std::uint32_t flag = BitmapEntry::kAuto;
        entry.flags = change.kind == BitmapChange::Kind::kEnable ? entry.flags | flag : entry.flags & ~flag;
        co_return Result<void>{};
    }
    auto bits = empty_bitmap(image, entry);
    if (bits && change.kind == BitmapChange::Kind::kMerge) {
        auto from = co_await source_bits(image, change);
        if (!from)
            co_return util::fail(from.error());
        bits = co_await load_bitmap(image, entry);
        if (bits)
            bits->merge(*from);
    }
    if (!bits)
        co_return util::fail(bits.error());
    old.push_back(entry);
    co_return co_await store_bitmap(image, entry, *bits);
}

} // namespace

Task<Result<void>> Qcow2Node::change_bitmap(const BitmapChange &change) {
    Image &image = *image_;
    if (!image.writable)
        co_return refuse(image, EPERM, "the image is opened read-only");
    if (image.header.version < 3)
        co_return refuse(image, ENOTSUP, "images of compat=0.10 have no bitmaps");
    co_await image.gate.close();
    const GateClosed closed(image.gate);
    auto done = co_await image.prepare_tables();
    if (done)
        done = co_await stop_recording(image); // the file has the bitmaps as they are now
    image.recording_ended();
    Entries old;
    if (done) {
        auto entries = co_await read_bitmap_directory(image);
        if (!entries)
            co_return util::fail(entries.error());
        done = co_await apply(image, change, *entries, old);
        if (done)
            done = co_await store_bitmap_directory(image, *entries);
    }
    for (const BitmapEntry &entry : old)
        if (done)
            done = co_await free_bitmap(image, entry);
    if (done)
        done = co_await image.settle();
    if (!done)
        co_return co_await failed(done.error());
    co_return done;
}

Task<Result<void>> change_bitmap(BlockNode &node, BitmapChange change) {
    auto *image = dynamic_cast<Qcow2Node *>(&node);
    if (image == nullptr)
        co_return util::fail(util::Error("this is not a qcow2 image").with_code(EINVAL));
    co_return co_await image->change_bitmap(change);
}

} // namespace rhea::block::qcow2
