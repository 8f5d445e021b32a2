// Consistency of QED images: every table and cluster lies in the file, and nothing is used twice.
//
// Entries that point nowhere are cleared by a repair. Space that nothing refers to is reported; the format has no way to
// use it again.
#include <algorithm>
#include <cerrno>

#include "block/format/bytes.h"
#include "block/qed/qed_node.h"

namespace rhea::block {

namespace {

/// More clusters than this are not counted in memory (512 MiB of bits).
constexpr std::uint64_t kMaxClusters = std::uint64_t{1} << 32;
constexpr std::size_t kMaxMessages = 1000;

} // namespace

class QedCheck {
public:
    QedCheck(QedNode &node, bool fix) : node_(node), fix_(fix) {}

    Task<Result<CheckResult>> run() {
        const QedHeader &header = node_.header_;
        const std::uint64_t clusters = divide_up(node_.file_.length(), header.cluster_size);
        if (clusters > kMaxClusters)
            co_return node_.file_.fail(EFBIG, "{} clusters are too many to check", clusters);
        used_.resize(clusters);
        result_.total_clusters = divide_up(header.image_size, header.cluster_size);
        use(0, header.header_size, "the header");
        use(header.l1_offset, header.table_size, "the L1 table");
        auto done = co_await check_l1();
        if (!done)
            co_return util::fail(done.error());
        result_.leaks = std::ranges::count(used_, false);
        if (result_.leaks > 0)
            say(fmt::format("Leaked: {} clusters of the file are not used", result_.leaks));
        result_.image_end_offset = node_.file_.length();
        co_return std::move(result_);
    }

private:
    void say(std::string message) {
        if (result_.messages.size() < kMaxMessages)
            result_.messages.push_back(std::move(message));
    }

    /// Marks clusters; false, with a message, when one has been marked already.
    bool use(std::uint64_t offset, std::uint64_t clusters, std::string_view what) {
        const std::uint64_t first = offset / node_.header_.cluster_size;
        const std::uint64_t last = std::min<std::uint64_t>(first + clusters, used_.size());
        for (std::uint64_t cluster = first; cluster < last; ++cluster)
            if (used_[cluster]) {
                ++result_.corruptions;
                say(fmt::format("ERROR: {} at offset {:#x} lies where something else is", what, offset));
                return false;
            }
        std::fill(used_.begin() + first, used_.begin() + last, true);
        return true;
    }

    /// An entry without meaning: cleared when repairing.
    Task<Result<void>> bad_entry(Table table, std::uint64_t position, std::uint64_t value, std::string_view what) {
        say(fmt::format("ERROR: {} entry {} at offset {:#x} has no valid offset: {:#x}", what, position / 8,
                        table.offset + position, value));
        if (!fix_) {
            ++result_.corruptions;
            co_return Result<void>{};
        }
        const std::uint8_t none[8] = {};
        auto done = co_await node_.cache_.update(table, position, none, sizeof(none));
        if (done)
            ++result_.corruptions_fixed;
        co_return done;
    }

    Task<Result<void>> check_l1() {
        const Table l1 = node_.l1();
        for (std::uint64_t position = 0; position < l1.bytes; position += 8) {
            auto entry = co_await node_.cache_.load(l1, position);
            if (!entry)
                co_return util::fail(entry.error());
            const std::uint64_t offset = load_le64(*entry);
            if (offset == 0)
                continue;
            Result<void> done;
            if (!node_.valid_table(offset))
                done = co_await bad_entry(l1, position, offset, "L1");
            else if (use(offset, node_.header_.table_size, "an L2 table"))
                done = co_await check_l2(node_.l2(offset));
            if (!done)
                co_return done;
        }
        co_return Result<void>{};
    }

    Task<Result<void>> check_l2(Table table) {
        std::uint64_t expected = 0;
        for (std::uint64_t position = 0; position < table.bytes; position += 8) {
            auto entry = co_await node_.cache_.load(table, position);
            if (!entry)
                co_return util::fail(entry.error());
            const std::uint64_t offset = load_le64(*entry);
            ClusterPlace place;
            if (!node_.decode(offset, place)) {
                auto done = co_await bad_entry(table, position, offset, "L2");
                if (!done)
                    co_return done;
            } else if (place.kind == ClusterPlace::Kind::kData && use(offset, 1, "a cluster")) {
                ++result_.allocated_clusters;
                result_.fragmented_clusters += expected != 0 && offset != expected;
                expected = offset + node_.header_.cluster_size;
            }
        }
        co_return Result<void>{};
    }

    QedNode &node_;
    bool fix_;
    CheckResult result_;
    std::vector<bool> used_;
};

Task<Result<CheckResult>> QedNode::check(CheckFix fix) {
    QedCheck checker(*this, fix == CheckFix::kAll && !read_only());
    auto result = co_await checker.run();
    if (!result || fix != CheckFix::kAll || read_only() || result->corruptions > 0 ||
        !(header_.features & kQedNeedCheck))
        co_return result;
    header_.features &= ~std::uint64_t{kQedNeedCheck};
    auto written = co_await write_header();
    if (!written)
        co_return util::fail(written.error());
    co_return result;
}

} // namespace rhea::block
