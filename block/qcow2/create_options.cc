// Options of create, measure and amend: names and values as qemu-img has them.
#include <cerrno>

#include "block/qcow2/qcow2.h"

namespace rhea::block::qcow2 {

namespace {

Result<void> take_encryption(NodeOptions &options, CreateOptions &out) {
    auto old_cipher = options.take_bool("encryption", false);
    if (!old_cipher)
        return util::fail(old_cipher.error());
    if (*old_cipher)
        return util::fail(util::Error("encryption=on is a weak cipher and not supported; encrypted images are made by encrypt.format=luks")
                              .with_code(ENOTSUP));
    NodeOptions encrypt = options.take_child("encrypt");
    if (encrypt.empty())
        return {};
    const std::string format = encrypt.take("format").value_or("");
    if (format != "luks")
        return util::fail(util::Error("encrypt.format= takes luks, not '{}'", format).with_code(format == "aes" ? ENOTSUP : EINVAL));
    out.key_secret = encrypt.take("key-secret").value_or("");
    if (out.key_secret.empty())
        return util::fail("encrypt.format=luks needs encrypt.key-secret=, which names an object that has the passphrase: secret,id=…,file=…");
    auto parameters = crypto::take_luks_parameters(encrypt, "encrypt.");
    if (!parameters)
        return util::fail(parameters.error());
    out.luks = *parameters;
    if (auto done = encrypt.finish({"format", "key-secret", "cipher-alg", "cipher-mode", "ivgen-alg", "ivgen-hash-alg", "hash-alg", "iter-time"}); !done)
        return util::fail(done.error().within("encrypt"));
    return {};
}

/// Space that was never written would show noise, and no zeroes, when it is decrypted.
Result<void> check_encryption(const CreateOptions &options) {
    if (options.luks && options.header.raw_external_data())
        return util::fail("encrypt.format= and data_file_raw=on exclude each other");
    if (options.luks && options.preallocation != Preallocation::kOff)
        return util::fail(util::Error("encrypt.format= and preallocation= exclude each other: the clusters would hold noise").with_code(ENOTSUP));
    return {};
}

Result<Preallocation> parse_preallocation(const std::string &text) {
    if (text == "off")
        return Preallocation::kOff;
    if (text == "metadata")
        return Preallocation::kMetadata;
    if (text == "falloc")
        return Preallocation::kFalloc;
    if (text == "full")
        return Preallocation::kFull;
    return util::fail("preallocation= takes off, metadata, falloc or full, not '{}'", text);
}

Result<void> take_version(NodeOptions &options, Header &header) {
    const std::string compat = options.take("compat").value_or("1.1");
    if (compat == "0.10" || compat == "v2")
        header.version = 2;
    else if (compat == "1.1" || compat == "v3")
        header.version = 3;
    else
        return util::fail("compat= takes 0.10 (v2) or 1.1 (v3), not '{}'", compat);
    return {};
}

Result<void> take_sizes(NodeOptions &options, Header &header) {
    auto cluster = options.take_size("cluster_size", 65536);
    if (!cluster)
        return util::fail(cluster.error());
    if (!std::has_single_bit(*cluster) || *cluster < (1ull << kMinClusterBits) || *cluster > (1ull << kMaxClusterBits))
        return util::fail("cluster_size={} is not a power of two from 512 to 2M", *cluster);
    header.cluster_bits = static_cast<std::uint32_t>(std::countr_zero(*cluster));
    auto bits = options.take_unsigned("refcount_bits", 16);
    if (!bits)
        return util::fail(bits.error());
    if (!std::has_single_bit(*bits) || *bits > 64)
        return util::fail("refcount_bits={} is not a power of two from 1 to 64", *bits);
    if (*bits != 16 && header.version < 3)
        return util::fail("refcount_bits={} needs compat=1.1", *bits);
    header.refcount_order = static_cast<std::uint32_t>(std::countr_zero(*bits));
    return {};
}

Result<void> take_features(NodeOptions &options, Header &header) {
    auto lazy = options.take_bool("lazy_refcounts", false);
    auto extended = options.take_bool("extended_l2", false);
    auto raw = options.take_bool("data_file_raw", false);
    for (auto *each : {&lazy, &extended, &raw})
        if (!*each)
            return util::fail(each->error());
    if (*lazy && header.version < 3)
        return util::fail("lazy_refcounts=on needs compat=1.1");
    header.compatible = *lazy ? std::uint64_t{kLazyRefcounts} : 0;
    if (*extended && header.version < 3)
        return util::fail("extended_l2=on needs compat=1.1");
    if (*extended && header.cluster_bits < kMinClusterBitsExtended)
        return util::fail("extended_l2=on needs a cluster_size of 16k or more");
    if (*extended)
        header.incompatible |= kExtendedL2;
    const std::string compression = options.take("compression_type").value_or("zlib");
    if (compression == "zstd") {
        if (header.version < 3)
            return util::fail("compression_type=zstd needs compat=1.1");
        header.compression = Compression::kZstd;
        header.incompatible |= kCompressionType;
    } else if (compression != "zlib") {
        return util::fail("compression_type= takes zlib or zstd, not '{}'", compression);
    }
    if (const auto data_file = options.take("data_file"); data_file && !data_file->empty()) {
        if (header.version < 3)
            return util::fail("data_file= needs compat=1.1");
        if (data_file->size() > kMaxBackingName)
            return util::fail("the name of the data file is longer than {} bytes", kMaxBackingName);
        header.data_file = *data_file;
        header.has_data_file_name = true;
        header.incompatible |= kExternalData;
    }
    if (*raw && !header.external_data())
        return util::fail("data_file_raw=on needs data_file=");
    if (*raw)
        header.autoclear |= kRawExternalData;
    return {};
}

} // namespace

Result<CreateOptions> parse_create_options(NodeOptions &options, std::uint64_t size, const std::string &filename) {
    CreateOptions out;
    Header &h = out.header;
    const auto refuse = [&filename](const util::Error &error) {
        return util::fail(error.within(filename).with_code(error.code() != 0 ? error.code() : EINVAL));
    };
    for (auto *step : {+[](NodeOptions &o, Header &x) { return take_version(o, x); }, +[](NodeOptions &o, Header &x) { return take_sizes(o, x); }, +[](NodeOptions &o, Header &x) { return take_features(o, x); }})
        if (auto done = step(options, h); !done)
            return refuse(done.error());
    if (auto done = take_encryption(options, out); !done)
        return refuse(done.error());
    auto preallocation = parse_preallocation(options.take("preallocation").value_or("off"));
    if (!preallocation)
        return refuse(preallocation.error());
    out.preallocation = *preallocation;
    h.backing_file = options.take("backing_file").value_or("");
    h.backing_format = options.take("backing_fmt").value_or("");
    options.take("size");
    if (!h.backing_file.empty() && h.raw_external_data())
        return refuse(util::Error("backing_file= and data_file_raw=on exclude each other"));
    if (h.backing_file.empty())
        h.backing_format.clear();
    if (h.backing_file.size() > kMaxBackingName)
        return refuse(util::Error("the name of the backing file is longer than {} bytes", kMaxBackingName));
    if (h.backing_format.size() > 15)
        return refuse(util::Error("'{}' is too long for the name of a format", h.backing_format));
    if (!h.backing_file.empty() && out.preallocation != Preallocation::kOff && !h.extended_l2())
        return refuse(util::Error("backing_file= and preallocation= go together only with extended_l2=on"));
    if (auto done = check_encryption(out); !done)
        return refuse(done.error());
    // A raw data file is all there from the beginning; so must its map be.
    if (h.raw_external_data() && out.preallocation == Preallocation::kOff)
        out.preallocation = Preallocation::kMetadata;
    if (auto done = options.finish(known_names(kQcow2Driver.create_options)); !done)
        return refuse(done.error());

    h.size = (size + 511) & ~std::uint64_t{511};
    const Geometry g = h.geometry();
    if (h.size < size || h.size > (1ull << 63) - g.cluster_size() || g.l1_entries(h.size) * 8 > kMaxL1Bytes)
        return refuse(util::Error("a disk of {} bytes is too big for cluster_size={}; at most {} bytes are possible", size, g.cluster_size(),
                                  (kMaxL1Bytes / 8) << std::min(g.l1_shift(), 40u)).with_code(EFBIG));
    return out;
}

} // namespace rhea::block::qcow2
