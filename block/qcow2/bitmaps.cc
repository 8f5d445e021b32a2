#include "block/qcow2/bitmaps.h"

#include <cerrno>

#include "block/qcow2/json_text.h"

namespace rhea::block::qcow2 {

namespace {

Result<BitmapEntry> parse_entry(const Image &image, std::span<const std::uint8_t> bytes, std::size_t at) {
    const std::uint64_t directory = image.header.bitmaps->directory_offset;
    const auto refuse = [&](std::string_view what) {
        return util::fail(util::Error("{}: the bitmap directory entry at {:#x}: {}", image.filename(), directory + at, what).with_code(EINVAL));
    };
    if (bytes.size() - at < kFixedSize)
        return refuse("it lies beyond the end of the directory");
    const std::uint8_t *p = &bytes[at];
    BitmapEntry entry;
    entry.at = at;
    entry.table_offset = load_be<std::uint64_t>(p);
    entry.table_size = load_be<std::uint32_t>(p + 8);
    entry.flags = load_be<std::uint32_t>(p + 12);
    entry.type = p[16];
    entry.granularity_bits = p[17];
    const std::size_t name_size = load_be<std::uint16_t>(p + 18), extra_size = load_be<std::uint32_t>(p + 20);
    if (name_size == 0 || name_size > kMaxBitmapName)
        return refuse(fmt::format("the name has {} bytes; 1 to {} are possible", name_size, kMaxBitmapName));
    if (extra_size > bytes.size() - at - kFixedSize || name_size > bytes.size() - at - kFixedSize - extra_size)
        return refuse("name and extra data lie beyond the end of the directory");
    entry.extra.assign(p + kFixedSize, p + kFixedSize + extra_size);
    entry.name.assign(reinterpret_cast<const char *>(p + kFixedSize + extra_size), name_size);
    const Geometry &g = image.geometry;
    if (entry.type != 1)
        return refuse(fmt::format("type {} is unknown", entry.type));
    if (entry.granularity_bits > 31 || entry.granularity_bits < 9)
        return refuse(fmt::format("granularity_bits is {}; it must be from 9 to 31", entry.granularity_bits));
    if (!g.aligned(entry.table_offset) || (entry.table_offset == 0 && entry.table_size != 0) ||
        std::uint64_t{entry.table_size} * 8 > kMaxBitmapTableBytes ||
        entry.table_offset + std::uint64_t{entry.table_size} * 8 > g.align_up(image.file.length()))
        return refuse(fmt::format("the bitmap table at {:#x} with {} entries is not inside the file", entry.table_offset, entry.table_size));
    return entry;
}

} // namespace

Task<Result<std::vector<BitmapEntry>>> read_bitmap_directory(Image &image) {
    std::vector<BitmapEntry> entries;
    if (!image.header.bitmaps)
        co_return entries;
    const BitmapExtension &extension = *image.header.bitmaps;
    std::vector<std::uint8_t> bytes(extension.directory_size);
    auto done = co_await image.file.read(extension.directory_offset, bytes, "the bitmap directory");
    if (!done)
        co_return util::fail(done.error());
    std::size_t at = 0;
    for (std::uint32_t i = 0; i < extension.count; ++i) {
        if (at >= bytes.size())
            co_return util::fail(util::Error("{}: the bitmap directory at {:#x} ends before bitmap {} of {}", image.filename(),
                                             extension.directory_offset, i + 1, extension.count).with_code(EINVAL));
        auto entry = parse_entry(image, bytes, at);
        if (!entry)
            co_return util::fail(entry.error());
        at += stored_size(*entry);
        entries.push_back(std::move(*entry));
    }
    co_return entries;
}

Task<Result<std::vector<std::uint64_t>>> read_bitmap_table(Image &image, const BitmapEntry &entry) {
    std::vector<std::uint8_t> bytes(std::size_t{entry.table_size} * 8);
    auto done = co_await image.file.read(entry.table_offset, bytes, "a bitmap table");
    if (!done)
        co_return util::fail(done.error());
    std::vector<std::uint64_t> table(entry.table_size);
    for (std::size_t i = 0; i < table.size(); ++i)
        table[i] = load_be<std::uint64_t>(&bytes[i * 8]);
    co_return table;
}

std::string bitmaps_json(const std::vector<BitmapEntry> &entries) {
    std::string out = "[";
    for (const BitmapEntry &entry : entries) {
        std::string flags;
        if (entry.flags & BitmapEntry::kInUse)
            flags += "\"in-use\"";
        if (entry.flags & BitmapEntry::kAuto)
            flags += flags.empty() ? "\"auto\"" : ", \"auto\"";
        out += fmt::format("{}{{\"flags\": [{}], \"name\": {}, \"granularity\": {}}}", out.size() > 1 ? ", " : "", flags,
                           json_quote(entry.name), 1ull << entry.granularity_bits);
    }
    return out + "]";
}

Task<Result<void>> start_recording(Image &image) {
    image.recording.clear();
    if (!image.header.bitmaps)
        co_return Result<void>{};
    auto entries = co_await read_bitmap_directory(image);
    if (!entries)
        co_return util::fail(entries.error());
    bool changed = false;
    for (const BitmapEntry &entry : *entries) {
        if ((entry.flags & BitmapEntry::kAuto) == 0 || (entry.flags & BitmapEntry::kInUse) != 0)
            continue;
        auto bits = co_await load_bitmap(image, entry);
        if (bits)
            image.recording.push_back({entry.name, std::move(*bits)});
        std::uint8_t flags[4];
        store_be(flags, entry.flags | BitmapEntry::kInUse);
        auto done = co_await image.file.write(image.header.bitmaps->directory_offset + entry.at + 12, flags, "a bitmap's flags");
        if (!done)
            co_return done;
        changed = true;
    }
    if (changed)
        co_return co_await image.file.flush();
    co_return Result<void>{};
}

Task<Result<void>> stop_recording(Image &image) {
    if (image.recording.empty())
        co_return Result<void>{};
    auto entries = co_await read_bitmap_directory(image);
    if (!entries)
        co_return util::fail(entries.error());
    std::vector<BitmapEntry> old;
    for (BitmapEntry &entry : *entries)
        for (const RecordingBitmap &each : image.recording) {
            if (each.name != entry.name)
                continue;
            old.push_back(entry);
            auto stored = co_await store_bitmap(image, entry, each.bits);
            if (!stored)
                co_return stored;
            entry.flags &= ~std::uint32_t{BitmapEntry::kInUse};
        }
    auto done = co_await store_bitmap_directory(image, *entries);
    if (!done)
        co_return done;
    image.recording.clear();
    for (const BitmapEntry &entry : old) {
        done = co_await free_bitmap(image, entry);
        if (!done)
            co_return done;
    }
    co_return done;
}

} // namespace rhea::block::qcow2
