#include "tools/img/image.h"

#include <algorithm>

#include "rhea/util/nearest_name.h"
#include "rhea/util/option_list.h"

namespace rhea::img {
namespace {

using block::BlockNode;
using block::Task;

/// What -t and -T mean to a node (as -drive's cache=).
Result<void> apply_cache(block::NodeOptions& options, std::string_view cache) {
    static constexpr std::array<std::string_view, 5> kModes{"none", "writeback", "writethrough", "directsync",
                                                            "unsafe"};
    if (std::ranges::find(kModes, cache) == kModes.end()) {
        const auto nearest = util::nearest_name(cache, kModes);
        return fail("there is no cache mode '{}'; {}", cache,
                    nearest ? fmt::format("did you mean '{}'?", *nearest)
                            : fmt::format("it may be {}", fmt::join(kModes, ", ")));
    }
    if (cache == "none" || cache == "directsync") {
        options.set_default("cache.direct", "on");
    }
    if (cache == "unsafe") {
        options.set_default("cache.no-flush", "on");
    }
    return {};
}

Task<Result<void>> close_chain(std::shared_ptr<BlockNode> node) {
    co_return co_await node->close();
}

}  // namespace

Image::Image(block::IoContext& context, std::shared_ptr<BlockNode> node, std::string_view cache)
    : context_(&context),
      format_(node->driver()),
      node_(std::move(node)),
      disk_(std::make_unique<block::BlockBackend>("image", context)) {
    disk_->set_node(node_);
    if (cache == "writethrough" || cache == "directsync") {
        disk_->set_write_cache(false);
    }
}

Image::~Image() {
    if (node_) {
        (void)close();
    }
}

Result<Image> Image::open(Run& run, const ImageSpec& spec) {
    if (spec.flags.no_lock && !spec.flags.read_only && run.has("force-share")) {
        return fail("'{}': -U reads an image that somebody else writes, and this would write it, too; leave -U out", spec.name);
    }
    block::NodeOptions options = spec.options;
    std::string name = spec.name;
    if (spec.image_opts) {
        auto parsed = block::NodeOptions::from_text(spec.name);
        if (!parsed) {
            return fail(parsed.error().within("--image-opts"));
        }
        for (const auto& [key, value] : spec.options.values()) {
            parsed->set(key, value);
        }
        options = std::move(*parsed);
        name.clear();
    }
    if (spec.format) {
        if (auto known = block::find_driver(*spec.format); !known) {
            return fail(known.error());
        }
        options.set("driver", *spec.format);
    }
    if (auto done = apply_cache(options, spec.cache); !done) {
        return fail(done.error());
    }
    auto opening = block::open_image(run.context(), name, std::move(options), spec.flags);
    auto node = run.context().run(std::move(opening));
    if (!node) {
        return fail(node.error());
    }
    return Image(run.context(), std::move(*node), spec.cache);
}

Image Image::of_layer(Run& run, BlockNode& layer, std::string_view cache) {
    return Image(run.context(), layer.shared_from_this(), cache);
}

Result<std::string> Image::filename() const {
    auto asking = node_->info();
    auto info = context_->run(std::move(asking));
    if (!info) {
        return fail(info.error());
    }
    return info->filename;
}

Result<void> Image::resize(std::uint64_t length, block::Preallocation preallocation) {
    auto resizing = node_->truncate(length, preallocation);
    auto done = context_->run(std::move(resizing));
    (void)disk_->exchange_node(node_, false);  // it checks requests against the length that it saw
    return done;
}

Result<void> Image::show_snapshot(std::string id_or_name) {
    auto showing = node_->snapshot_show(std::move(id_or_name));
    auto done = context_->run(std::move(showing));
    (void)disk_->exchange_node(node_, false);
    return done;
}

Result<void> Image::close() {
    disk_->set_node(nullptr);
    auto closing = close_chain(std::move(node_));
    node_ = nullptr;
    return context_->run(std::move(closing));
}

Result<ImageSpec> image_spec(const Run& run, std::string name, std::string_view format_key,
                             std::string_view cache_key) {
    ImageSpec spec;
    spec.name = std::move(name);
    spec.format = run.value(format_key);
    spec.image_opts = run.has("image-opts");
    spec.flags.no_lock = run.has("force-share");
    if (spec.image_opts && spec.format) {
        return fail("--image-opts and -{} exclude each other; write driver={} in the options", format_key,
                    *spec.format);
    }
    if (!cache_key.empty()) {
        if (const auto cache = run.value(cache_key)) {
            spec.cache = *cache;
        }
    }
    return spec;
}

Result<FormatOptions> format_options(const Run& run) {
    FormatOptions all;
    for (const std::string& text : run.values("o")) {
        if (text == "help" || text == "?") {
            all.help = true;
            continue;
        }
        if (text.empty() || text.front() == ',' || text.back() == ',') {
            return fail("-o '{}' begins or ends with a comma, or is empty; write key=value,key=value", text);
        }
        auto parsed = block::NodeOptions::from_text(text);
        if (!parsed) {
            return fail(parsed.error().within("-o"));
        }
        for (const auto& [key, value] : parsed->values()) {
            if (key == "help" || key == "?") {
                all.help = true;
            } else {
                all.options.set(key, value);
            }
        }
    }
    return all;
}

std::string describe_options(const block::BlockDriver& driver, bool amend) {
    const auto options = amend ? driver.amend_options : driver.create_options;
    if (options.empty()) {
        return fmt::format("The format {} has no options.\n", driver.name);
    }
    std::string text = fmt::format("{} options of {}:\n", amend ? "Amendable" : "Supported", driver.name);
    for (const block::OptionDescription& option : options) {
        text += fmt::format("  {:<24} - {}{}\n", fmt::format("{}=<{}>", option.name, option.type),
                            option.description,
                            option.default_text.empty() ? "" : fmt::format(" (default: {})", option.default_text));
    }
    return text;
}

Result<void> show_snapshot(Run& run, Image& image, std::string_view parameter) {
    std::string wanted(parameter);
    if (parameter.starts_with("snapshot.")) {
        auto list = util::OptionList::parse(parameter);
        const auto id = list.take("snapshot.id");
        const auto name = list.take("snapshot.name");
        if (auto done = list.finish({"snapshot.id", "snapshot.name"}); !done) {
            return fail(done.error().within("-l"));
        }
        if (id && name) {
            auto asking = image.node().info();
            auto info = run.context().run(std::move(asking));
            if (!info) {
                return fail(info.error());
            }
            if (std::ranges::none_of(info->snapshots, [&](const auto& one) { return one.id == *id && one.name == *name; })) {
                return fail("-l: there is no snapshot with the id '{}' and the name '{}'", *id, *name);
            }
        }
        wanted = id ? *id : name.value_or("");
    }
    return image.show_snapshot(std::move(wanted));
}

Task<Result<Mapped>> map_range(BlockNode& node, std::uint64_t offset, std::uint64_t length,
                               const BlockNode* stop_at) {
    Mapped mapped;
    BlockNode* layer = &node;
    for (unsigned depth = 0;; ++depth) {
        if (layer == stop_at || offset >= layer->length()) {
            // Behind the end of a shorter backing file everything is zero.
            mapped.extent = {};
            mapped.extent.length = length;
            mapped.extent.zero = layer != stop_at;
            mapped.depth = depth > 0 && layer != stop_at ? depth : (depth > 0 ? depth - 1 : 0);
            mapped.node = layer;
            co_return mapped;
        }
        const std::uint64_t here = std::min(length, layer->length() - offset);
        auto found = co_await layer->block_status(offset, here);
        if (!found) {
            co_return fail(found.error());
        }
        mapped.extent = *found;
        mapped.depth = depth;
        mapped.node = layer;
        length = found->length;
        if (found->allocated) {
            mapped.present = true;
            co_return mapped;
        }
        BlockNode* below = layer->backing();
        if (!below) {
            mapped.extent.zero = true;
            mapped.extent.data = false;
            co_return mapped;
        }
        layer = below;
    }
}

}  // namespace rhea::img
