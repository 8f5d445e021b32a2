// How long the file of an image would be.
#include "block/qcow2/qcow2.h"
#include "rhea/block/secret.h"

namespace rhea::block::qcow2 {

namespace {

std::uint64_t round_up(std::uint64_t value, std::uint64_t to) { return (value + to - 1) / to * to; }

/// Bytes of table and blocks that describe `clusters` and themselves.
std::uint64_t refcount_bytes(const Geometry &g, std::uint64_t clusters) {
    std::uint64_t blocks = 0, table = 0;
    for (;;) {
        const std::uint64_t more_blocks = (clusters + blocks + table + g.refcount_block_entries() - 1) >> g.refcount_block_bits();
        const std::uint64_t more_table = g.clusters(more_blocks * 8);
        if (more_blocks == blocks && more_table == table)
            return (blocks + table) << g.cluster_bits;
        blocks = more_blocks;
        table = more_table;
    }
}

} // namespace

Result<std::pair<std::uint64_t, std::uint64_t>> measure(std::uint64_t size, std::uint64_t allocated, NodeOptions options) {
    auto parsed = parse_create_options(options, size, "measure");
    if (!parsed)
        return util::fail(parsed.error());
    if (parsed->luks)
        if (auto secret = find_secret(parsed->key_secret); !secret) // as create would find it
            return util::fail(secret.error());
    const Geometry g = parsed->header.geometry();
    const std::uint64_t data = g.align_up(parsed->header.size);
    const std::uint64_t l2_entries = round_up(data >> g.cluster_bits, 1ull << g.l2_bits());
    const std::uint64_t l2_bytes = l2_entries << g.l2_entry_bits();
    const std::uint64_t l1_bytes = round_up(l2_bytes >> g.cluster_bits, g.cluster_size() / 8) * 8;
    std::uint64_t tables = g.cluster_size() + l2_bytes + l1_bytes;
    if (parsed->luks)
        tables += g.align_up(crypto::luks_area_bytes(*parsed->luks));
    tables += refcount_bytes(g, (tables + data) >> g.cluster_bits);
    const bool all = parsed->preallocation == Preallocation::kFalloc || parsed->preallocation == Preallocation::kFull;
    const std::uint64_t stored = all ? data : std::min(data, g.align_up(allocated));
    if (parsed->header.external_data()) // the data lies elsewhere
        return std::pair{tables, tables};
    return std::pair{tables + stored, tables + data};
}

} // namespace rhea::block::qcow2
