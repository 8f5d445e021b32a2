// commit: writes what an overlay holds into its backing file.
#include "tools/img/copy.h"

namespace rhea::img {
namespace {

/// The layer of the chain that `name` means; null: there is none.
block::BlockNode* find_layer(Run& run, block::BlockNode& top, const std::string& image, const std::string& name) {
    std::string at = image;
    for (block::BlockNode* layer = &top; layer->backing(); layer = layer->backing()) {
        auto asking = layer->info();
        auto info = run.context().run(std::move(asking));
        if (!info) {
            return nullptr;
        }
        const std::string full = info->full_backing_filename.empty()
                                     ? block::resolve_backing(at, info->backing_filename)
                                     : info->full_backing_filename;
        if (name == info->backing_filename || name == full) {
            return layer->backing();
        }
        at = full;
    }
    return nullptr;
}

}  // namespace

Result<int> run_commit(Run& run) {
    if (auto done = run.need_operands(1, 1); !done) {
        return fail(done.error());
    }
    const auto rate = run.size("r", 0);
    if (!rate) {
        return fail(rate.error());
    }
    auto spec = image_spec(run, run.operands()[0], "f", "t");
    if (!spec) {
        return fail(spec.error());
    }
    std::size_t layers = 0;
    {
        // A first look, so that the base can then be opened for writing.
        ImageSpec looking = *spec;
        looking.flags.read_only = true;
        auto image = Image::open(run, looking);
        if (!image) {
            return fail(image.error());
        }
        block::BlockNode* base = image->node().backing();
        if (!base) {
            return fail("'{}' has no backing file to commit to", spec->name);
        }
        if (const auto name = run.value("b")) {
            const auto filename = image->filename();
            base = filename ? find_layer(run, image->node(), *filename, *name) : nullptr;
            if (!base) {
                return fail("'{}' is none of the images below '{}', which 'rhea-img info --backing-chain' lists", *name,
                            spec->name);
            }
        }
        for (block::BlockNode* layer = &image->node(); layer != base; layer = layer->backing()) {
            ++layers;
        }
    }
    // As a part of the chain, so that the options that open the chain open it, and nobody else has it open.
    std::string writable;
    for (std::size_t i = 0; i < layers; ++i) {
        writable += "backing.";
    }
    spec->options.set(writable + "read-only", "off");
    spec->options.set_default(writable + "discard", "unmap");  // zeroes give space back
    auto image = Image::open(run, *spec);
    if (!image) {
        return fail(image.error());
    }
    block::BlockNode* stop_at = &image->node();
    for (std::size_t i = 0; i < layers; ++i) {
        stop_at = stop_at->backing();
    }
    Image base = Image::of_layer(run, *stop_at, spec->cache);
    if (base.length() < image->length()) {
        if (auto done = base.resize(image->length()); !done) {
            return fail(done.error().within("making the backing file as large as its overlay"));
        }
    }
    CopyPlan plan;
    plan.sources = {&*image};
    plan.target = &base;
    plan.length = image->length();
    plan.rate = *rate;
    plan.stop_at = stop_at;
    plan.sparse_size = 0;
    {
        plan.sparse_size = 4096;
        Progress progress(run.has("p") && !run.quiet(), plan.length);
        Copy copying(plan, progress);
        if (auto done = copying.run(run.context()); !done) {
            return fail(done.error());
        }
    }
    if (auto done = base.close(); !done) {
        return fail(done.error());
    }
    // Only when the base has everything on stable storage may the overlay forget it. A base further down keeps what lies
    // between, so that nothing is forgotten then.
    if (!run.has("d") && !run.has("b")) {
        auto emptying = image->node().make_empty();
        if (auto done = run.context().run(std::move(emptying)); !done) {
            return fail(done.error().within("the data is in the backing file, but the overlay cannot be emptied"));
        }
    }
    if (auto done = image->close(); !done) {
        return fail(done.error());
    }
    run.say("Image committed.\n");
    return 0;
}

}  // namespace rhea::img
