#include "block/dmg/dmg_chunks.h"

#include <algorithm>
#include <cerrno>

#include "block/format/bytes.h"

namespace rhea::block {

namespace {

constexpr std::size_t kTrailerBytes = 512;
constexpr std::string_view kTrailerMagic = "koly", kTableMagic = "mish";
// Offsets in the trailer.
constexpr std::size_t kDataForkAt = 24, kResourceForkAt = 40, kResourceLengthAt = 48, kListAt = 216, kListLengthAt = 224;
// And in a table of chunks.
constexpr std::size_t kFirstSectorAt = 8, kTableDataAt = 24, kCountAt = 200, kEntriesAt = 204, kEntryBytes = 40;
constexpr std::uint64_t kMaxList = 64 << 20;

struct Trailer {
    std::uint64_t data_fork = 0, resource_fork = 0, resource_length = 0, list = 0, list_length = 0;
};

/// The trailer is in the last bytes of the file; some writers pad it.
Task<Result<Trailer>> load_trailer(FileAccess &file) {
    std::vector<std::uint8_t> end(std::min<std::uint64_t>(file.length(), 2 * kTrailerBytes));
    auto got = co_await file.read_bytes(file.length() - end.size(), end.data(), end.size());
    if (!got)
        co_return util::fail(got.error());
    const auto found = std::find_end(end.begin(), end.end(), kTrailerMagic.begin(), kTrailerMagic.end());
    if (end.end() - found < static_cast<std::ptrdiff_t>(kListLengthAt + 8))
        co_return file.fail(EINVAL, "this is no Apple disk image: the trailer (\"koly\") at its end is missing");
    const std::uint8_t *raw = &*found;
    Trailer trailer;
    trailer.data_fork = load_be64(raw + kDataForkAt);
    trailer.resource_fork = load_be64(raw + kResourceForkAt);
    trailer.resource_length = load_be64(raw + kResourceLengthAt);
    trailer.list = load_be64(raw + kListAt);
    trailer.list_length = load_be64(raw + kListLengthAt);
    co_return trailer;
}

Task<Result<std::vector<std::uint8_t>>> load_part(FileAccess &file, std::string_view what, std::uint64_t offset,
                                                  std::uint64_t length) {
    if (length > kMaxList || !range_fits(offset, length, file.length()))
        co_return file.fail(EINVAL, "the {} at offset {} with {} bytes is not inside the file, or too long", what, offset,
                            length);
    std::vector<std::uint8_t> bytes(length);
    auto got = co_await file.read_bytes(offset, bytes.data(), bytes.size());
    if (!got)
        co_return util::fail(got.error());
    co_return bytes;
}

/// The tables of a property list: each <data> of the array "blkx".
std::vector<std::vector<std::uint8_t>> tables_of_list(std::string_view list) {
    std::vector<std::vector<std::uint8_t>> tables;
    const auto key = list.find("<key>blkx</key>");
    if (key == std::string_view::npos)
        return tables;
    list = list.substr(key);
    list = list.substr(0, list.find("</array>"));
    for (;;) {
        const auto begin = list.find("<data>");
        if (begin == std::string_view::npos)
            return tables;
        list = list.substr(begin + 6);
        const auto end = std::min(list.find("</data>"), list.size());
        tables.push_back(decode_base64(list.substr(0, end)));
        list = list.substr(end);
    }
}

/// The tables of a resource fork: its resources, each behind its length.
std::vector<std::vector<std::uint8_t>> tables_of_fork(std::span<const std::uint8_t> fork) {
    std::vector<std::vector<std::uint8_t>> tables;
    if (fork.size() < 16)
        return tables;
    const std::uint64_t data = load_be32(&fork[0]), length = load_be32(&fork[8]);
    if (!range_fits(data, length, fork.size()))
        return tables;
    fork = fork.subspan(data, length);
    while (fork.size() > 4) {
        const std::uint64_t size = load_be32(&fork[0]);
        if (size > fork.size() - 4)
            break;
        tables.emplace_back(fork.begin() + 4, fork.begin() + 4 + static_cast<std::ptrdiff_t>(size));
        fork = fork.subspan(4 + size);
    }
    return tables;
}

std::string_view unsupported(DmgKind kind) {
    switch (kind) {
    case DmgKind::kAdc:
        return "ADC";
    case DmgKind::kLzfse:
        return "LZFSE";
    case DmgKind::kLzma:
        return "LZMA";
    default:
        return {};
    }
}

Result<void> check_chunk(const FileAccess &file, const DmgChunk &chunk, std::uint64_t sector, std::uint64_t count) {
    if (const auto name = unsupported(chunk.kind); !name.empty())
        return file.fail(ENOTSUP, "chunks compressed by {} are not supported, only zlib and bzip2", name);
    if (count > INT64_MAX / kDmgSector || sector > INT64_MAX / kDmgSector - count)
        return file.fail(EINVAL, "a chunk with sector {} and {} more is behind the end of any disk", sector, count);
    if (chunk.kind == DmgKind::kZero || chunk.kind == DmgKind::kIgnore)
        return {};
    if (!range_fits(chunk.offset, chunk.stored_length, file.length()))
        return file.fail(EINVAL, "the chunk of sector {} at offset {} with {} bytes is not inside the file", sector,
                         chunk.offset, chunk.stored_length);
    if (chunk.kind == DmgKind::kRaw ? chunk.stored_length < chunk.length
                                    : std::max(chunk.length, chunk.stored_length) > kDmgMaxChunk)
        return file.fail(EINVAL, "the chunk of sector {} with {} bytes, stored in {}, cannot be", sector, chunk.length,
                         chunk.stored_length);
    return {};
}

Result<void> read_table(const FileAccess &file, const Trailer &trailer, const std::vector<std::uint8_t> &table,
                        std::vector<DmgChunk> &chunks) {
    if (table.size() < kEntriesAt || !std::equal(kTableMagic.begin(), kTableMagic.end(), table.begin()))
        return file.fail(EINVAL, "a table of chunks (\"mish\") of {} bytes is damaged", table.size());
    const std::uint64_t count = load_be32(&table[kCountAt]);
    if (count > (table.size() - kEntriesAt) / kEntryBytes)
        return file.fail(EINVAL, "a table of {} bytes says that it has {} chunks", table.size(), count);
    const std::uint64_t first = load_be64(&table[kFirstSectorAt]), data = load_be64(&table[kTableDataAt]);
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint8_t *entry = &table[kEntriesAt + i * kEntryBytes];
        DmgChunk chunk;
        chunk.kind = static_cast<DmgKind>(load_be32(entry));
        const std::uint64_t sector = first + load_be64(entry + 8), sectors = load_be64(entry + 16);
        if (chunk.kind == DmgKind::kEnd)
            break;
        if (chunk.kind == DmgKind::kComment || sectors == 0)
            continue;
        constexpr DmgKind kKnown[] = {DmgKind::kZero, DmgKind::kRaw,   DmgKind::kIgnore, DmgKind::kAdc,
                                      DmgKind::kZlib, DmgKind::kBzip2, DmgKind::kLzfse,  DmgKind::kLzma};
        if (std::ranges::find(kKnown, chunk.kind) == std::end(kKnown))
            return file.fail(ENOTSUP, "chunks of type {:#x} are not supported", load_be32(entry));
        chunk.start = sector * kDmgSector;
        chunk.length = sectors * kDmgSector;
        chunk.offset = trailer.data_fork + data + load_be64(entry + 24);
        chunk.stored_length = load_be64(entry + 32);
        if (auto valid = check_chunk(file, chunk, sector, sectors); !valid)
            return valid;
        chunks.push_back(chunk);
    }
    return {};
}

} // namespace

std::vector<std::uint8_t> decode_base64(std::string_view text) {
    std::vector<std::uint8_t> bytes;
    std::uint32_t bits = 0;
    unsigned count = 0;
    for (const char c : text) {
        std::uint32_t value;
        if (c >= 'A' && c <= 'Z')
            value = static_cast<std::uint32_t>(c - 'A');
        else if (c >= 'a' && c <= 'z')
            value = static_cast<std::uint32_t>(c - 'a') + 26;
        else if (c >= '0' && c <= '9')
            value = static_cast<std::uint32_t>(c - '0') + 52;
        else if (c == '+' || c == '/')
            value = c == '+' ? 62 : 63;
        else if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
            continue;
        else if (c == '=')
            break;
        else
            return {};
        bits = bits << 6 | value;
        if (++count % 4 != 1)
            bytes.push_back(static_cast<std::uint8_t>(bits >> (6 - 2 * ((count - 1) % 4))));
    }
    return bytes;
}

Task<Result<std::vector<DmgChunk>>> load_dmg_chunks(FileAccess &file) {
    auto trailer = co_await load_trailer(file);
    if (!trailer)
        co_return util::fail(trailer.error());
    const bool has_list = trailer->list_length != 0;
    auto part = has_list ? load_part(file, "property list", trailer->list, trailer->list_length)
                         : load_part(file, "resource fork", trailer->resource_fork, trailer->resource_length);
    auto bytes = co_await part;
    if (!bytes)
        co_return util::fail(bytes.error());
    const auto tables = has_list ? tables_of_list({reinterpret_cast<const char *>(bytes->data()), bytes->size()})
                                 : tables_of_fork(*bytes);
    std::vector<DmgChunk> chunks;
    for (const auto &table : tables)
        if (auto read = read_table(file, *trailer, table, chunks); !read)
            co_return util::fail(read.error());
    if (chunks.empty())
        co_return file.fail(EINVAL, "the image has no table of chunks, or one without chunks");
    std::ranges::sort(chunks, {}, &DmgChunk::start);
    for (std::size_t i = 1; i < chunks.size(); ++i)
        if (chunks[i].start < chunks[i - 1].start + chunks[i - 1].length)
            co_return file.fail(EINVAL, "two chunks both have sector {}", chunks[i].start / kDmgSector);
    co_return chunks;
}

} // namespace rhea::block
