// The header of QED images (QEMU's docs/specs/qed_spec: little endian, 64 bytes, the name of the backing file behind it).
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "block/format/file_access.h"

namespace rhea::block {

constexpr std::size_t kQedHeaderBytes = 64;
constexpr std::uint32_t kQedMagic = 0x00444551; ///< "QED\0"

enum QedFeatures : std::uint64_t {
    kQedBackingFile = 1,  ///< a backing file is named
    kQedNeedCheck = 2,    ///< the writer has not closed the image: check it before writing
    kQedRawBacking = 4,   ///< the backing file is raw: do not probe it
    kQedKnownFeatures = 7,
};

struct QedHeader {
    std::uint32_t cluster_size = 64 << 10; ///< bytes
    std::uint32_t table_size = 4;          ///< of the L1 and each L2 table, clusters
    std::uint32_t header_size = 1;         ///< clusters
    std::uint64_t features = 0, compat_features = 0, autoclear_features = 0;
    std::uint64_t l1_offset = 0, image_size = 0; ///< bytes
    std::string backing_file;

    std::uint64_t table_bytes() const { return std::uint64_t{cluster_size} * table_size; }
    std::uint64_t table_entries() const { return table_bytes() / 8; }
    /// Bytes that two levels of tables can map.
    std::uint64_t max_image_size() const;
    /// A name of at most this length fits behind the header.
    std::uint64_t max_backing_name() const;

    /// Reads and checks every field against the file's length.
    static Task<Result<QedHeader>> load(FileAccess &file);
    /// The reason why these sizes cannot be, or success.
    Result<void> check_sizes(const std::string &filename) const;
    /// The header and the backing file's name.
    std::vector<std::uint8_t> encode() const;
};

} // namespace rhea::block
