// The log of VHDX images ([MS-VHDX] 2.3): a ring of entries; each holds whole 4 KiB sectors of metadata to be written.
//
// Writing: an entry is on stable storage before its sectors are written in place, so a crash in between loses nothing.
// The ring starts anew, after a flush, when it is full. Reading: the valid run of entries with the highest sequence numbers
// is found and applied before the image is used.
#pragma once
#include <cstdint>
#include <vector>

#include "block/vhdx/vhdx_layout.h"

namespace rhea::block {

constexpr std::uint64_t kVhdxLogSector = 4096;

/// A sector of the file that an entry of the log stores.
struct VhdxSector {
    std::uint64_t offset = 0; ///< in the file
    std::vector<std::uint8_t> bytes;
};

class VhdxLog {
public:
    explicit VhdxLog(FileAccess &file) : file_(file) {}

    /// Looks for entries of `header`'s log; pending(): there are some that have to be applied.
    Task<Result<void>> scan(const VhdxHeader &header);
    bool pending() const { return !active_.empty(); }
    /// Applies them and flushes. The caller then writes a header without log.
    Task<Result<void>> replay();

    /// Starts an empty log for writing.
    void start(const VhdxHeader &header);
    /// Stores sectors in the log, on stable storage.
    Task<Result<void>> append(const std::vector<VhdxSector> &sectors);

private:
    struct Entry {
        std::uint64_t position = 0; ///< in the log
        std::uint32_t length = 0, tail = 0, descriptors = 0;
        std::uint64_t sequence = 0, flushed_end = 0, last_end = 0;
    };

    Task<Result<bool>> read_entry(std::uint64_t position, Entry &entry, std::vector<std::uint8_t> &raw);
    bool decode(const std::vector<std::uint8_t> &raw, Entry &entry) const;
    bool descriptors_are_valid(const std::vector<std::uint8_t> &raw, const Entry &entry) const;
    bool may_write(std::uint64_t offset, std::uint64_t length, std::uint64_t end) const;
    Task<Result<void>> apply(Entry entry);
    Task<Result<void>> read_ring(std::uint64_t position, std::uint8_t *to, std::uint64_t length);
    Task<Result<void>> write_ring(std::uint64_t position, const std::uint8_t *from, std::uint64_t length);
    Task<Result<void>> append_entry(const VhdxSector *sectors, std::size_t count);

    FileAccess &file_;
    Uuid guid_{};
    std::uint64_t offset_ = 0, length_ = 0;
    std::vector<Entry> active_;
    // Writing.
    std::uint64_t head_ = 0, tail_ = 0, used_ = 0, sequence_ = 1;
    std::uint64_t flushed_length_ = 0;
};

} // namespace rhea::block
