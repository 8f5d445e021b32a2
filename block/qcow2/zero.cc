// Qcow2Node: writing zeroes and discarding.
//
// In images of version 3 both set the zero flag; whole clusters lose their host cluster when that is wanted. Version 2
// has no such flag: zeroes are written out, unless clusters without a backing file can be made unallocated.
#include <cerrno>

#include "block/qcow2/write_plan.h"

namespace rhea::block::qcow2 {

Task<Result<void>> Qcow2Node::write_zeroes(std::uint64_t offset, std::uint64_t bytes, unsigned flags) {
    if (!image_->writable)
        co_return util::fail(util::Error("{}: the image is opened read-only", image_->filename()).with_code(EPERM));
    if (bytes == 0)
        co_return Result<void>{};
    if (!image_->gate.try_enter())
        co_await image_->gate.enter();
    const RequestScope scope(*image_);
    auto done = co_await image_->prepare_write();
    if (done) {
        image_->record(offset, bytes);
        done = co_await write_zeroes_inside(offset, bytes, flags);
    }
    if (done && (flags & kFua))
        done = co_await image_->commit();
    if (!done)
        co_return co_await failed(done.error());
    co_return done;
}

Task<Result<void>> Qcow2Node::write_zeroes_inside(std::uint64_t offset, std::uint64_t bytes, unsigned flags) {
    const Geometry &g = image_->geometry;
    const std::uint64_t end = offset + bytes, mask = g.subcluster_size() - 1;
    // Zero flags are by subcluster; the last one may reach beyond the end of the disk.
    const std::uint64_t first = (offset + mask) & ~mask;
    const std::uint64_t last = end == length() ? (end + mask) & ~mask : end & ~mask;
    if (first >= last)
        co_return co_await zero_part(offset, bytes, flags);
    if (offset != first) {
        auto done = co_await zero_part(offset, first - offset, flags);
        if (!done)
            co_return done;
    }
    if (image_->header.version < 3) {
        auto done = co_await zero_part(first, std::min(last, end) - first, flags);
        if (!done)
            co_return done;
    } else {
        if (image_->header.raw_external_data() && image_->data) {
            // The data file is to be right by itself.
            const std::uint64_t until = std::min(last, length());
            auto done = co_await image_->data->write_zeroes(first, until - first, flags & ~unsigned{kFua});
            if (!done)
                co_return done;
        }
        auto done = co_await zero_clusters(first, last - first, flags);
        if (!done)
            co_return done;
    }
    if (last < end)
        co_return co_await zero_part(last, end - last, flags);
    co_return Result<void>{};
}

Task<Result<void>> Qcow2Node::zero_part(std::uint64_t offset, std::uint64_t bytes, unsigned flags) {
    // Parts that read as zeroes already need nothing.
    std::uint64_t at = offset;
    const std::uint64_t end = offset + bytes;
    while (at < end) {
        Mapping mapping;
        auto need = map_range(*image_, at, end - at, mapping);
        if (!need)
            co_return util::fail(need.error());
        if (*need) {
            auto loaded = co_await need->load();
            if (!loaded)
                co_return loaded;
            continue;
        }
        const bool unallocated = mapping.kind == Kind::kUnallocated || mapping.kind == Kind::kUnallocatedAlloc;
        const std::uint64_t first = at >> image_->geometry.cluster_bits, last = (at + mapping.length - 1) >> image_->geometry.cluster_bits;
        if (InFlight *other = busy(first, last)) {
            co_await other->waiters.wait();
            continue;
        }
        if (mapping.kind != Kind::kZero && mapping.kind != Kind::kZeroAlloc && !(unallocated && no_backing_at(at))) {
            if (flags & kNoFallback)
                co_return util::fail(util::Error("{}: zeroes cannot be written efficiently at {:#x}", image_->filename(), at).with_code(ENOTSUP));
            auto done = co_await write_out_zeroes(at, mapping.length);
            if (!done)
                co_return done;
        }
        at += mapping.length;
    }
    co_return Result<void>{};
}

Task<Result<void>> Qcow2Node::write_out_zeroes(std::uint64_t offset, std::uint64_t bytes) {
    std::vector<std::uint8_t> zeroes(std::min<std::uint64_t>(bytes, 1u << 20));
    while (bytes != 0) {
        const std::uint64_t part = std::min<std::uint64_t>(bytes, zeroes.size());
        IoVector from(zeroes.data(), part);
        auto done_task = write_inside(offset, std::move(from));
        auto done = co_await done_task;
        if (!done)
            co_return done;
        offset += part;
        bytes -= part;
    }
    co_return Result<void>{};
}

L2Entry Qcow2Node::zeroed(const L2Entry &old, bool unmap) const {
    const bool keep = old.has_cluster() && !unmap;
    if (image_->geometry.extended_l2)
        return {keep ? old.word : 0, 0xffffffffull << 32};
    return {keep ? old.word | kZeroBit : kZeroBit, 0};
}

Task<Result<Qcow2Node::Place>> Qcow2Node::find_place(std::uint64_t guest, std::uint64_t end, bool only_existing) {
    const unsigned bits = image_->geometry.cluster_bits;
    bool committed = false;
    for (;;) {
        if (InFlight *other = busy(guest >> bits, (end - 1) >> bits)) {
            co_await other->waiters.wait();
            continue;
        }
        Place place;
        auto need = image_->find_l2(guest, place.slice, place.index);
        if (!need)
            co_return util::fail(need.error());
        Result<void> done;
        if (*need) {
            done = co_await need->load();
        } else if (place.slice == nullptr && only_existing) {
            co_return place;
        } else if (image_->wants_commit() && !committed) {
            done = co_await image_->commit();
            committed = true; // when it still wants one, more is needed at once than the caches were made for
        } else if (place.slice == nullptr || !image_->l2_writable(guest)) {
            done = co_await image_->make_l2_writable(guest);
        } else {
            co_return place;
        }
        if (!done)
            co_return util::fail(done.error());
    }
}

Task<Result<void>> Qcow2Node::zero_clusters(std::uint64_t offset, std::uint64_t bytes, unsigned flags) {
    const Geometry &g = image_->geometry;
    const std::uint64_t end = offset + bytes;
    const bool unmap = flags & kMayUnmap;
    while (offset < end) {
        auto place = co_await find_place(offset, end, no_backing_at(offset));
        if (!place)
            co_return util::fail(place.error());
        auto [slice, index] = *place;
        if (slice == nullptr) {
            // A whole L2 table of nothing: it reads as zeroes as it is.
            offset = std::min(end, g.next_l2_table(offset));
            continue;
        }
        for (; index < g.slice_entries() && offset < end; ++index) {
            const L2Entry old = load_l2(slice->data, g, index);
            if (auto ok = image_->check_entry(old, offset); !ok)
                co_return ok;
            const std::uint64_t in_cluster = offset & g.cluster_mask();
            const std::uint64_t part = std::min(end - offset, g.cluster_size() - in_cluster);
            L2Entry now = zeroed(old, unmap);
            if (part < g.cluster_size()) { // some subclusters
                if (old.compressed())
                    break;
                const std::uint64_t range = subcluster_range(static_cast<unsigned>(in_cluster >> g.subcluster_bits()),
                                                             static_cast<unsigned>((in_cluster + part) >> g.subcluster_bits()));
                now = {old.word, (old.allocated_bits() & ~range) | (old.zero_bits() | range) << 32};
            }
            if (now != old) {
                if (!now.has_cluster())
                    image_->free_entry_later(old, FreeReason::kRequest);
                image_->set_l2(*slice, index, now);
            }
            offset += part;
        }
        if (index < g.slice_entries() && offset < end) {
            const std::uint64_t part = std::min(end - offset, g.cluster_size() - (offset & g.cluster_mask()));
            auto done = co_await zero_part(offset, part, flags); // part of a compressed cluster
            if (!done)
                co_return done;
            offset += part;
        }
    }
    co_return Result<void>{};
}

Task<Result<void>> Qcow2Node::discard(std::uint64_t offset, std::uint64_t bytes) {
    if (!image_->writable)
        co_return util::fail(util::Error("{}: the image is opened read-only", image_->filename()).with_code(EPERM));
    const Geometry &g = image_->geometry;
    // Parts of clusters stay as they are: a discard is a hint. Version 2 could not hide the backing file's bytes.
    const std::uint64_t end = offset + bytes == length() ? g.align_up(length()) : g.align_down(offset + bytes);
    offset = g.align_up(offset);
    if (offset >= end || (image_->header.version < 3 && backing_ != nullptr))
        co_return Result<void>{};
    if (!image_->gate.try_enter())
        co_await image_->gate.enter();
    const RequestScope scope(*image_);
    auto done = co_await image_->prepare_write();
    if (done) {
        image_->record(offset, end - offset);
        done = co_await discard_clusters(offset, end - offset, false);
    }
    if (!done)
        co_return co_await failed(done.error());
    co_return done;
}

Task<Result<void>> Qcow2Node::discard_clusters(std::uint64_t offset, std::uint64_t bytes, bool full) {
    const Geometry &g = image_->geometry;
    const std::uint64_t end = offset + bytes;
    while (offset < end) {
        auto place = co_await find_place(offset, end, full || no_backing_at(offset));
        if (!place)
            co_return util::fail(place.error());
        auto [slice, index] = *place;
        if (slice == nullptr) { // nothing there
            offset = std::min(end, g.next_l2_table(offset));
            continue;
        }
        const std::uint64_t from = offset;
        bool had_clusters = false;
        for (; index < g.slice_entries() && offset < end; ++index, offset += g.cluster_size()) {
            const L2Entry old = load_l2(slice->data, g, index);
            if (auto ok = image_->check_entry(old, offset); !ok)
                co_return ok;
            const bool nothing = !old.compressed() && !old.has_cluster();
            if (!full && nothing && backing_ == nullptr)
                continue;
            L2Entry now{0, 0};
            if (!full && image_->header.version >= 3)
                now = zeroed(old, true);
            if (now == old)
                continue;
            had_clusters = had_clusters || !nothing;
            image_->free_entry_later(old, FreeReason::kRequest);
            image_->set_l2(*slice, index, now);
        }
        if (image_->data != nullptr && had_clusters) {
            const std::uint64_t limit = image_->data->length();
            const std::uint64_t until = std::min(offset, limit);
            if (from < until) {
                // Writers of these clusters wait, so that the file does not lose what they write.
                InFlight flight;
                flight.first = from >> g.cluster_bits;
                flight.last = (until - 1) >> g.cluster_bits;
                begin(flight);
                Result<void> done;
                if (image_->header.raw_external_data())
                    done = co_await image_->data->write_zeroes(from, until - from, kMayUnmap);
                else if (image_->options.pass_discard_request)
                    done = co_await image_->data->discard(from, until - from);
                this->end(flight);
                if (!done)
                    co_return done;
            }
        }
    }
    co_return Result<void>{};
}

} // namespace rhea::block::qcow2
