// Qcow2Node: other sizes, and space taken beforehand.
#include <cerrno>

#include "block/qcow2/write_plan.h"

namespace rhea::block::qcow2 {

Task<Result<void>> Qcow2Node::truncate(std::uint64_t new_length, Preallocation preallocation) {
    Image &image = *image_;
    if (!image.writable)
        co_return util::fail(util::Error("{}: the image is opened read-only", image.filename()).with_code(EPERM));
    if (new_length % 512 != 0)
        co_return util::fail(util::Error("{}: the new size {} is not a multiple of 512", image.filename(), new_length).with_code(EINVAL));
    if (preallocation != Preallocation::kOff && backing_ && !image.geometry.extended_l2)
        co_return util::fail(util::Error("{}: preallocation goes with a backing file only in images with extended_l2=on", image.filename())
                                 .with_code(ENOTSUP));
    if (preallocation != Preallocation::kOff && image.crypt)
        co_return util::fail(util::Error("{}: an encrypted image cannot be preallocated: the clusters would hold noise", image.filename())
                                 .with_code(ENOTSUP));
    co_await image.gate.close();
    const GateClosed closed(image.gate);
    Result<void> done;
    if (!image.snapshots.empty() && image.header.version < 3)
        done = util::fail(util::Error("{}: an image of version 2 that has snapshots cannot change its size", image.filename()).with_code(ENOTSUP));
    else if (image.header.bitmaps)
        done = util::fail(util::Error("{}: an image that has bitmaps cannot change its size", image.filename()).with_code(ENOTSUP));
    else
        done = co_await image.prepare_write();
    if (done)
        done = co_await image.commit();
    if (done && new_length < image.header.size)
        done = co_await shrink(new_length);
    else if (done && new_length > image.header.size)
        done = co_await grow(new_length, preallocation);
    if (!done)
        co_return co_await failed(done.error());
    co_return done;
}

Task<Result<void>> Qcow2Node::grow(std::uint64_t new_length, Preallocation preallocation) {
    Image &image = *image_;
    const Geometry &g = image.geometry;
    const std::uint64_t old_length = image.header.size;
    if (g.l1_entries(new_length) > image.l1.size()) {
        auto grown = co_await image.grow_l1(g.l1_entries(new_length), true);
        if (!grown)
            co_return grown;
    }
    // What was behind the end must read as zeroes: the rest of the last cluster, and what a longer backing file has.
    const std::uint64_t covered = backing_ ? backing_->length() : 0;
    const std::uint64_t zero_until = std::min(new_length, std::max(g.align_up(old_length), covered));
    if (old_length < zero_until) {
        auto zeroed_rest = co_await write_zeroes_inside(old_length, zero_until - old_length, kNoFlags);
        if (!zeroed_rest)
            co_return zeroed_rest;
    }
    if (image.data && (image.header.raw_external_data() || preallocation == Preallocation::kFalloc || preallocation == Preallocation::kFull) &&
        image.data->length() < new_length) {
        auto done = co_await image.data->truncate(new_length, preallocation == Preallocation::kMetadata ? Preallocation::kOff : preallocation);
        if (!done)
            co_return done;
    }
    if (preallocation != Preallocation::kOff) {
        auto done = co_await preallocate_inside(old_length, new_length, preallocation);
        if (!done)
            co_return done;
    }
    image.file.hold_flushes(false);      // create() had them held
    auto done = co_await image.commit(); // a crash until here leaves the old size
    if (!done)
        co_return done;
    image.header.size = new_length;
    done = co_await image.write_header();
    if (done)
        done = co_await image.file.flush();
    if (!done)
        image.header.size = old_length;
    co_return done;
}

Task<Result<void>> Qcow2Node::shrink(std::uint64_t new_length) {
    Image &image = *image_;
    const Geometry &g = image.geometry;
    const std::uint64_t old_length = image.header.size;
    // The size first: from then on nothing reads what goes away.
    image.header.size = new_length;
    auto done = co_await image.write_header();
    if (done)
        done = co_await image.file.flush();
    if (!done) {
        image.header.size = old_length;
        co_return done;
    }
    const std::uint64_t from = g.align_up(new_length), until = g.align_up(old_length);
    if (from < until)
        done = co_await discard_clusters(from, until - from, true);
    if (!done)
        co_return done;
    // L2 tables that nothing of the disk needs any more.
    for (std::uint64_t i = g.l1_entries(new_length); i < image.l1.size() && i < g.l1_entries(old_length); ++i) {
        const std::uint64_t table = image.l1[i] & kOffsetMask;
        if (table == 0)
            continue;
        image.set_l1(i, 0);
        image.free_later({table >> g.cluster_bits, 1, FreeReason::kOther, true});
    }
    done = co_await image.commit();
    if (done && image.data && image.header.raw_external_data())
        done = co_await image.data->truncate(new_length);
    if (done)
        done = co_await image.cut_file();
    co_return done;
}

Task<Result<void>> Qcow2Node::make_empty() {
    Image &image = *image_;
    if (!image.writable)
        co_return util::fail(util::Error("{}: the image is opened read-only", image.filename()).with_code(EPERM));
    co_await image.gate.close();
    const GateClosed closed(image.gate);
    auto done = co_await image.prepare_write();
    if (done) {
        image.record(0, length());
        done = co_await discard_clusters(0, image.geometry.align_up(length()), true);
    }
    if (done)
        done = co_await image.settle();
    if (!done)
        co_return co_await failed(done.error());
    co_return done;
}

Task<Result<void>> Qcow2Node::preallocate_inside(std::uint64_t from, std::uint64_t to, Preallocation mode) {
    Image &image = *image_;
    const Geometry &g = image.geometry;
    constexpr std::uint64_t kAhead = 1u << 30; // the file grows by so much at a time, and is cut in the end
    bool grown = false;
    std::uint64_t at = g.align_down(from);
    while (at < to) {
        auto place = co_await find_place(at, at + g.cluster_size(), false);
        if (!place)
            co_return util::fail(place.error());
        auto [slice, index] = *place;
        // Only clusters that are nothing yet; what is there stays.
        std::uint64_t count = 0;
        for (std::uint64_t i = index; i < g.slice_entries() && at + (count << g.cluster_bits) < to; ++i, ++count) {
            const L2Entry entry = load_l2(slice->data, g, i);
            if (entry.has_cluster() || entry.compressed())
                break;
        }
        if (count == 0) {
            at += g.cluster_size();
            continue;
        }
        std::uint64_t host = at;
        bool blank = true;
        if (image.data == nullptr) {
            auto run = co_await image.refcounts.allocate_loading(count);
            if (!run)
                co_return util::fail(run.error());
            count = run->count;
            host = run->first << g.cluster_bits;
            blank = image.never_written(host);
            image.note_written(host + (count << g.cluster_bits));
            if (const std::uint64_t end = host + (count << g.cluster_bits); mode == Preallocation::kMetadata && end > image.file.length()) {
                // Before entries name what is behind the end.
                auto done = co_await image.file.node().truncate(end + std::min(kAhead, g.align_up(to) - at));
                if (!done)
                    co_return done;
                grown = true;
            }
            if (mode == Preallocation::kFalloc || mode == Preallocation::kFull) {
                auto filled = mode == Preallocation::kFalloc
                                  ? image.file.node().write_zeroes(host, count << g.cluster_bits)
                                  : image.file.node().BlockNode::write_zeroes(host, count << g.cluster_bits);
                auto done = co_await filled;
                if (!done)
                    co_return done;
                blank = true;
            }
        } else if (!image.header.raw_external_data()) {
            blank = at >= image.data->length();
        }
        if (!blank && image.header.version < 3) { // no zero flag: the clusters must be zero
            auto done = co_await image.data_node().write_zeroes(host, count << g.cluster_bits);
            if (!done)
                co_return done;
            blank = true;
        }
        for (std::uint64_t done = 0; done < count;) {
            auto need = image.find_l2(at, slice, index);
            if (!need)
                co_return util::fail(need.error());
            if (*need) {
                auto loaded = co_await need->load();
                if (!loaded)
                    co_return loaded;
                continue;
            }
            for (; done < count; ++done, ++index) {
                const L2Entry old = load_l2(slice->data, g, index);
                L2Entry now{(host + (done << g.cluster_bits)) | kCopied, 0};
                if (g.extended_l2)
                    now.bitmap = old.bitmap; // from the backing file, or zero, as before
                else if (!blank || old.kind(false, 0) == Kind::kZero)
                    now.word |= kZeroBit;
                image.set_l2(*slice, index, now);
            }
        }
        image.publish();
        at += count << g.cluster_bits;
    }
    if (grown)
        co_return co_await image.cut_file();
    co_return Result<void>{};
}

} // namespace rhea::block::qcow2
