// convert: copies images into a new one of another format.
#include <algorithm>
#include <filesystem>

#include "tools/img/bitmap.h"
#include "tools/img/copy.h"
#include "rhea/util/option_list.h"

namespace rhea::img {
namespace {

constexpr std::uint64_t kMaxWorkers = 16;

struct Plan {
    std::vector<Image> sources;
    std::string target_name, target_format;
    const block::BlockDriver* driver = nullptr;
    block::NodeOptions options;  ///< of the new image
    std::uint64_t size = 0;
    bool has_backing = false;
};

Result<void> check_choices(const Run& run) {
    if (run.has("C") && (run.has("c") || run.has("S"))) {
        return fail("{0} looks at data that -C leaves to the host; leave -C or {0} out", run.has("c") ? "-c" : "-S");
    }
    if (run.has("skip-broken-bitmaps") && !run.has("bitmaps")) {
        return fail("--skip-broken-bitmaps says something about --bitmaps, which is missing");
    }
    if (run.has("bitmaps") && run.operands().size() > 2) {
        return fail("--bitmaps is for one source; there are {}", run.operands().size() - 1);
    }
    if (run.has("target-is-zero") && !run.has("n")) {
        return fail("--target-is-zero is about an image that is there already: it needs -n");
    }
    if (run.has("n") && run.has("o")) {
        return fail("-n writes into an image that is there, so that -o has no meaning with it");
    }
    if (run.has("target-image-opts") && !run.has("n")) {
        return fail("--target-image-opts opens an image that is there: it needs -n");
    }
    if (run.has("target-image-opts") && run.has("O")) {
        return fail("--target-image-opts and -O exclude each other; write driver= in the options");
    }
    return {};
}

/// -c: said before the target is made.
Result<void> check_compression(const Plan& plan) {
    if (!plan.driver->compresses) {
        return fail("the format {} cannot hold compressed data; qcow2 can", plan.target_format);
    }
    if (plan.options.has_child("encrypt")) {
        return fail("-c and encrypt.format exclude each other: compressed clusters cannot be encrypted at the same time");
    }
    const auto found = plan.options.values().find("preallocation");
    if (found != plan.options.values().end() && found->second != "off") {
        return fail("-c and preallocation={} exclude each other: compressed clusters need less space than is taken beforehand",
                    found->second);
    }
    return {};
}

Result<void> open_sources(Run& run, Plan& plan) {
    const auto& names = run.operands();
    for (std::size_t i = 0; i + 1 < names.size(); ++i) {
        auto spec = image_spec(run, names[i], "f", "T");
        if (!spec) {
            return fail(spec.error());
        }
        spec->flags.read_only = true;
        auto image = Image::open(run, *spec);
        if (!image) {
            return fail(image.error());
        }
        plan.size += image->length();
        plan.sources.push_back(std::move(*image));
    }
    if (const auto snapshot = run.value("l")) {
        if (plan.sources.size() > 1) {
            return fail("-l is for one source; there are {}", plan.sources.size());
        }
        if (auto done = show_snapshot(run, plan.sources.front(), *snapshot); !done) {
            return fail(done.error());
        }
        plan.size = plan.sources.front().length();
    }
    return {};
}

/// Before anything is written: what cannot be copied is known now.
Result<std::vector<StoredBitmap>> bitmaps_to_copy(Run& run, Plan& plan) {
    if (!plan.driver->change_bitmap) {
        return fail("images of the format {} keep no bitmaps; leave --bitmaps out", plan.target_format);
    }
    auto found = stored_bitmaps(run, plan.sources.front());
    if (!found) {
        return fail(found.error());
    }
    for (const StoredBitmap& bitmap : *found) {
        if (bitmap.broken && !run.has("skip-broken-bitmaps")) {
            return fail("bitmap '{}' is in use, so that it has gaps; remove it with rhea-img bitmap --remove, or say "
                        "--skip-broken-bitmaps", bitmap.name);
        }
    }
    return found;
}

Result<void> create_target(Run& run, Plan& plan) {
    if (const auto backing = run.value("B")) {
        plan.options.set("backing_file", *backing);
    }
    if (const auto format = run.value("F")) {
        plan.options.set("backing_fmt", *format);
    }
    plan.has_backing = plan.options.has("backing_file");
    if (plan.has_backing && !plan.driver->supports_backing) {
        return fail("the format {} has no backing files; qcow2 has", plan.driver->name);
    }
    if (plan.has_backing && !plan.options.has("backing_fmt")) {
        return fail("the format of the backing file is missing; say it with -F");
    }
    if (const auto text = plan.options.take("size")) {
        auto size = util::parse_size(*text);
        if (!size) {
            return fail(size.error().within("-o size"));
        }
        plan.size = *size;
    }
    auto creating = block::create_image(run.context(), *plan.driver, plan.target_name, plan.size, plan.options);
    return run.context().run(std::move(creating));
}

/// The layer of the source's chain that is the target's backing file, too: what it and those below hold is not copied. Null: it is
/// another file, and all that the source holds is copied.
const block::BlockNode* shared_layer(Run& run, const Plan& plan, const Image& target) {
    const auto path_of = [&](block::BlockNode& node) {
        auto asking = node.info();
        const auto info = run.context().run(std::move(asking));
        return info ? info->filename : std::string();
    };
    block::BlockNode* backing = target.node().backing();
    if (!backing || plan.sources.size() > 1 || run.has("l")) {
        return nullptr;
    }
    const std::string wanted = path_of(*backing);
    for (block::BlockNode* layer = plan.sources.front().node().backing(); layer; layer = layer->backing()) {
        std::error_code different;
        if (std::filesystem::equivalent(path_of(*layer), wanted, different)) {
            return layer;
        }
    }
    return nullptr;
}

Result<Image> open_target(Run& run, const Plan& plan) {
    ImageSpec spec;
    spec.name = plan.target_name;
    spec.image_opts = run.has("target-image-opts");
    if (!spec.image_opts) {
        spec.format = plan.target_format;
        // A new image is opened by the passphrase that it was made with.
        for (const std::string_view key : {"encrypt.key-secret", "key-secret"}) {
            if (const auto at = plan.options.values().find(key); !run.has("n") && at != plan.options.values().end()) {
                spec.options.set(at->first, at->second);
            }
        }
    }
    // Zeroes in the place of old data give its space back.
    spec.options.set_default("discard", "unmap");
    spec.cache = run.value("t").value_or("unsafe");
    return Image::open(run, spec);
}

}  // namespace

Result<int> run_convert(Run& run) {
    Plan plan;
    auto given = format_options(run);
    if (!given) {
        return fail(given.error());
    }
    plan.target_format = run.value("O").value_or("raw");
    auto driver = block::find_driver(plan.target_format);
    if (!driver) {
        return fail(driver.error());
    }
    plan.driver = *driver;
    if (given->help) {
        fmt::print("{}", describe_options(*plan.driver));
        return 0;
    }
    if (auto done = run.need_operands(2, SIZE_MAX); !done) {
        return fail(done.error());
    }
    if (auto done = check_choices(run); !done) {
        return fail(done.error());
    }
    plan.options = std::move(given->options);
    if (run.has("c")) {
        if (auto done = check_compression(plan); !done) {
            return fail(done.error());
        }
    }
    plan.target_name = run.operands().back();
    const auto workers = run.number("m", 8, 1, kMaxWorkers);
    const auto sparse = run.size("S", 4096);
    const auto rate = run.size("r", 0);
    if (!workers || !sparse || !rate) {
        return fail(!workers ? workers.error() : !sparse ? sparse.error() : rate.error());
    }
    if (*sparse % 512) {
        return fail("-S takes a multiple of 512, not {}", *sparse);
    }
    if (run.has("c") && run.has("S") && *sparse == 0) {
        return fail("-S 0 (everything allocated) and -c (compressed) exclude each other");
    }
    if (auto done = open_sources(run, plan); !done) {
        return fail(done.error());
    }
    std::vector<StoredBitmap> bitmaps;
    if (run.has("bitmaps")) {
        auto found = bitmaps_to_copy(run, plan);
        if (!found) {
            return fail(found.error());
        }
        bitmaps = std::move(*found);
    }
    if (!run.has("n")) {
        if (auto done = create_target(run, plan); !done) {
            return fail(done.error());
        }
    }
    auto target = open_target(run, plan);
    if (!target) {
        return fail(target.error());
    }
    if (run.has("n") && target->length() < plan.size) {
        return fail("'{}' has {} bytes; the copy needs {}", plan.target_name, target->length(), plan.size);
    }
    CopyPlan copy;
    for (Image& image : plan.sources) {
        copy.sources.push_back(&image);
    }
    copy.target = &*target;
    copy.length = plan.size;
    copy.workers = static_cast<unsigned>(*workers);
    copy.compressed = run.has("c");
    auto asking = target->node().info();
    if (const auto info = run.context().run(std::move(asking)); info && info->takes_only_compressed) {
        copy.compressed = true;
    }
    copy.out_of_order = run.has("W");
    copy.sparse_size = *sparse;
    copy.granularity = target->node().cluster_size();
    copy.rate = *rate;
    copy.offload = run.has("C");
    copy.salvage = run.has("salvage");
    if (plan.has_backing) {
        copy.stop_at = shared_layer(run, plan, *target);
    }
    if (run.has("target-is-zero")) {
        copy.target_is_zero = true;
    } else if (!run.has("n") && !plan.has_backing) {
        auto zero = reads_as_zero(run, *target);
        if (!zero) {
            return fail(zero.error());
        }
        copy.target_is_zero = *zero;
    }
    std::uint64_t unreadable = 0;
    {
        Progress progress(run.has("p") && !run.quiet(), copy.length);
        Copy copying(copy, progress);
        if (auto done = copying.run(run.context()); !done) {
            return fail(done.error());
        }
        unreadable = copying.unreadable();
    }
    if (auto done = copy_bitmaps(run, plan.sources.front(), *target, bitmaps); !done) {
        return fail(done.error());
    }
    if (auto done = target->close(); !done) {
        return fail(done.error());
    }
    if (unreadable) {
        complain(fmt::format("{} bytes could not be read and are zero in '{}'", unreadable, plan.target_name));
    }
    return 0;
}

}  // namespace rhea::img
