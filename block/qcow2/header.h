// The header of a qcow2 image: the fixed fields, the extensions and the name of the backing file, as a plain value.
//
// parse_header() believes nothing: each field that does not fit fails with a sentence that has the file, the offset of
// the field and its name. What this driver does not know but must keep (unknown fields, unknown extensions) is kept.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "block/qcow2/format.h"
#include "block/qcow2/geometry.h"
#include "rhea/util/result.h"

namespace rhea::block::qcow2 {

using util::Result;

struct BitmapExtension {
    std::uint32_t count = 0;
    std::uint64_t directory_size = 0, directory_offset = 0;
};

/// Where the LUKS header lies.
struct EncryptionExtension {
    std::uint64_t offset = 0, length = 0;
};

struct Header {
    std::uint32_t version = 3;
    std::string backing_file;
    std::uint32_t cluster_bits = 16;
    std::uint64_t size = 0;
    std::uint32_t l1_size = 0;
    std::uint64_t l1_offset = 0;
    std::uint64_t refcount_table_offset = 0;
    std::uint32_t refcount_table_clusters = 0;
    std::uint32_t snapshot_count = 0;
    std::uint64_t snapshot_offset = 0;
    std::uint64_t incompatible = 0, compatible = 0, autoclear = 0;
    std::uint32_t refcount_order = 4;
    Compression compression = Compression::kZlib;
    std::vector<std::uint8_t> unknown_fields; ///< what a newer version has behind byte 112

    std::string backing_format;
    std::string data_file;
    bool has_data_file_name = false;
    std::optional<BitmapExtension> bitmaps;
    std::optional<EncryptionExtension> encryption; ///< the image is encrypted
    struct Extension {
        std::uint32_t type = 0;
        std::vector<std::uint8_t> data;
    };
    std::vector<Extension> unknown_extensions;

    bool dirty() const { return incompatible & kDirty; }
    bool corrupt() const { return incompatible & kCorrupt; }
    bool external_data() const { return incompatible & kExternalData; }
    bool raw_external_data() const { return autoclear & kRawExternalData; }
    bool extended_l2() const { return incompatible & kExtendedL2; }
    bool lazy_refcounts() const { return compatible & kLazyRefcounts; }
    Geometry geometry() const;
};

/// From the first cluster of `filename` (or the whole file, when that is shorter): see peek_cluster_bits().
Result<Header> parse_header(std::span<const std::uint8_t> bytes, const std::string &filename);
/// The cluster_bits field as it stands; 0 when there is none.
unsigned peek_cluster_bits(std::span<const std::uint8_t> bytes);
/// Do the tables that the header names lie inside the file, aligned, within the limits?
Result<void> check_header_places(const Header &header, std::uint64_t file_length, const std::string &filename);
/// The first bytes of the file: header, extensions, backing file name, zeroes up to the size of the cluster or of 4 KiB,
/// whichever is less (but never less than what is needed).
Result<std::vector<std::uint8_t>> serialise_header(const Header &header, const std::string &filename);

} // namespace rhea::block::qcow2
