// Checker: repairing what was found. Counts are raised first and lowered last, so that at no moment a cluster in use counts
// as free.
#include <cerrno>

#include "block/qcow2/check.h"
#include "block/qcow2/refcount_entry.h"

namespace rhea::block::qcow2 {

Task<Result<void>> Checker::repair() {
    const bool all = fix_ == CheckFix::kAll;
    if (!all) {
        if (needs_rebuild_ || lower_.empty())
            co_return Result<void>{}; // with blocks that are not to be trusted nothing is written
        auto done = co_await set_counts(false);
        if (done)
            result_.leaks_fixed = lower_.size();
        co_return done;
    }
    if (needs_rebuild_) {
        auto done = co_await rebuild();
        if (!done)
            co_return done;
    } else {
        auto done = co_await set_counts(true);
        if (!done)
            co_return done;
    }
    // The flags by what the counts are to be.
    for (Fix &fix : copied_fixes_) {
        const std::uint64_t cluster = (fix.word & kOffsetMask) >> g_.cluster_bits;
        fix.word = counted_.get(cluster) == 1 ? fix.word | kCopied : fix.word & ~kCopied;
    }
    auto done = co_await write_fixes();
    if (done && !needs_rebuild_)
        done = co_await set_counts(false);
    if (!done)
        co_return done;
    result_.leaks_fixed = result_.leaks;
    result_.corruptions_fixed = result_.corruptions - unfixable_;
    co_return done;
}

Task<Result<void>> Checker::set_counts(bool raise) {
    Refcounts &refcounts = image_.refcounts;
    for (const std::uint64_t cluster : raise ? raise_ : lower_) {
        const std::uint64_t value = cluster < counted_.size() ? counted_.get(cluster) : 0;
        if (value > g_.max_refcount()) {
            ++result_.check_errors;
            ++unfixable_;
            result_.messages.push_back(fmt::format("ERROR cluster {} has {} references, more than refcount_bits={} can count", cluster, value,
                                                   g_.refcount_bits()));
            continue;
        }
        auto done = co_await refcounts.set_loading(cluster, value);
        if (done && refcounts.cache().wants_commit())
            done = co_await image_.settle();
        if (!done)
            co_return done;
    }
    co_return co_await image_.settle();
}

Task<Result<void>> Checker::write_fixes() {
    const std::array<const std::vector<Fix> *, 2> both{&copied_fixes_, &entry_fixes_};
    for (const std::vector<Fix> *fixes : both)
        for (const Fix &fix : *fixes) {
            std::uint8_t bytes[8];
            store_be(bytes, fix.word);
            auto done = co_await image_.file.write(fix.offset, bytes, "a table entry");
            if (!done)
                co_return done;
            const std::uint64_t l1_end = image_.header.l1_offset + image_.l1.size() * 8;
            if (fix.offset >= image_.header.l1_offset && fix.offset < l1_end)
                image_.l1[(fix.offset - image_.header.l1_offset) / 8] = fix.word;
        }
    co_return co_await image_.file.flush();
}

Task<Result<void>> Checker::change_width(unsigned refcount_order) {
    auto checked = co_await run();
    if (!checked)
        co_return util::fail(checked.error());
    if (checked->corruptions != 0 || checked->check_errors != 0)
        co_return util::fail(util::Error("{}: the image has {} corruptions; repair it with rhea-img check -r all first", image_.filename(),
                                         checked->corruptions).with_code(EIO));
    const unsigned old = image_.geometry.refcount_order;
    image_.header.refcount_order = image_.geometry.refcount_order = refcount_order;
    auto done = co_await rebuild();
    if (!done)
        image_.header.refcount_order = image_.geometry.refcount_order = old;
    co_return done;
}

Task<Result<void>> Checker::rebuild() {
    // The old table and blocks stay as they are until the header names the new ones, which lie behind the end of the file.
    const Refcounts &refcounts = image_.refcounts;
    for (std::uint64_t i = 0; i < g_.clusters(refcounts.table().size() * 8); ++i) {
        const std::uint64_t cluster = (refcounts.table_offset() >> g_.cluster_bits) + i;
        if (cluster < counted_.size() && counted_.get(cluster) != 0)
            counted_.subtract(cluster);
    }
    for (const std::uint64_t block : refcounts.table())
        if (block != 0 && g_.aligned(block) && block >> g_.cluster_bits < counted_.size() && counted_.get(block >> g_.cluster_bits) != 0)
            counted_.subtract(block >> g_.cluster_bits);

    const unsigned bits = g_.refcount_block_bits();
    const std::uint64_t per_block = g_.refcount_block_entries();
    std::vector<std::uint64_t> used; ///< blocks with a count in them
    for (std::uint64_t cluster = 0; cluster < counted_.size(); ++cluster)
        if (counted_.get(cluster) != 0) {
            if (counted_.get(cluster) > g_.max_refcount())
                co_return util::fail(util::Error("{}: cluster {} has {} references, more than refcount_bits={} can count; it cannot be repaired",
                                                 image_.filename(), cluster, counted_.get(cluster), g_.refcount_bits()).with_code(EOVERFLOW));
            used.push_back(cluster >> bits);
            cluster |= per_block - 1;
        }
    const std::uint64_t start = counted_.size();
    std::uint64_t table_clusters = 1, total = 0;
    for (;;) { // blocks and table describe themselves, too
        std::vector<std::uint64_t> blocks = used;
        total = used.size() + table_clusters;
        for (;;) {
            blocks = used;
            for (std::uint64_t block = start >> bits; block <= (start + total - 1) >> bits; ++block)
                if (blocks.empty() || blocks.back() < block)
                    blocks.push_back(block);
            if (blocks.size() + table_clusters == total)
                break;
            total = blocks.size() + table_clusters;
        }
        const std::uint64_t needed = g_.clusters((blocks.back() + 1) * 8);
        if (needed <= table_clusters) {
            used = std::move(blocks);
            break;
        }
        table_clusters = needed;
    }
    if (table_clusters << g_.cluster_bits > kMaxRefcountTableBytes)
        co_return util::fail(util::Error("{}: a new refcount table would be longer than {} bytes", image_.filename(), kMaxRefcountTableBytes)
                                 .with_code(EFBIG));
    std::vector<std::uint64_t> table(table_clusters * g_.cluster_size() / 8, 0);
    std::vector<std::uint8_t> bytes(g_.cluster_size());
    Result<void> done;
    for (std::size_t i = 0; i < used.size() && done; ++i) {
        std::fill(bytes.begin(), bytes.end(), std::uint8_t{0});
        const std::uint64_t base = used[i] << bits;
        for (std::uint64_t j = 0; j < per_block; ++j) {
            const std::uint64_t cluster = base + j;
            const std::uint64_t value = cluster < start ? counted_.get(cluster) : cluster < start + total ? 1 : 0;
            if (value != 0)
                set_refcount(bytes.data(), g_.refcount_order, j, value);
        }
        table[used[i]] = (start + i) << g_.cluster_bits;
        done = co_await image_.file.write(table[used[i]], bytes, "a refcount block");
    }
    const std::uint64_t table_at = (start + used.size()) << g_.cluster_bits;
    std::vector<std::uint8_t> raw(table.size() * 8);
    for (std::size_t i = 0; i < table.size(); ++i)
        store_be(&raw[i * 8], table[i]);
    if (done)
        done = co_await image_.file.write(table_at, raw, "the refcount table");
    if (done)
        done = co_await image_.file.flush();
    if (!done)
        co_return done;
    const Header old = image_.header;
    image_.header.refcount_table_offset = table_at;
    image_.header.refcount_table_clusters = static_cast<std::uint32_t>(table_clusters);
    done = co_await image_.write_header();
    if (done)
        done = co_await image_.file.flush();
    if (!done) {
        image_.header = old;
        co_return done;
    }
    image_.refcounts.set_table(std::move(table), table_at);
    image_.note_written((start + total) << g_.cluster_bits);
    result_.image_end_offset = (start + total) << g_.cluster_bits;
    if (image_.write_prepared())
        done = co_await image_.build_map();
    co_return done;
}

} // namespace rhea::block::qcow2
