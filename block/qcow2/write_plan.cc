// Qcow2Node: what a write has to do with the clusters that it meets.
#include <cerrno>

#include "block/qcow2/write_plan.h"

namespace rhea::block::qcow2 {

namespace {

/// Subclusters of the cluster at `cluster` that [from, to) touches, as [first, last].
struct Touched {
    unsigned first, last;
    Touched(const Geometry &g, std::uint64_t cluster, std::uint64_t from, std::uint64_t to) {
        const std::uint64_t begin = std::max(from, cluster) - cluster;
        const std::uint64_t end = std::min(to, cluster + g.cluster_size()) - cluster;
        first = static_cast<unsigned>(begin >> g.subcluster_bits());
        last = static_cast<unsigned>((end - 1) >> g.subcluster_bits());
    }
};

bool all_data(const L2Entry &entry, bool extended, const Touched &touched) {
    if (!entry.copied())
        return false;
    for (unsigned i = touched.first; i <= touched.last; ++i)
        if (entry.kind(extended, i) != Kind::kData)
            return false;
    return true;
}

} // namespace

Qcow2Node::InFlight *Qcow2Node::busy(std::uint64_t first, std::uint64_t last) const {
    for (InFlight *flight : in_flight_)
        if (flight->first <= last && first <= flight->last)
            return flight;
    return nullptr;
}

Result<Need> Qcow2Node::plan_write(std::uint64_t guest, std::uint64_t length, WritePlan &plan) {
    const Geometry &g = image_->geometry;
    Slice *slice = nullptr;
    std::uint64_t index = 0;
    auto need = image_->find_l2(guest, slice, index);
    if (!need || *need)
        return need;
    plan = {};
    plan.guest = guest;
    const std::uint64_t cluster = guest >> g.cluster_bits;
    if (slice == nullptr || !image_->l2_writable(guest)) {
        plan.other = busy(cluster, cluster);
        plan.kind = plan.other != nullptr ? WritePlan::Kind::kBusy : WritePlan::Kind::kNeedTable;
        return Need{};
    }
    return plan_clusters(guest, length, *slice, index, plan);
}

Result<Need> Qcow2Node::plan_clusters(std::uint64_t guest, std::uint64_t length, Slice &slice, std::uint64_t index, WritePlan &plan) {
    const Geometry &g = image_->geometry;
    const bool extended = g.extended_l2;
    const std::uint64_t end = guest + length, entries = g.slice_entries();
    std::uint64_t cluster = g.align_down(guest); // start of the one that is looked at
    L2Entry first, last;
    for (; index < entries && cluster < end; ++index, cluster += g.cluster_size()) {
        const L2Entry entry = load_l2(slice.data, g, index);
        if (auto ok = image_->check_entry(entry, cluster); !ok)
            return util::fail(ok.error());
        const Touched touched(g, cluster, guest, end);
        WritePlan::Kind kind = WritePlan::Kind::kAllocate;
        if (!entry.compressed() && entry.has_cluster() && entry.copied())
            kind = all_data(entry, extended, touched) ? WritePlan::Kind::kInPlace : WritePlan::Kind::kReuse;
        if (plan.clusters == 0) {
            if (kind != WritePlan::Kind::kInPlace)
                if (InFlight *other = busy(cluster >> g.cluster_bits, cluster >> g.cluster_bits)) {
                    plan.kind = WritePlan::Kind::kBusy;
                    plan.other = other;
                    return Need{};
                }
            plan.kind = kind;
            plan.host = kind == WritePlan::Kind::kAllocate ? 0 : entry.offset();
            first = entry;
        } else {
            if (kind != plan.kind)
                break;
            if (kind != WritePlan::Kind::kAllocate && entry.offset() != last.offset() + g.cluster_size())
                break;
            if (kind != WritePlan::Kind::kInPlace && busy(cluster >> g.cluster_bits, cluster >> g.cluster_bits) != nullptr)
                break;
        }
        last = entry;
        ++plan.clusters;
    }
    plan.length = std::min(end, cluster) - guest;
    if (plan.kind == WritePlan::Kind::kInPlace) {
        plan.host += guest & g.cluster_mask();
        if (auto ok = image_->check_no_overlap(plan.host, plan.length); !ok)
            return util::fail(ok.error());
        return Need{};
    }
    if (plan.kind == WritePlan::Kind::kReuse)
        if (auto ok = image_->check_no_overlap(plan.host, plan.clusters << g.cluster_bits); !ok)
            return util::fail(ok.error());

    // What is copied around it: whole clusters where the old one has data that moves along, else whole subclusters.
    const bool reuse = plan.kind == WritePlan::Kind::kReuse;
    const std::uint64_t plan_end = guest + plan.length;
    plan.whole_first = !reuse && first.has_data(extended);
    plan.whole_last = !reuse && last.has_data(extended);
    const auto edge = [&](const L2Entry &entry, std::uint64_t at) {
        return entry.kind(extended, extended ? static_cast<unsigned>((at & g.cluster_mask()) >> g.subcluster_bits()) : 0);
    };
    const auto reads_zero = [&](Kind kind, std::uint64_t at) {
        return kind == Kind::kZero || kind == Kind::kZeroAlloc ||
               ((kind == Kind::kUnallocated || kind == Kind::kUnallocatedAlloc) && no_backing_at(at));
    };
    const Kind head = edge(first, guest), tail = edge(last, plan_end - 1);
    const std::uint64_t from = plan.whole_first ? g.align_down(guest) : guest & ~(g.subcluster_size() - 1);
    const std::uint64_t to = plan.whole_last ? g.align_up(plan_end) : (plan_end + g.subcluster_size() - 1) & ~(g.subcluster_size() - 1);
    plan.before = reuse && head == Kind::kData ? 0 : guest - from;
    plan.after = reuse && tail == Kind::kData ? 0 : to - plan_end;
    plan.before_zero = !plan.whole_first && reads_zero(head, from);
    plan.after_zero = !plan.whole_last && reads_zero(tail, plan_end);
    return Need{};
}

Task<Result<void>> Qcow2Node::allocate_plan(WritePlan &plan, InFlight &flight) {
    const Geometry &g = image_->geometry;
    if (image_->data != nullptr) {
        plan.host = g.align_down(plan.guest);
        plan.fresh = !image_->crypt && plan.host >= image_->data->length();
        co_return Result<void>{};
    }
    auto run = co_await image_->refcounts.allocate_loading(plan.clusters);
    if (!run)
        co_return util::fail(run.error());
    plan.host = run->first << g.cluster_bits;
    plan.fresh = !image_->crypt && image_->never_written(plan.host); // zeroes decrypt to noise
    image_->note_written((run->first + run->count) << g.cluster_bits);
    if (run->count < plan.clusters) {
        plan.clusters = run->count;
        plan.length = g.align_down(plan.guest) + (run->count << g.cluster_bits) - plan.guest;
        plan.after = 0; // it ends with a cluster now
        flight.last = flight.first + run->count - 1;
        flight.waiters.wake_all();
    }
    co_return Result<void>{};
}

Task<Result<void>> Qcow2Node::link(const WritePlan &plan) {
    const Geometry &g = image_->geometry;
    const bool reuse = plan.kind == WritePlan::Kind::kReuse;
    const std::uint64_t from = plan.guest - plan.before, to = plan.guest + plan.length + plan.after;
    const std::uint64_t start = g.align_down(plan.guest);
    Slice *slice = nullptr;
    std::uint64_t index = 0;
    for (;;) {
        auto need = image_->find_l2(start, slice, index);
        if (!need)
            co_return util::fail(need.error());
        if (!*need)
            break;
        auto loaded = co_await need->load();
        if (!loaded)
            co_return loaded;
    }
    if (slice == nullptr)
        co_return util::fail(util::Error("{}: the L2 table of guest offset {:#x} is gone", image_->filename(), start).with_code(EIO));
    for (std::uint64_t i = 0; i < plan.clusters; ++i) {
        const L2Entry old = load_l2(slice->data, g, index + i);
        L2Entry now{(plan.host + (i << g.cluster_bits)) | kCopied, 0};
        if (g.extended_l2) {
            const std::uint64_t cluster = start + (i << g.cluster_bits);
            const Touched touched(g, cluster, from, to);
            const std::uint64_t range = subcluster_range(touched.first, touched.last + 1);
            const std::uint64_t kept_data = reuse ? old.allocated_bits() : 0;
            const std::uint64_t kept_zero = old.compressed() ? 0 : old.zero_bits();
            now.bitmap = kept_data | range | (kept_zero & ~range) << 32;
        }
        if (!reuse)
            image_->free_entry_later(old, FreeReason::kOther);
        image_->set_l2(*slice, index + i, now);
    }
    image_->publish();
    co_return Result<void>{};
}

} // namespace rhea::block::qcow2
