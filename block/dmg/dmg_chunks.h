// What an Apple disk image says about where its sectors are: a trailer ("koly") at the end, a property list that it
// refers to, and in that tables ("mish", base64) of chunks. Big endian.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "block/format/file_access.h"

namespace rhea::block {

constexpr std::uint64_t kDmgSector = 512;
/// No compressed chunk is larger, stored or expanded.
constexpr std::uint64_t kDmgMaxChunk = 64 << 20;

enum class DmgKind : std::uint32_t {
    kZero = 0,
    kRaw = 1,
    kIgnore = 2, ///< free space: zeroes
    kAdc = 0x80000004,
    kZlib = 0x80000005,
    kBzip2 = 0x80000006,
    kLzfse = 0x80000007,
    kLzma = 0x80000008,
    kComment = 0x7ffffffe,
    kEnd = 0xffffffff,
};

struct DmgChunk {
    DmgKind kind = DmgKind::kZero;
    std::uint64_t start = 0, length = 0;         ///< bytes of the disk
    std::uint64_t offset = 0, stored_length = 0; ///< bytes of the file
};

/// All chunks, in the order of the disk, without overlap.
Task<Result<std::vector<DmgChunk>>> load_dmg_chunks(FileAccess &file);

/// The bytes that are base64 in `text`, blanks between them left out; empty when it is none.
std::vector<std::uint8_t> decode_base64(std::string_view text);

} // namespace rhea::block
