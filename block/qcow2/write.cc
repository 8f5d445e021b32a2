// Qcow2Node: writing.
#include <cerrno>

#include "block/qcow2/write_plan.h"

namespace rhea::block::qcow2 {

Task<Result<void>> Qcow2Node::write(std::uint64_t offset, const IoVector &from, unsigned flags) {
    if (!image_->writable)
        co_return util::fail(util::Error("{}: the image is opened read-only", image_->filename()).with_code(EPERM));
    if (from.empty())
        co_return Result<void>{};
    if (!image_->gate.try_enter())
        co_await image_->gate.enter();
    const RequestScope scope(*image_);
    auto done = co_await image_->prepare_write();
    if (done) {
        image_->record(offset, from.size());
        auto task = flags & kCompressed ? write_compressed(offset, from) : write_inside(offset, from);
        done = co_await task;
    }
    if (done && (flags & kFua))
        done = co_await image_->commit();
    if (!done)
        co_return co_await failed(done.error());
    co_return done;
}

void Qcow2Node::end(InFlight &flight) {
    std::erase(in_flight_, &flight);
    flight.waiters.wake_all();
}

Task<void> Qcow2Node::wait_not_busy(std::uint64_t first, std::uint64_t last) {
    while (InFlight *flight = busy(first, last))
        co_await flight->waiters.wait();
}

Task<Result<void>> Qcow2Node::write_inside(std::uint64_t offset, IoVector from) {
    TaskGroup group(context());
    const std::uint64_t size = from.size();
    std::uint64_t at = 0;
    while (at < size && !group.failed()) {
        WritePlan plan;
        auto need = plan_write(offset + at, size - at, plan);
        if (!need) {
            group.fail(need.error());
            break;
        }
        if (*need) {
            auto loaded = co_await need->load();
            if (!loaded)
                group.fail(loaded.error());
            continue;
        }
        if (plan.kind == WritePlan::Kind::kBusy) {
            co_await plan.other->waiters.wait();
            continue;
        }
        if (plan.kind == WritePlan::Kind::kInPlace) {
            if (plan.length == size) {
                auto task = write_in_place(plan.host, std::move(from));
                co_return co_await task;
            }
            group.start(write_in_place(plan.host, from.slice(at, plan.length)));
            at += plan.length;
            co_await group.below(15);
            continue;
        }
        if (image_->wants_commit()) {
            auto done = co_await image_->commit();
            if (!done)
                group.fail(done.error());
            if (done && image_->wants_commit()) {
                // More tables are needed at once than the cache was made for; it grows instead.
            } else {
                continue;
            }
        }
        if (plan.kind == WritePlan::Kind::kNeedTable) {
            auto made = co_await image_->make_l2_writable(plan.guest);
            if (!made)
                group.fail(made.error());
            continue;
        }
        const std::uint64_t first = plan.guest >> image_->geometry.cluster_bits;
        // After a commit the plan may be old: somebody else may have begun with these clusters.
        if (busy(first, first + plan.clusters - 1) != nullptr)
            continue;
        auto flight = std::make_unique<InFlight>();
        flight->first = first;
        flight->last = first + plan.clusters - 1;
        begin(*flight);
        if (plan.kind == WritePlan::Kind::kAllocate) {
            auto allocated = co_await allocate_plan(plan, *flight);
            if (!allocated) {
                end(*flight);
                group.fail(allocated.error());
                break;
            }
        }
        const std::uint64_t length = plan.length;
        if (length == size) {
            auto task = write_planned(plan, std::move(flight), std::move(from));
            co_return co_await task;
        }
        group.start(write_planned(plan, std::move(flight), from.slice(at, length)));
        at += length;
        co_await group.below(15);
    }
    co_return co_await group.wait();
}

Task<Result<void>> Qcow2Node::write_in_place(std::uint64_t host, IoVector from) {
    co_return co_await image_->data_node().write(host, from);
}

Task<Result<void>> Qcow2Node::write_planned(WritePlan plan, std::unique_ptr<InFlight> flight, IoVector from) {
    auto done = co_await write_with_cow(plan, from);
    bool linked = false;
    if (done) {
        done = co_await link(plan);
        linked = done.has_value();
    }
    if (!linked && plan.kind == WritePlan::Kind::kAllocate && image_->data == nullptr)
        co_await image_->free_unused(plan.host >> image_->geometry.cluster_bits, plan.clusters);
    end(*flight);
    co_return done;
}

Task<Result<void>> Qcow2Node::write_with_cow(const WritePlan &plan, const IoVector &from) {
    const Geometry &g = image_->geometry;
    const std::uint64_t host = plan.host + (plan.guest & g.cluster_mask());
    // Where the new clusters read as zeroes already, zero edges need no bytes; but each cluster must get some, so that the
    // file reaches it.
    const std::uint64_t before = plan.fresh && plan.before_zero ? 0 : plan.before;
    const std::uint64_t after = plan.fresh && plan.after_zero ? 0 : plan.after;
    if (before + after == 0)
        co_return co_await image_->data_node().write(host, from);
    const auto edges = std::make_unique_for_overwrite<std::uint8_t[]>(before + after);
    if (before != 0) {
        if (plan.before_zero) {
            std::memset(edges.get(), 0, before);
        } else {
            IoVector to(edges.get(), before);
            auto done_task = read_inside(plan.guest - before, std::move(to));
            auto done = co_await done_task;
            if (!done)
                co_return done;
        }
    }
    if (after != 0) {
        if (plan.after_zero) {
            std::memset(edges.get() + before, 0, after);
        } else {
            IoVector to(edges.get() + before, after);
            auto done_task = read_inside(plan.guest + plan.length, std::move(to));
            auto done = co_await done_task;
            if (!done)
                co_return done;
        }
    }
    IoVector all;
    if (before != 0)
        all.append(edges.get(), before);
    for (const iovec &piece : from.pieces())
        all.append(piece.iov_base, piece.iov_len);
    if (after != 0)
        all.append(edges.get() + before, after);
    co_return co_await image_->data_node().write(host - before, all);
}

} // namespace rhea::block::qcow2
