#include "block/vhdx/vhdx_log.h"

#include <algorithm>
#include <cerrno>

#include "block/format/bytes.h"

namespace rhea::block {

namespace {

constexpr std::uint32_t kEntrySignature = 0x65676f6c; ///< "loge"
constexpr std::uint32_t kZeroSignature = 0x6f72657a;  ///< "zero"
constexpr std::uint32_t kDataSignature = 0x63736564;  ///< "desc"
constexpr std::uint32_t kSectorSignature = 0x61746164; ///< "data"
constexpr std::uint64_t kEntryHeaderBytes = 64, kDescriptorBytes = 32;
constexpr std::size_t kChecksumAt = 4;
/// An entry that is written holds at most this many sectors.
constexpr std::size_t kMaxSectors = 100;
/// A file never grows beyond this by what a log says.
constexpr std::uint64_t kMaxFile = kVhdxMaxSize + (std::uint64_t{1} << 40);

/// Sectors in front of the data: the entry's header and its descriptors.
std::uint64_t descriptor_sectors(std::uint64_t descriptors) {
    return divide_up(kEntryHeaderBytes + descriptors * kDescriptorBytes, kVhdxLogSector);
}

} // namespace

Task<Result<void>> VhdxLog::read_ring(std::uint64_t position, std::uint8_t *to, std::uint64_t length) {
    const std::uint64_t first = std::min(length, length_ - position);
    auto done = co_await file_.read_bytes(offset_ + position, to, first);
    if (!done || first == length)
        co_return done;
    co_return co_await file_.read_bytes(offset_, to + first, length - first);
}

Task<Result<void>> VhdxLog::write_ring(std::uint64_t position, const std::uint8_t *from, std::uint64_t length) {
    const std::uint64_t first = std::min(length, length_ - position);
    auto done = co_await file_.write_bytes(offset_ + position, from, first);
    if (!done || first == length)
        co_return done;
    co_return co_await file_.write_bytes(offset_, from + first, length - first);
}

// ---- reading ---------------------------------------------------------------------------------------------------------

/// Fields of the header at the beginning of `raw`; false when it is none.
bool VhdxLog::decode(const std::vector<std::uint8_t> &raw, Entry &entry) const {
    if (load_le32(&raw[0]) != kEntrySignature || !std::equal(guid_.begin(), guid_.end(), &raw[32]))
        return false;
    entry.length = load_le32(&raw[8]);
    entry.tail = load_le32(&raw[12]);
    entry.sequence = load_le64(&raw[16]);
    entry.descriptors = load_le32(&raw[24]);
    entry.flushed_end = load_le64(&raw[48]);
    entry.last_end = load_le64(&raw[56]);
    return entry.length % kVhdxLogSector == 0 && entry.length >= kVhdxLogSector && entry.length <= length_ &&
           entry.tail % kVhdxLogSector == 0 && entry.tail < length_ && entry.sequence != 0 &&
           descriptor_sectors(entry.descriptors) <= entry.length / kVhdxLogSector;
}

bool VhdxLog::descriptors_are_valid(const std::vector<std::uint8_t> &raw, const Entry &entry) const {
    std::uint64_t sector = descriptor_sectors(entry.descriptors);
    for (std::uint32_t i = 0; i < entry.descriptors; ++i) {
        const std::uint8_t *descriptor = &raw[kEntryHeaderBytes + i * kDescriptorBytes];
        const std::uint32_t signature = load_le32(descriptor);
        if ((signature != kZeroSignature && signature != kDataSignature) || load_le64(descriptor + 24) != entry.sequence)
            return false;
        if (signature == kZeroSignature)
            continue;
        if (sector >= entry.length / kVhdxLogSector)
            return false;
        const std::uint8_t *data = &raw[sector++ * kVhdxLogSector];
        if (load_le32(data) != kSectorSignature || load_le32(data + 4) != entry.sequence >> 32 ||
            load_le32(data + kVhdxLogSector - 4) != static_cast<std::uint32_t>(entry.sequence))
            return false;
    }
    return true;
}

/// Yields whether a whole, valid entry begins at `position`.
Task<Result<bool>> VhdxLog::read_entry(std::uint64_t position, Entry &entry, std::vector<std::uint8_t> &raw) {
    raw.resize(kVhdxLogSector);
    auto got = co_await read_ring(position, raw.data(), raw.size());
    if (!got)
        co_return util::fail(got.error());
    entry.position = position;
    if (!decode(raw, entry))
        co_return false;
    raw.resize(entry.length);
    got = co_await read_ring(position, raw.data(), raw.size());
    if (!got)
        co_return util::fail(got.error());
    co_return load_le32(&raw[kChecksumAt]) == crc32c(raw, kChecksumAt) && descriptors_are_valid(raw, entry);
}

Task<Result<void>> VhdxLog::scan(const VhdxHeader &header) {
    guid_ = header.log_guid;
    offset_ = header.log_offset;
    length_ = header.log_length;
    active_.clear();
    if (!header.has_log())
        co_return Result<void>{};
    std::vector<std::uint8_t> raw;
    for (std::uint64_t start = 0; start < length_;) {
        // Entries that follow each other from here on.
        std::vector<Entry> run;
        std::uint64_t bytes = 0;
        while (bytes < length_) {
            Entry entry;
            auto valid = co_await read_entry((start + bytes) % length_, entry, raw);
            if (!valid)
                co_return util::fail(valid.error());
            if (!*valid || bytes + entry.length > length_ ||
                (!run.empty() && entry.sequence != run.back().sequence + 1))
                break;
            run.push_back(entry);
            bytes += entry.length;
        }
        if (run.empty()) {
            start += kVhdxLogSector;
            continue;
        }
        start += bytes;
        // The last one says which is the oldest that is needed.
        const auto tail = std::ranges::find(run, run.back().tail, &Entry::position);
        if (tail != run.end() && (active_.empty() || run.back().sequence > active_.back().sequence))
            active_.assign(tail, run.end());
    }
    co_return Result<void>{};
}

/// The log holds neither headers nor itself.
bool VhdxLog::may_write(std::uint64_t offset, std::uint64_t length, std::uint64_t end) const {
    return offset % kVhdxLogSector == 0 && length % kVhdxLogSector == 0 && offset >= kVhdxMiB &&
           range_fits(offset, length, end) && (offset >= offset_ + length_ || offset + length <= offset_);
}

Task<Result<void>> VhdxLog::replay() {
    const Entry &last = active_.back();
    if (last.flushed_end > file_.length())
        co_return file_.fail(EINVAL, "the file has {} bytes, but its log says that it had {}: it was cut off",
                             file_.length(), last.flushed_end);
    if (last.last_end > kMaxFile)
        co_return file_.fail(EINVAL, "the log says that the file has {} bytes, which cannot be", last.last_end);
    auto done = co_await file_.grow(last.last_end);
    for (const Entry &entry : active_) {
        if (!done)
            co_return done;
        done = co_await apply(entry);
    }
    if (!done)
        co_return done;
    active_.clear();
    co_return co_await file_.flush();
}

Task<Result<void>> VhdxLog::apply(Entry entry) {
    std::vector<std::uint8_t> raw;
    auto valid = co_await read_entry(entry.position, entry, raw);
    if (!valid)
        co_return util::fail(valid.error());
    std::uint64_t sector = descriptor_sectors(entry.descriptors);
    for (std::uint32_t i = 0; i < entry.descriptors; ++i) {
        const std::uint8_t *descriptor = &raw[kEntryHeaderBytes + i * kDescriptorBytes];
        const std::uint64_t offset = load_le64(descriptor + 16);
        const bool zero = load_le32(descriptor) == kZeroSignature;
        const std::uint64_t length = zero ? load_le64(descriptor + 8) : kVhdxLogSector;
        if (!may_write(offset, length, file_.length()))
            co_return file_.fail(EINVAL, "entry {} of the log changes {} bytes at offset {}, where no metadata can be",
                                 entry.sequence, length, offset);
        Result<void> done;
        if (zero) {
            done = co_await file_.fill(offset, 0, length);
        } else {
            std::uint8_t *data = &raw[sector++ * kVhdxLogSector];
            std::copy_n(descriptor + 8, 8, data);
            std::copy_n(descriptor + 4, 4, data + kVhdxLogSector - 4);
            done = co_await file_.write_bytes(offset, data, kVhdxLogSector);
        }
        if (!done)
            co_return done;
    }
    co_return Result<void>{};
}

// ---- writing ---------------------------------------------------------------------------------------------------------

void VhdxLog::start(const VhdxHeader &header) {
    guid_ = header.log_guid;
    offset_ = header.log_offset;
    length_ = header.log_length;
    head_ = tail_ = used_ = 0;
    flushed_length_ = 0;
}

Task<Result<void>> VhdxLog::append(const std::vector<VhdxSector> &sectors) {
    Result<void> done;
    for (std::size_t at = 0; at < sectors.size() && done; at += kMaxSectors)
        done = co_await append_entry(&sectors[at], std::min(kMaxSectors, sectors.size() - at));
    if (!done)
        co_return done;
    const std::uint64_t length = file_.length();
    done = co_await file_.flush();
    if (done)
        flushed_length_ = length;
    co_return done;
}

Task<Result<void>> VhdxLog::append_entry(const VhdxSector *sectors, std::size_t count) {
    const std::uint64_t front = descriptor_sectors(count);
    std::vector<std::uint8_t> raw((front + count) * kVhdxLogSector);
    if (used_ + raw.size() > length_) {
        auto flushed = co_await file_.flush(); // what the entries so far say is in place for good
        if (!flushed)
            co_return flushed;
        tail_ = head_;
        used_ = 0;
    }
    store_le32(&raw[0], kEntrySignature);
    store_le32(&raw[8], static_cast<std::uint32_t>(raw.size()));
    store_le32(&raw[12], static_cast<std::uint32_t>(tail_));
    store_le64(&raw[16], sequence_);
    store_le32(&raw[24], static_cast<std::uint32_t>(count));
    std::copy(guid_.begin(), guid_.end(), &raw[32]);
    store_le64(&raw[48], flushed_length_);
    store_le64(&raw[56], file_.length());
    for (std::size_t i = 0; i < count; ++i) {
        const std::vector<std::uint8_t> &bytes = sectors[i].bytes;
        std::uint8_t *descriptor = &raw[kEntryHeaderBytes + i * kDescriptorBytes];
        store_le32(descriptor, kDataSignature);
        std::copy_n(&bytes[kVhdxLogSector - 4], 4, descriptor + 4);
        std::copy_n(&bytes[0], 8, descriptor + 8);
        store_le64(descriptor + 16, sectors[i].offset);
        store_le64(descriptor + 24, sequence_);
        std::uint8_t *data = &raw[(front + i) * kVhdxLogSector];
        std::copy(bytes.begin(), bytes.end(), data);
        store_le32(data, kSectorSignature);
        store_le32(data + 4, static_cast<std::uint32_t>(sequence_ >> 32));
        store_le32(data + kVhdxLogSector - 4, static_cast<std::uint32_t>(sequence_));
    }
    store_le32(&raw[kChecksumAt], crc32c(raw, kChecksumAt));
    auto done = co_await write_ring(head_, raw.data(), raw.size());
    if (!done)
        co_return done;
    head_ = (head_ + raw.size()) % length_;
    used_ += raw.size();
    ++sequence_;
    co_return done;
}

} // namespace rhea::block
