// Opening a graph of nodes from a name and options: see open_image().
#include <algorithm>
#include <array>
#include <cerrno>

#include "block/filename.h"
#include "block/raw/raw.h"
#include "rhea/block/driver.h"
#include "rhea/block/throttle.h"

namespace rhea::block {
namespace {

using util::Error;
using util::fail;
using NodePtr = std::shared_ptr<BlockNode>;

constexpr unsigned kMaxDepth = 200;
constexpr std::size_t kProbeSize = 2048;

/// Keys that every node takes.
constexpr std::array<std::string_view, 9> kGenericKeys{"driver", "node-name", "read-only", "auto-read-only", "force-share",
                                                       "cache.direct", "cache.no-flush", "discard", "detect-zeroes"};

struct Generic {
    std::string node_name;
    NodeSettings settings;
    OpenFlags flags;
};

Result<Generic> take_generic(NodeOptions &options, const OpenFlags &flags) {
    Generic generic;
    generic.flags = flags;
    generic.node_name = options.take("node-name").value_or("");
    struct {
        std::string_view key;
        bool &value;
    } const switches[] = {{"auto-read-only", generic.flags.auto_read_only},
                          {"force-share", generic.flags.no_lock},
                          {"cache.direct", generic.settings.direct},
                          {"cache.no-flush", generic.settings.no_flush},
                          {"read-only", generic.flags.read_only}};
    for (const auto &each : switches) {
        auto value = options.take_bool(each.key, each.value);
        if (!value)
            return fail(value.error());
        each.value = *value;
    }
    generic.flags.read_only = generic.flags.read_only || flags.read_only;
    const std::string discard = options.take("discard").value_or("ignore");
    if (discard != "ignore" && discard != "unmap" && discard != "off" && discard != "on")
        return fail(Error("discard= takes ignore or unmap, not '{}'", discard).with_code(EINVAL));
    generic.settings.unmap = discard == "unmap" || discard == "on";
    const std::string zeroes = options.take("detect-zeroes").value_or("off");
    if (zeroes == "on")
        generic.settings.detect_zeroes = DetectZeroes::kOn;
    else if (zeroes == "unmap")
        generic.settings.detect_zeroes = DetectZeroes::kUnmap;
    else if (zeroes != "off")
        return fail(Error("detect-zeroes= takes off, on or unmap, not '{}'", zeroes).with_code(EINVAL));
    if (zeroes == "unmap" && !generic.settings.unmap)
        return fail(Error("detect-zeroes=unmap needs discard=unmap").with_code(EINVAL));
    return generic;
}

/// A child takes its parent's settings unless it says otherwise.
void inherit(NodeOptions &child, const Generic &parent) {
    child.set_default("cache.direct", parent.settings.direct ? "on" : "off");
    child.set_default("cache.no-flush", parent.settings.no_flush ? "on" : "off");
    child.set_default("discard", parent.settings.unmap ? "unmap" : "ignore");
}

OpenFlags flags_of_file(const OpenFlags &flags) {
    OpenFlags child = flags;
    child.option_prefix += "file.";
    child.no_backing = child.check = child.for_resize = false;
    return child;
}

Task<Result<NodePtr>> open_one(IoContext &context, const BlockDriver &driver, std::string filename, NodePtr file, NodeOptions options,
                               Generic generic) {
    if (!driver.open)
        co_return fail(Error("driver '{}' cannot open images", driver.name).with_code(ENOTSUP));
    OpenRequest request{context, filename, std::move(options), generic.flags, generic.settings, std::move(file), {}};
    request.open_child = [&context, filename, generic](NodeOptions child, OpenFlags flags) -> Task<Result<NodePtr>> {
        inherit(child, generic);
        std::string name = child.take("filename").value_or("");
        flags.depth = generic.flags.depth + 1;
        flags.above = std::make_shared<NameChain>(NameChain{filename, generic.flags.above});
        return open_image(context, resolve_backing(filename, name), std::move(child), std::move(flags));
    };
    auto opening = driver.open(std::move(request));
    auto node = co_await opening;
    if (!node)
        co_return node;
    (*node)->set_settings(generic.settings);
    if (generic.flags.read_only)
        (*node)->set_read_only(true);
    if (!generic.node_name.empty()) {
        (*node)->set_node_name(generic.node_name);
        if (generic.flags.names)
            if (auto added = generic.flags.names->add(*node); !added)
                co_return fail(added.error());
    }
    co_return node;
}

/// The node that a format stands on: a named one, or opened from "file.*" and the image's name.
Task<Result<NodePtr>> open_file_child(IoContext &context, std::string filename, NodeOptions &options, const Generic &generic) {
    if (const auto name = options.take("file"); name && !name->empty()) {
        NodePtr node = generic.flags.names ? generic.flags.names->find(*name) : nullptr;
        if (!node)
            co_return fail(Error("there is no node '{}' for file=", *name).with_code(ENOENT));
        if (node->read_only() && !generic.flags.read_only && !generic.flags.auto_read_only)
            co_return fail(Error("node '{}' takes no writes; say read-only=on here, too", *name).with_code(EPERM));
        co_return node;
    }
    NodeOptions child = options.take_child("file");
    if (!filename.empty())
        child.set_default("filename", filename);
    if (!child.has("driver")) {
        const std::string name = child.has("filename") ? child.values().find("filename")->second : "";
        if (name.empty())
            co_return fail(Error("no image is named: file= or filename= is missing").with_code(EINVAL));
        auto protocol = protocol_of(name);
        if (!protocol)
            co_return fail(protocol.error());
        child.set("driver", std::string((*protocol)->name));
    }
    inherit(child, generic);
    auto opening = open_image(context, "", std::move(child), flags_of_file(generic.flags));
    co_return co_await opening;
}

Task<Result<NodePtr>> open_format(IoContext &context, const BlockDriver *driver, std::string filename, NodeOptions options, Generic generic) {
    auto opening = open_file_child(context, filename, options, generic);
    auto file = co_await opening;
    if (!file)
        co_return file;
    if ((*file)->read_only())
        generic.flags.read_only = true;
    if (filename.empty()) {
        auto under = co_await (*file)->info();
        if (under)
            filename = under->filename;
    }
    // "file:a.img" is a.img to people and to relative names; the prefix stays where it makes a difference.
    if (filename.starts_with("file:") && filename.find(':', 5) == std::string::npos)
        filename.erase(0, 5);
    const bool probed = driver == nullptr;
    if (probed) {
        auto found = co_await probe_format(**file, filename);
        if (!found)
            co_return fail(found.error());
        driver = *found;
    }
    auto node_task = open_one(context, *driver, filename, *file, std::move(options), generic);
    auto node = co_await node_task;
    if (node && probed && driver == &kRawDriver)
        mark_probed(**node);
    co_return node;
}

bool is_open_above(const std::string &filename, const NameChain *above) {
    for (; above; above = above->above.get())
        if (above->filename == filename)
            return true;
    return false;
}

} // namespace

Task<Result<const BlockDriver *>> probe_format(BlockNode &file, std::string_view filename) {
    std::array<std::uint8_t, kProbeSize> head{};
    const std::size_t size = static_cast<std::size_t>(std::min<std::uint64_t>(file.length(), head.size()));
    const IoVector all(head.data(), size);
    if (size > 0) {
        auto got = co_await file.read(0, all);
        if (!got)
            co_return fail(got.error());
    }
    const BlockDriver *best = &kRawDriver;
    int score = 0;
    for (const BlockDriver *driver : block_drivers()) {
        const int mine = driver->probe ? driver->probe(std::span(head.data(), size), filename) : 0;
        if (mine > score) {
            score = mine;
            best = driver;
        }
    }
    co_return best;
}

Task<Result<NodePtr>> open_image(IoContext &context, std::string filename, NodeOptions options, OpenFlags flags) {
    if (filename.starts_with("json:")) {
        auto parsed = NodeOptions::from_json(std::string_view(filename).substr(5));
        if (!parsed)
            co_return fail(parsed.error().within(filename));
        for (const auto &[key, value] : options.values())
            parsed->set(key, value);
        options = std::move(*parsed);
        filename = options.take("filename").value_or("");
        if (filename.starts_with("json:"))
            co_return fail(Error("a json: name inside a json: name").with_code(EINVAL));
    }
    if (flags.depth > kMaxDepth)
        co_return fail(Error("'{}' is number {} in a chain of backing files; {} are allowed", filename, flags.depth, kMaxDepth).with_code(ELOOP));
    if (!filename.empty() && is_open_above(filename, flags.above.get()))
        co_return fail(Error("the chain of backing files comes back to '{}'", filename).with_code(ELOOP));
    auto generic = take_generic(options, flags);
    if (!generic)
        co_return fail(generic.error());
    const auto name = options.take("driver");
    if (!name) {
        auto opening = open_format(context, nullptr, filename, std::move(options), *generic);
        co_return co_await opening;
    }
    auto driver = find_driver(*name);
    if (!driver)
        co_return fail(driver.error());
    if (!(*driver)->is_protocol) {
        auto opening = open_format(context, *driver, filename, std::move(options), *generic);
        co_return co_await opening;
    }
    if (filename.empty())
        filename = options.take("filename").value_or("");
    else
        options.take("filename");
    auto opening = open_one(context, **driver, filename, nullptr, std::move(options), *generic);
    co_return co_await opening;
}

Task<Result<NodePtr>> open_backing(OpenRequest &request, std::string name, std::string format) {
    NodeOptions options = request.options.take_child("backing");
    const auto node_name = request.options.take("backing");
    if (node_name && node_name->empty())
        co_return NodePtr();
    if (request.flags.no_backing)
        co_return NodePtr();
    if (node_name) {
        NodePtr node = request.flags.names ? request.flags.names->find(*node_name) : nullptr;
        if (!node)
            co_return fail(Error("there is no node '{}' for backing=", *node_name).with_code(ENOENT));
        co_return node;
    }
    if (options.empty() && name.empty())
        co_return NodePtr();
    const bool other_file = options.has("filename") || options.has_child("file");
    if (!other_file)
        options.set("filename", name);
    if (!other_file && !format.empty())
        options.set_default("driver", format);
    OpenFlags flags = request.flags;
    flags.read_only = !options.has("read-only"); // backing.read-only=off: to commit into it
    flags.check = flags.for_resize = false;
    flags.option_prefix += "backing.";
    auto opening = request.open_child(std::move(options), flags);
    auto node = co_await opening;
    if (!node)
        co_return fail(node.error().within(fmt::format("backing file of '{}'", request.filename)).with_code(node.error().code()));
    co_return node;
}

// ---- names -------------------------------------------------------------------------------------------------------

Result<void> NodeNames::add(const NodePtr &node) {
    const std::lock_guard guard(mutex_);
    // Who comes and goes leaves nothing: an entry holds its node's memory.
    std::erase_if(nodes_, [](const auto &each) { return each.second.expired(); });
    std::weak_ptr<BlockNode> &entry = nodes_[node->node_name()];
    if (!entry.expired())
        return fail(Error("there is already a node '{}'", node->node_name()).with_code(EEXIST));
    entry = node;
    return {};
}

NodePtr NodeNames::find(std::string_view name) const {
    const std::lock_guard guard(mutex_);
    const auto at = nodes_.find(name);
    return at == nodes_.end() ? nullptr : at->second.lock();
}

std::vector<NodePtr> NodeNames::all() const {
    const std::lock_guard guard(mutex_);
    std::vector<NodePtr> nodes;
    for (const auto &[name, entry] : nodes_)
        if (NodePtr node = entry.lock())
            nodes.push_back(std::move(node));
    return nodes;
}

Result<void> NodeNames::add_throttle_group(std::shared_ptr<ThrottleGroup> group) {
    const std::lock_guard guard(mutex_);
    const std::string &id = group->name();
    if (!throttle_groups_.try_emplace(id, group).second)
        return fail(Error("there is already a throttle group '{}'", id).with_code(EEXIST));
    return {};
}

std::shared_ptr<ThrottleGroup> NodeNames::find_throttle_group(std::string_view id) const {
    const std::lock_guard guard(mutex_);
    const auto at = throttle_groups_.find(id);
    return at == throttle_groups_.end() ? nullptr : at->second;
}

} // namespace rhea::block
