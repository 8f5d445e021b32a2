// Changing options of an image that is there already.
#include <cerrno>

#include "block/qcow2/check.h"
#include "block/qcow2/qcow2.h"

namespace rhea::block::qcow2 {

namespace {

util::Failure refuse(const Image &image, std::string_view what) {
    return util::fail(util::Error("{}: {}", image.filename(), what).with_code(ENOTSUP));
}

/// Options that say what an image is made of: they may be given, but only as they are.
Result<void> check_fixed(const Image &image, NodeOptions &options) {
    const Header &h = image.header;
    auto cluster = options.take_size("cluster_size", image.geometry.cluster_size());
    auto extended = options.take_bool("extended_l2", h.extended_l2());
    auto raw = options.take_bool("data_file_raw", h.raw_external_data());
    if (!cluster || !extended || !raw)
        return util::fail(!cluster ? cluster.error() : !extended ? extended.error() : raw.error());
    if (*cluster != image.geometry.cluster_size())
        return refuse(image, "cluster_size cannot be changed; convert the image");
    if (*extended != h.extended_l2())
        return refuse(image, "extended_l2 cannot be changed; convert the image");
    if (*raw != h.raw_external_data())
        return refuse(image, "data_file_raw cannot be changed; convert the image");
    if (const auto type = options.take("compression_type"); type && (*type == "zstd") != (h.compression == Compression::kZstd))
        return refuse(image, "compression_type cannot be changed; convert the image");
    if (const auto mode = options.take("preallocation"); mode && *mode != "off")
        return refuse(image, "preallocation cannot be changed; convert the image");
    return {};
}

/// The key slots that the options change; none: they say nothing of them.
Result<std::optional<crypto::LuksAmendment>> take_slots(const Image &image, NodeOptions &options, bool force) {
    static constexpr std::string_view kPrefix = "encrypt.";
    if (options.has("encryption"))
        return refuse(image, "encryption cannot be changed; convert the image");
    NodeOptions encrypt = options.take_child("encrypt");
    if (encrypt.empty())
        return std::nullopt;
    if (!image.luks)
        return refuse(image, "encrypt.* changes key slots, and the image is not encrypted; convert it");
    for (const std::string_view key : {"format", "key-secret", "cipher-alg", "cipher-mode", "ivgen-alg", "ivgen-hash-alg", "hash-alg"})
        if (encrypt.has(key))
            return refuse(image, fmt::format("encrypt.{} cannot be changed; convert the image", key));
    auto amendment = crypto::take_luks_amendment(encrypt, kPrefix, force);
    if (!amendment)
        return util::fail(amendment.error().within(image.filename()).with_code(EINVAL));
    if (auto done = encrypt.finish({"state", "keyslot", "new-secret", "old-secret", "iter-time"}); !done)
        return util::fail(done.error().within(image.filename() + ": encrypt").with_code(EINVAL));
    return *amendment;
}

Task<Result<void>> store_header(Image &image, const Header &old) {
    auto done = co_await image.write_header();
    if (done)
        done = co_await image.file.flush();
    if (!done)
        image.header = old;
    co_return done;
}

Task<Result<void>> change_lazy(Image &image, bool on) {
    if (image.header.lazy_refcounts() == on)
        co_return Result<void>{};
    if (on && image.header.version < 3)
        co_return refuse(image, "lazy_refcounts=on needs compat=1.1");
    auto done = co_await image.finish(); // counts as they should be, dirty bit clear
    if (!done)
        co_return done;
    const Header old = image.header;
    image.header.compatible = on ? old.compatible | kLazyRefcounts : old.compatible & ~std::uint64_t{kLazyRefcounts};
    image.options.lazy_refcounts = on;
    co_return co_await store_header(image, old);
}

Task<Result<void>> change_refcount_bits(Image &image, std::uint64_t bits) {
    if (!std::has_single_bit(bits) || bits > 64)
        co_return refuse(image, fmt::format("refcount_bits={} is not a power of two from 1 to 64", bits));
    if (bits == image.geometry.refcount_bits())
        co_return Result<void>{};
    if (image.header.version < 3)
        co_return refuse(image, fmt::format("refcount_bits={} needs compat=1.1", bits));
    auto done = co_await image.settle();
    if (!done)
        co_return done;
    Checker checker(image, CheckFix::kNone);
    done = co_await checker.change_width(static_cast<unsigned>(std::countr_zero(bits)));
    image.l2.forget_all();
    co_return done;
}

Result<void> can_be_version_2(const Image &image) {
    const Header &h = image.header;
    if (h.refcount_order != 4)
        return refuse(image, fmt::format("compat=0.10 needs refcount_bits=16; the image has {}", image.geometry.refcount_bits()));
    if ((h.incompatible & ~std::uint64_t{kDirty | kCorrupt}) != 0)
        return refuse(image, "compat=0.10 has no extended L2 entries, external data files and other compression types");
    if (h.corrupt())
        return refuse(image, "the image is marked corrupt; repair it first");
    if (h.bitmaps)
        return refuse(image, "compat=0.10 has no bitmaps; remove them first");
    if (!image.snapshots.empty())
        return refuse(image, "an image that has snapshots cannot be made compat=0.10; delete or convert them first");
    return {};
}

} // namespace

Task<Result<void>> Qcow2Node::change_version(std::uint32_t version) {
    Image &image = *image_;
    if (version == image.header.version)
        co_return Result<void>{};
    if (version == 2) {
        if (auto ok = can_be_version_2(image); !ok)
            co_return ok;
        auto done = co_await image.prepare_write();
        if (done)
            done = co_await expand_zeroes();
        if (done)
            done = co_await image.finish();
        if (!done)
            co_return done;
    } else {
        auto done = co_await image.settle();
        if (!done)
            co_return done;
    }
    const Header old = image.header;
    image.header.version = version;
    if (version == 2) {
        image.header.incompatible = image.header.compatible = image.header.autoclear = 0;
        image.header.unknown_fields.clear();
        image.options.lazy_refcounts = false;
    }
    co_return co_await store_header(image, old);
}

/// Version 2 has no zero flag: such clusters become unallocated, or are written out where a backing file would show.
Task<Result<void>> Qcow2Node::expand_zeroes() {
    Image &image = *image_;
    const std::uint64_t end = image.geometry.align_up(length());
    std::uint64_t at = 0;
    while (at < end) {
        Mapping mapping;
        auto need = map_range(image, at, end - at, mapping);
        if (!need)
            co_return util::fail(need.error());
        if (*need) {
            auto loaded = co_await need->load();
            if (!loaded)
                co_return loaded;
            continue;
        }
        if (mapping.kind == Kind::kZero || mapping.kind == Kind::kZeroAlloc) {
            Result<void> done;
            if (no_backing_at(at))
                done = co_await discard_clusters(at, mapping.length, true);
            else
                done = co_await write_out_zeroes(at, mapping.length);
            if (!done)
                co_return done;
        }
        at += mapping.length;
    }
    co_return Result<void>{};
}

Task<Result<void>> Qcow2Node::amend(AmendRequest request) {
    Image &image = *image_;
    NodeOptions &options = request.options;
    const auto &progress = request.progress;
    if (!image.writable)
        co_return util::fail(util::Error("{}: the image is opened read-only", image.filename()).with_code(EPERM));
    if (auto ok = check_fixed(image, options); !ok)
        co_return ok;
    auto slots = take_slots(image, options, request.force);
    if (!slots)
        co_return util::fail(slots.error());
    const auto compat = options.take("compat");
    if (compat && *compat != "0.10" && *compat != "v2" && *compat != "1.1" && *compat != "v3")
        co_return refuse(image, fmt::format("compat= takes 0.10 (v2) or 1.1 (v3), not '{}'", *compat));
    const std::uint32_t version = !compat ? image.header.version : *compat == "0.10" || *compat == "v2" ? 2 : 3;
    auto lazy = options.take_bool("lazy_refcounts", version == 3 && image.header.lazy_refcounts());
    auto bits = options.take_unsigned("refcount_bits", image.geometry.refcount_bits());
    const bool has_size = options.has("size");
    auto size = options.take_size("size", length());
    const auto backing = options.take("backing_file"), format = options.take("backing_fmt"), data_file = options.take("data_file");
    if (!lazy || !bits || !size)
        co_return util::fail(!lazy ? lazy.error() : !bits ? bits.error() : size.error());
    if (auto ok = options.finish(known_names(kQcow2Driver.create_options)); !ok)
        co_return util::fail(ok.error().within(image.filename()).with_code(EINVAL));
    if (data_file && !image.header.external_data())
        co_return refuse(image, "data_file cannot be given to an image without an external data file; convert the image");

    if (*slots) {
        crypto::LuksPlace place{image.file.node(), image.header.encryption->offset, image.filename(), image.options.key_secret};
        auto changing = crypto::amend_luks(std::move(place), *image.luks, **slots);
        auto done = co_await changing;
        if (!done)
            co_return done;
    }
    {
        co_await image.gate.close();
        const GateClosed closed(image.gate);
        Result<void> done;
        if (version == 3)
            done = co_await change_version(version);
        if (done)
            done = co_await change_refcount_bits(image, *bits);
        if (done && version == 2 && image.header.version != 2) // before anything else changes
            done = can_be_version_2(image);
        if (done)
            done = co_await change_lazy(image, *lazy);
        if (done && version == 2)
            done = co_await change_version(version);
        if (done && data_file) {
            const Header old = image.header;
            image.header.data_file = *data_file;
            image.header.has_data_file_name = true;
            done = co_await store_header(image, old);
        }
        if (!done)
            co_return done;
    }
    if (progress)
        progress(0.5);
    if (backing || format) {
        auto changing = change_backing_file(backing.value_or(image.header.backing_file), format.value_or(image.header.backing_format));
        auto done = co_await changing;
        if (!done)
            co_return done;
    }
    if (has_size && *size != length()) {
        auto done = co_await truncate((*size + 511) & ~std::uint64_t{511}, Preallocation::kOff);
        if (!done)
            co_return done;
    }
    if (progress)
        progress(1);
    co_return Result<void>{};
}

Task<Result<void>> amend(BlockNode &node, AmendRequest request) {
    auto *image = dynamic_cast<Qcow2Node *>(&node);
    if (image == nullptr)
        co_return util::fail(util::Error("this is no qcow2 image").with_code(EINVAL));
    auto amending = image->amend(std::move(request));
    co_return co_await amending;
}

} // namespace rhea::block::qcow2
