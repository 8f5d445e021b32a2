#include "block/qcow2/open_options.h"

#include <cerrno>

namespace rhea::block::qcow2 {

namespace {

constexpr std::uint64_t kDefaultL2Cache = 32u << 20, kDefaultRefcountCache = 8u << 20;

/// Bytes of all L2 tables of the disk: more cache is of no use.
std::uint64_t all_l2_bytes(const Header &header) {
    const Geometry g = header.geometry();
    return g.clusters(header.size) << g.l2_entry_bits();
}

Result<void> take_cache_sizes(NodeOptions &options, const Header &header, OpenOptions &out) {
    const bool total_set = options.has("cache-size"), l2_set = options.has("l2-cache-size"), refcount_set = options.has("refcount-cache-size");
    auto total = options.take_size("cache-size", 0);
    auto l2 = options.take_size("l2-cache-size", kDefaultL2Cache);
    auto refcount = options.take_size("refcount-cache-size", kDefaultRefcountCache);
    auto entry = options.take_size("l2-cache-entry-size", 0);
    for (auto *each : {&total, &l2, &refcount, &entry})
        if (!*each)
            return util::fail(each->error());
    if (total_set && l2_set && refcount_set)
        return util::fail("cache-size= is the sum of l2-cache-size= and refcount-cache-size=: leave one of the three out");
    if (total_set && ((l2_set && *l2 > *total) || (refcount_set && *refcount > *total)))
        return util::fail("cache-size={} is less than the part of it that l2-cache-size= or refcount-cache-size= asks for", *total);
    if (total_set) {
        if (refcount_set)
            *l2 = *total - *refcount;
        else if (l2_set)
            *refcount = *total - *l2;
        else {
            *l2 = std::min(all_l2_bytes(header), *total);
            *refcount = *total - *l2;
        }
    }
    if (*entry != 0 && (!std::has_single_bit(*entry) || *entry < 512 || *entry > 1ull << header.cluster_bits))
        return util::fail("l2-cache-entry-size={} is not a power of two from 512 to the {} bytes of a cluster", *entry, 1ull << header.cluster_bits);
    if (*entry != 0)
        out.l2_slice_bits = static_cast<unsigned>(std::countr_zero(*entry));
    out.l2_cache_bytes = *l2;
    out.refcount_cache_bytes = *refcount;
    return {};
}

struct OverlapRow {
    std::string_view key;
    Metadata kind;
};
constexpr OverlapRow kOverlapRows[] = {
    {"overlap-check.main-header", Metadata::kHeader},          {"overlap-check.active-l1", Metadata::kActiveL1},
    {"overlap-check.active-l2", Metadata::kActiveL2},          {"overlap-check.refcount-table", Metadata::kRefcountTable},
    {"overlap-check.refcount-block", Metadata::kRefcountBlock}, {"overlap-check.snapshot-table", Metadata::kSnapshotTable},
    {"overlap-check.inactive-l1", Metadata::kInactiveL1},      {"overlap-check.inactive-l2", Metadata::kInactiveL2},
    {"overlap-check.bitmap-directory", Metadata::kBitmapDirectory},
};

Result<unsigned> take_overlap(NodeOptions &options) {
    const auto plain = options.take("overlap-check"), templated = options.take("overlap-check.template");
    if (plain && templated && *plain != *templated)
        return util::fail("overlap-check={} and overlap-check.template={} contradict each other", *plain, *templated);
    const std::string name = plain ? *plain : templated.value_or("cached");
    unsigned kinds = 0;
    if (name == "none")
        kinds = overlap::kNone;
    else if (name == "constant")
        kinds = overlap::kConstant;
    else if (name == "cached")
        kinds = overlap::kCached;
    else if (name == "all")
        kinds = overlap::kAll;
    else
        return util::fail("overlap-check= takes none, constant, cached or all, not '{}'", name);
    for (const OverlapRow &row : kOverlapRows) {
        const unsigned bit = static_cast<unsigned>(row.kind);
        auto on = options.take_bool(row.key, (kinds & bit) != 0);
        if (!on)
            return util::fail(on.error());
        kinds = *on ? kinds | bit : kinds & ~bit;
    }
    return kinds;
}

/// Empty: none is named.
Result<std::string> take_key_secret(NodeOptions &options, const Header &header) {
    NodeOptions encrypt = options.take_child("encrypt");
    if (!encrypt.empty() && !header.encryption)
        return util::fail("encrypt.*= is given, but the image is not encrypted");
    if (const auto format = encrypt.take("format"); format && *format != "luks")
        return util::fail("encrypt.format= says '{}', but the image is encrypted by luks", *format);
    const std::string secret = encrypt.take("key-secret").value_or("");
    if (auto done = encrypt.finish({"format", "key-secret"}); !done)
        return util::fail(done.error().within("encrypt"));
    return secret;
}

} // namespace

OpenOptions default_open_options(const Header &header) {
    OpenOptions out;
    out.l2_cache_bytes = std::min(kDefaultL2Cache, all_l2_bytes(header));
    out.refcount_cache_bytes = kDefaultRefcountCache;
    out.lazy_refcounts = header.lazy_refcounts();
    return out;
}

Result<OpenOptions> take_open_options(NodeOptions &options, const Header &header, const std::string &filename) {
    OpenOptions out = default_open_options(header);
    auto secret = take_key_secret(options, header);
    if (!secret)
        return util::fail(secret.error().within(filename).with_code(EINVAL));
    out.key_secret = *secret;
    auto caches = take_cache_sizes(options, header, out);
    if (!caches)
        return util::fail(caches.error().within(filename).with_code(EINVAL));
    out.l2_cache_bytes = std::min(out.l2_cache_bytes, all_l2_bytes(header));
    auto kinds = take_overlap(options);
    if (!kinds)
        return util::fail(kinds.error().within(filename).with_code(EINVAL));
    out.overlap = *kinds;
    const struct {
        std::string_view key;
        bool &value;
    } switches[] = {{"lazy-refcounts", out.lazy_refcounts},
                    {"pass-discard-request", out.pass_discard_request},
                    {"pass-discard-snapshot", out.pass_discard_snapshot},
                    {"pass-discard-other", out.pass_discard_other}};
    for (const auto &each : switches) {
        auto value = options.take_bool(each.key, each.value);
        if (!value)
            return util::fail(value.error().within(filename));
        each.value = *value;
    }
    if (out.lazy_refcounts && header.version < 3)
        return util::fail(util::Error("{}: lazy-refcounts=on needs an image of version 3 (compat=1.1)", filename).with_code(EINVAL));
    return out;
}

} // namespace rhea::block::qcow2
