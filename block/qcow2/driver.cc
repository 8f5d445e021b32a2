// The qcow2 driver's entry in the table of drivers.
#include <array>

#include "block/crypto/luks_text.h"
#include "block/qcow2/qcow2.h"

namespace rhea::block {

namespace {

int probe(std::span<const std::uint8_t> head, std::string_view) {
    if (head.size() < 8 || qcow2::load_be<std::uint32_t>(head.data()) != qcow2::kMagic)
        return 0;
    return qcow2::load_be<std::uint32_t>(head.data() + 4) >= 2 ? 100 : 0;
}

constexpr auto kOpenOptions = std::to_array<OptionDescription>({
    {"lazy-refcounts", "bool (on/off)", "Write refcounts late; after a crash the image is checked when it is opened", "as the image says"},
    {"pass-discard-request", "bool (on/off)", "Pass guests' discards to the file below", "on"},
    {"pass-discard-snapshot", "bool (on/off)", "Discard clusters of snapshots that are deleted", "on"},
    {"pass-discard-other", "bool (on/off)", "Discard other clusters that become free", "off"},
    {"overlap-check", "str", "Metadata that writes of data are checked against (none, constant, cached, all)", "cached"},
    {"overlap-check.template", "str", "The same", "cached"},
    {"cache-size", "size", "Bytes of both metadata caches together", ""},
    {"l2-cache-size", "size", "Bytes of the cache of L2 tables, at most", "32M"},
    {"l2-cache-entry-size", "size", "Bytes of one entry of the cache of L2 tables", "4k"},
    {"refcount-cache-size", "size", "Bytes of the cache of refcount blocks, at most", "8M"},
    {"data-file", "node", "The file that has the guest's data", "as the image says"},
    {"backing", "node", "The backing file", "as the image says"},
    {"encrypt.format", "str", "Encryption of the image: luks", "as the image says"},
    {"encrypt.key-secret", "str", crypto::luks_text::kKeySecret, ""},
});

constexpr auto kCreateOptions = std::to_array<OptionDescription>({
    {"backing_file", "str", "The backing file, which has what this image does not hold", ""},
    {"backing_fmt", "str", "The backing file's format", ""},
    {"cluster_size", "size", "Bytes of a cluster: a power of two from 512 to 2M", "65536"},
    {"compat", "str", "Version of the format: 0.10 (or v2) for 2, 1.1 (or v3) for 3", "1.1"},
    {"compression_type", "str", "How clusters are compressed (zlib, zstd)", "zlib"},
    {"data_file", "str", "A file of its own for the guest's data", ""},
    {"data_file_raw", "bool (on/off)", "Keep the data file readable as a raw image of the disk", "off"},
    {"encrypt.cipher-alg", "str", crypto::luks_text::kCipherAlg, "aes-256"},
    {"encrypt.cipher-mode", "str", crypto::luks_text::kCipherMode, "xts"},
    {"encrypt.format", "str", "Encrypt the image by luks", ""},
    {"encrypt.hash-alg", "str", crypto::luks_text::kHashAlg, "sha256"},
    {"encrypt.iter-time", "num", crypto::luks_text::kIterTime, "2000"},
    {"encrypt.ivgen-alg", "str", crypto::luks_text::kIvgenAlg, "plain64"},
    {"encrypt.ivgen-hash-alg", "str", crypto::luks_text::kIvgenHashAlg, "sha256"},
    {"encrypt.key-secret", "str", crypto::luks_text::kKeySecret, ""},
    {"extended_l2", "bool (on/off)", "Split each cluster into 32 subclusters that are allocated one by one", "off"},
    {"lazy_refcounts", "bool (on/off)", "Write refcounts late; after a crash the image is checked when it is opened", "off"},
    {"preallocation", "str",
     "What gets its space at once: nothing (off), the tables (metadata), the data too (falloc), written as zeros (full)", "off"},
    {"refcount_bits", "num", "Bits of a refcount: a power of two from 1 to 64", "16"},
    {"size", "size", "Bytes of the disk that the guest sees", ""},
});

constexpr auto kAmendOptions = std::to_array<OptionDescription>({
    {"backing_file", "str", "The backing file, which has what this image does not hold", ""},
    {"backing_fmt", "str", "The backing file's format", ""},
    {"compat", "str", "Version of the format: 0.10 (or v2) for 2, 1.1 (or v3) for 3", ""},
    {"data_file", "str", "A file of its own for the guest's data", ""},
    {"encrypt.iter-time", "num", crypto::luks_text::kNewIterTime, "2000"},
    {"encrypt.keyslot", "num", crypto::luks_text::kKeyslot, ""},
    {"encrypt.new-secret", "str", crypto::luks_text::kNewSecret, ""},
    {"encrypt.old-secret", "str", crypto::luks_text::kOldSecret, ""},
    {"encrypt.state", "str", crypto::luks_text::kState, ""},
    {"lazy_refcounts", "bool (on/off)", "Write refcounts late; after a crash the image is checked when it is opened", ""},
    {"refcount_bits", "num", "Bits of a refcount: a power of two from 1 to 64", ""},
    {"size", "size", "Bytes of the disk that the guest sees", ""},
});

} // namespace

constexpr BlockDriver kQcow2Driver = {
    .name = "qcow2",
    .supports_backing = true,
    .compresses = true,
    .probe = probe,
    .open = qcow2::open,
    .create = qcow2::create,
    .open_options = kOpenOptions,
    .create_options = kCreateOptions,
    .amend = qcow2::amend,
    .amend_options = kAmendOptions,
    .change_bitmap = qcow2::change_bitmap,
    .measure = qcow2::measure,
};

} // namespace rhea::block
