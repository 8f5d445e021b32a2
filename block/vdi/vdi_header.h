// The header of VirtualBox disk images (VDI 1.1): 512 bytes, little endian; a block map of 32-bit entries follows.
#pragma once
#include <array>
#include <cstdint>

#include "block/format/file_access.h"
#include "block/format/uuid.h"

namespace rhea::block {

constexpr std::size_t kVdiHeaderBytes = 512;
constexpr std::uint32_t kVdiSignature = 0xbeda107f;
constexpr std::size_t kVdiSignatureAt = 0x40, kVdiBlocksAllocatedAt = 0x184;
constexpr std::uint32_t kVdiBlockSize = 1 << 20;

/// Entries of the block map from here on are no block numbers.
constexpr std::uint32_t kVdiDiscarded = 0xfffffffe, kVdiUnallocated = 0xffffffff;

enum class VdiType : std::uint32_t { kDynamic = 1, kStatic = 2, kUndo = 3, kDifferencing = 4 };

struct VdiHeader {
    VdiType type = VdiType::kDynamic;
    std::uint32_t map_offset = 0, data_offset = 0; ///< bytes
    std::uint64_t disk_size = 0;                   ///< bytes
    std::uint32_t block_size = kVdiBlockSize;
    std::uint32_t blocks_in_image = 0, blocks_allocated = 0;

    /// Reads and checks every field against the file's length.
    static Task<Result<VdiHeader>> load(FileAccess &file);
    /// A header for a new image of `size` bytes.
    static Result<VdiHeader> plan(std::uint64_t size, VdiType type, const std::string &filename);
    std::array<std::uint8_t, kVdiHeaderBytes> encode() const;
};

} // namespace rhea::block
