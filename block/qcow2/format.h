// The qcow2 format on disk: constants, bit positions and big-endian access (QEMU docs/interop/qcow2).
//
// Everything that is a fact of the format and not of this driver is here; all offsets are bytes.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>

namespace rhea::block::qcow2 {

template <typename T> T load_be(const void *from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    if constexpr (sizeof(T) == 8)
        return static_cast<T>(__builtin_bswap64(value));
    else if constexpr (sizeof(T) == 4)
        return static_cast<T>(__builtin_bswap32(value));
    else if constexpr (sizeof(T) == 2)
        return static_cast<T>(__builtin_bswap16(value));
    else
        return value;
}

template <typename T> void store_be(void *to, T value) {
    const T stored = load_be<T>(&value);
    std::memcpy(to, &stored, sizeof stored);
}

inline constexpr std::uint32_t kMagic = 0x514649fb; ///< "QFI\xfb"
inline constexpr std::uint32_t kHeaderLengthV2 = 72, kHeaderLengthV3 = 104, kHeaderLengthOurs = 112;
inline constexpr unsigned kMinClusterBits = 9, kMaxClusterBits = 21, kMinClusterBitsExtended = 14;

enum Incompatible : std::uint64_t {
    kDirty = 1u << 0,
    kCorrupt = 1u << 1,
    kExternalData = 1u << 2,
    kCompressionType = 1u << 3,
    kExtendedL2 = 1u << 4,
    kKnownIncompatible = kDirty | kCorrupt | kExternalData | kCompressionType | kExtendedL2,
};
enum Compatible : std::uint64_t { kLazyRefcounts = 1u << 0 };
enum Autoclear : std::uint64_t {
    kBitmapsConsistent = 1u << 0,
    kRawExternalData = 1u << 1,
    kKnownAutoclear = kBitmapsConsistent | kRawExternalData,
};

enum ExtensionType : std::uint32_t {
    kExtensionEnd = 0,
    kExtensionBackingFormat = 0xe2792aca,
    kExtensionFeatureNames = 0x6803f857,
    kExtensionBitmaps = 0x23852875,
    kExtensionEncryption = 0x0537be77,
    kExtensionDataFile = 0x44415441,
};

enum CryptMethod : std::uint32_t { kCryptNone = 0, kCryptAes = 1, kCryptLuks = 2 };
enum class Compression : std::uint8_t { kZlib = 0, kZstd = 1 };

// L1 and L2 entries.
inline constexpr std::uint64_t kCopied = 1ull << 63;     ///< refcount is exactly one: may be written in place
inline constexpr std::uint64_t kCompressedBit = 1ull << 62;
inline constexpr std::uint64_t kZeroBit = 1;             ///< standard L2 entries of version 3
inline constexpr std::uint64_t kOffsetMask = 0x00fffffffffffe00; ///< bits 9 to 55
inline constexpr std::uint64_t kL1Reserved = 0x7f000000000001ff;
inline constexpr std::uint64_t kL2Reserved = 0x3f000000000001fe; ///< of standard clusters (bit 0 apart)
inline constexpr std::uint64_t kRefcountTableReserved = 0x1ff;
inline constexpr std::uint64_t kMaxHostOffset = 1ull << 56; ///< first offset that no L2 entry can name

// Limits that QEMU's driver has, too: an image beyond them opens in neither.
inline constexpr std::uint64_t kMaxL1Bytes = 32u << 20, kMaxRefcountTableBytes = 8u << 20;
inline constexpr std::uint32_t kMaxSnapshots = 65536, kMaxSnapshotExtra = 1024;
inline constexpr std::uint64_t kMaxSnapshotTableBytes = 64u << 20;
inline constexpr std::uint32_t kMaxBitmaps = 65535, kMaxBitmapName = 1023;
inline constexpr std::uint64_t kMaxBitmapDirectoryBytes = 64u << 20, kMaxBitmapTableBytes = 128u << 20;
inline constexpr std::uint64_t kMaxEncryptionHeaderBytes = 16u << 20;
inline constexpr unsigned kMaxBackingName = 1023;
inline constexpr unsigned kSubclusters = 32; ///< of a cluster with extended L2 entries

} // namespace rhea::block::qcow2
