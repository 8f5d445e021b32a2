#include "block/qcow2/table_refs.h"

#include <cerrno>

namespace rhea::block::qcow2 {

namespace {

Result<void> check_l1_entry(const Image &image, std::uint64_t entry) {
    const std::uint64_t table = entry & kOffsetMask;
    if (!image.geometry.aligned(table) || (entry & kL1Reserved) != 0)
        return util::fail(util::Error("{}: an L1 table has the entry {:#x}, which names no L2 table; the image is corrupt", image.filename(), entry)
                              .with_code(EUCLEAN));
    return {};
}

Task<Result<void>> read_table(Image &image, std::uint64_t entry, std::vector<std::uint8_t> &table) {
    if (auto ok = check_l1_entry(image, entry); !ok)
        co_return ok;
    table.resize(image.geometry.cluster_size());
    co_return co_await image.file.read(entry & kOffsetMask, table, "an L2 table");
}

/// All that one L2 table names, and itself.
Result<std::vector<FreedRun>> clusters_of(const Image &image, std::uint64_t l1_entry, const std::vector<std::uint8_t> &table) {
    const Geometry &g = image.geometry;
    std::vector<FreedRun> runs;
    for (std::uint64_t i = 0; i < 1ull << g.l2_bits(); ++i) {
        const L2Entry entry = load_l2(table.data(), g, i);
        if (!entry.compressed() && !g.aligned(entry.offset()))
            return util::fail(util::Error("{}: entry {} of the L2 table at {:#x} is {:#x}, which is not on a cluster boundary; the image is corrupt",
                                          image.filename(), i, l1_entry & kOffsetMask, entry.word).with_code(EUCLEAN));
        append_clusters(image, entry, FreeReason::kSnapshot, runs);
    }
    runs.push_back({(l1_entry & kOffsetMask) >> g.cluster_bits, 1, FreeReason::kSnapshot, true});
    return runs;
}

Task<Result<void>> add_one(Image &image, const std::vector<FreedRun> &runs) {
    Result<void> done;
    std::size_t taken = 0;
    std::uint64_t part = 0; // of runs[taken]
    while (done && taken < runs.size()) {
        const FreedRun &run = runs[taken];
        const std::uint64_t first = run.first + part;
        const std::uint64_t count = std::min(run.count - part, image.refcounts.slice_rest(first));
        done = co_await image.refcounts.change_loading(first, count, true); // one slice: all or nothing
        if (!done)
            break;
        part += count;
        if (part == run.count) {
            ++taken;
            part = 0;
        }
    }
    if (done)
        co_return done;
    for (std::size_t i = 0; i <= taken && i < runs.size(); ++i)
        co_await image.refcounts.change_loading(runs[i].first, i < taken ? runs[i].count : part, false);
    co_return done;
}

/// Clears kCopied wherever it is set; true: something changed.
bool clear_copied(const Geometry &g, std::vector<std::uint8_t> &table) {
    bool changed = false;
    for (std::uint64_t i = 0; i < 1ull << g.l2_bits(); ++i) {
        L2Entry entry = load_l2(table.data(), g, i);
        if (entry.compressed() || !entry.copied())
            continue;
        entry.word &= ~kCopied;
        store_l2(table.data(), g, i, entry);
        changed = true;
    }
    return changed;
}

} // namespace

void append_clusters(const Image &image, const L2Entry &entry, FreeReason reason, std::vector<FreedRun> &runs) {
    const Geometry &g = image.geometry;
    if (entry.compressed()) {
        const std::uint64_t offset = g.compressed_offset(entry.word), end = offset + g.compressed_bytes(entry.word) - 1;
        runs.push_back({offset >> g.cluster_bits, (end >> g.cluster_bits) - (offset >> g.cluster_bits) + 1, reason, false});
        return;
    }
    if (!entry.has_cluster() || image.header.external_data())
        return;
    const std::uint64_t cluster = entry.offset() >> g.cluster_bits;
    if (!runs.empty() && runs.back().first + runs.back().count == cluster)
        ++runs.back().count;
    else
        runs.push_back({cluster, 1, reason, false});
}

Task<Result<std::vector<std::uint64_t>>> read_l1(Image &image, std::uint64_t offset, std::uint32_t entries) {
    std::vector<std::uint8_t> raw(std::size_t{entries} * 8);
    auto done = co_await image.file.read(offset, raw, "the L1 table of a snapshot");
    if (!done)
        co_return util::fail(done.error());
    std::vector<std::uint64_t> l1(entries);
    for (std::size_t i = 0; i < l1.size(); ++i) {
        l1[i] = load_be<std::uint64_t>(&raw[i * 8]);
        if (auto ok = check_l1_entry(image, l1[i]); !ok)
            co_return util::fail(ok.error());
    }
    co_return l1;
}

Task<Result<void>> add_references(Image &image, std::vector<std::uint64_t> &l1) {
    std::vector<std::uint8_t> table;
    Result<void> done;
    std::size_t i = 0;
    for (; i < l1.size() && done; ++i) {
        if ((l1[i] & kOffsetMask) == 0)
            continue;
        done = co_await read_table(image, l1[i], table);
        if (!done)
            break;
        auto runs = clusters_of(image, l1[i], table);
        if (!runs)
            done = util::fail(runs.error());
        else
            done = co_await add_one(image, *runs);
        if (!done)
            break;
        if (clear_copied(image.geometry, table))
            done = co_await image.file.write(l1[i] & kOffsetMask, table, "an L2 table");
        l1[i] &= ~kCopied;
        if (done && image.wants_commit())
            done = co_await image.commit();
    }
    if (done)
        co_return done;
    const util::Error error = done.error();
    for (std::size_t j = 0; j < i; ++j) {
        if ((l1[j] & kOffsetMask) == 0)
            continue;
        auto again = co_await read_table(image, l1[j], table);
        auto runs = clusters_of(image, l1[j], table);
        if (!again || !runs)
            break; // they stay too high: a leak
        for (const FreedRun &run : *runs)
            co_await image.refcounts.change_loading(run.first, run.count, false);
    }
    co_return util::fail(error);
}

Task<Result<void>> drop_references(Image &image, const std::vector<std::uint64_t> &l1) {
    std::vector<std::uint8_t> table;
    for (const std::uint64_t entry : l1) {
        if ((entry & kOffsetMask) == 0)
            continue;
        auto done = co_await read_table(image, entry, table);
        if (!done)
            co_return done;
        auto runs = clusters_of(image, entry, table);
        if (!runs)
            co_return util::fail(runs.error());
        auto freeing = image.free_now(std::move(*runs));
        done = co_await freeing;
        if (done && image.wants_commit())
            done = co_await image.commit();
        if (!done)
            co_return done;
    }
    co_return Result<void>{};
}

Task<Result<void>> restore_copied(Image &image) {
    const Geometry &g = image.geometry;
    std::vector<std::uint8_t> table;
    for (std::size_t i = 0; i < image.l1.size(); ++i) {
        const std::uint64_t offset = image.l1[i] & kOffsetMask;
        if (offset == 0)
            continue;
        auto count = co_await image.refcounts.get_loading(offset >> g.cluster_bits);
        if (!count)
            co_return util::fail(count.error());
        if (*count != 1)
            continue; // shared, and so is all that it names
        auto done = co_await read_table(image, image.l1[i], table);
        if (!done)
            co_return done;
        bool changed = false;
        for (std::uint64_t j = 0; j < 1ull << g.l2_bits(); ++j) {
            L2Entry entry = load_l2(table.data(), g, j);
            if (!entry.has_cluster() || entry.copied())
                continue;
            count = co_await image.refcounts.get_loading(entry.offset() >> g.cluster_bits);
            if (!count)
                co_return util::fail(count.error());
            if (*count != 1)
                continue;
            entry.word |= kCopied;
            store_l2(table.data(), g, j, entry);
            changed = true;
        }
        if (changed)
            done = co_await image.file.write(offset, table, "an L2 table");
        if (!done)
            co_return done;
        if ((image.l1[i] & kCopied) == 0)
            image.set_l1(i, image.l1[i] | kCopied);
    }
    co_return Result<void>{};
}

} // namespace rhea::block::qcow2
