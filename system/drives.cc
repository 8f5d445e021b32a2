#include "drives.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "rhea/block/copy_on_read.h"
#include "rhea/block/secret.h"
#include "rhea/util/nearest_name.h"
#include "tables.h"

namespace rhea::system {
namespace {

using block::BlockBackend;
using block::BlockNode;
using block::NodeOptions;
using util::fail;
using util::Result;

void collect(BlockNode& node, std::vector<BlockNode*>& all) {
    if (std::find(all.begin(), all.end(), &node) != all.end()) {
        return;
    }
    all.push_back(&node);
    for (BlockNode* child : node.children()) {
        collect(*child, all);
    }
}

std::string describe(const DriveSpec& spec) {
    return spec.filename.empty() ? "-drive" : "-drive file=" + spec.filename;
}

/// A new, empty file of no name that others could guess, in $TMPDIR.
Result<std::string> make_temporary_file() {
    const char* folder = std::getenv("TMPDIR");
    std::string name = fmt::format("{}/rhea-snapshot-XXXXXX", folder && *folder ? folder : "/var/tmp");
    const int fd = ::mkstemp(name.data());
    if (fd < 0) {
        return fail("cannot make a temporary file for snapshot=on in '{}': {}; $TMPDIR chooses another folder",
                    name.substr(0, name.rfind('/')), std::strerror(errno));
    }
    ::close(fd);
    return name;
}

}  // namespace

// ---- opening --------------------------------------------------------------------------------

block::IoContext& Drives::disk_context() {
    if (!disk_thread_) {
        disk_thread_ = std::make_unique<block::IoThread>("disk");
    }
    return disk_thread_->context();
}

Result<void> Drives::open(CommandLine& line) {
    line.config.claim_drive = [this](std::string_view id) { return claim(id); };
    line.config.release_drive = [this](BlockBackend& drive) { release(drive); };
    line.config.find_iothread = [this](std::string_view id) { return find_iothread(id); };
    line.config.main_context = &main_context_;
    for (NodeOptions& options : line.objects) {
        if (auto done = make_object(std::move(options)); !done) {
            return fail(done.error().within("-object"));
        }
    }
    for (NodeOptions& options : line.blockdevs) {
        if (auto done = add_node(std::move(options)); !done) {
            return fail(done.error().within("-blockdev"));
        }
    }
    const auto machine = find_machine(line.config.machine);
    if (auto placed = place_drives(line.drives, machine ? machine->drive_interface : "ide"); !placed) {
        return fail(placed.error().within("-drive"));
    }
    for (DriveSpec& spec : line.drives) {
        const std::string what = describe(spec);
        const core::DriveOption option{spec.id, spec.interface, *spec.bus, *spec.unit, spec.is_cdrom, {}};
        spec.snapshot = spec.snapshot || line.snapshot;
        if (auto done = add_drive(std::move(spec)); !done) {
            return fail(done.error().within(what));
        }
        if (option.interface != "none") {
            line.config.drives.push_back(option);
        }
    }
    return {};
}

Result<void> Drives::make_object(NodeOptions options) {
    const std::string type = options.take("qom-type").value_or("");
    const std::string id = options.take("id").value_or("");
    if (id.empty()) {
        return fail("{}: id= is missing", type);
    }
    if (type == "iothread") {
        if (auto done = options.finish(); !done) {
            return fail(done.error().within("iothread"));
        }
        if (iothreads_.contains(id)) {
            return fail("there is already an object '{}'", id);
        }
        iothreads_.emplace(id, std::make_unique<block::IoThread>(id));
        return {};
    }
    if (type == "secret") {
        options.set("id", id);
        return block::add_secret(std::move(options));
    }
    auto limits = block::ThrottleLimits::take(options, options.has_child("limits") ? "limits." : "x-");
    if (!limits) {
        return fail(limits.error().within("throttle-group " + id));
    }
    if (auto done = options.finish({"x-bps-total", "x-bps-read", "x-bps-write", "x-iops-total", "x-iops-read",
                                    "x-iops-write", "x-iops-size"});
        !done) {
        return fail(done.error().within("throttle-group " + id));
    }
    return names_.add_throttle_group(std::make_shared<block::ThrottleGroup>(id, *limits));
}

void Drives::name_nodes(const NodePtr& node) {
    std::vector<BlockNode*> all;
    collect(*node, all);
    for (BlockNode* each : all) {
        if (each->node_name().empty()) {
            each->set_node_name(fmt::format("#block{:03}", 100 + next_node_++));
            // A name of that form cannot be taken: no user's name begins with '#'.
            (void)names_.add(each->shared_from_this());
        }
    }
}

Result<Drives::NodePtr> Drives::open_node(std::string filename, NodeOptions options) {
    return open_node_in(disk_context(), std::move(filename), std::move(options));
}

Result<Drives::NodePtr> Drives::open_node_in(block::IoContext& context, std::string filename, NodeOptions options) {
    block::OpenFlags flags;
    flags.names = &names_;
    auto node = context.run_from_other_thread(
        block::open_image(context, std::move(filename), std::move(options), std::move(flags)));
    if (node) {
        name_nodes(*node);
    }
    return node;
}

Result<void> Drives::add_node(NodeOptions options) {
    const auto name = options.values().find("node-name");
    if (name == options.values().end() || name->second.empty() || name->second.front() == '#') {
        return fail("node-name= is missing, or begins with '#'");
    }
    if (!options.has("driver")) {
        return fail("driver= is missing; -blockdev help lists drivers");
    }
    auto node = open_node("", std::move(options));
    if (!node) {
        return fail(node.error());
    }
    (*node)->set_stands_alone();
    nodes_.push_back(*node);
    return {};
}

/// blockdev-del; an error says who is in the way.
Result<void> Drives::remove_node(std::string_view name) {
    const NodePtr node = names_.find(name);
    if (!node) {
        return fail("there is no node '{}'", name);
    }
    for (const Drive& drive : drives_) {
        if (drive.backend->node() == node) {
            const std::string& device = drive.backend->attached_to;
            return fail("node '{}' belongs to {}, which must go first", name,
                        device.empty() ? fmt::format("drive '{}'", drive.backend->name()) : fmt::format("device '{}'", device));
        }
    }
    for (const NodePtr& other : names_.all()) {
        const auto children = other->children();
        if (std::ranges::count(children, node.get()) != 0) {
            return fail("node '{}' is the {} of node '{}', which must go first", name, other->backing() == node.get() ? "backing file" : "file",
                        other->node_name());
        }
    }
    if (!is_named(node)) {
        return fail("node '{}' came with another one, and goes with it", name);
    }
    std::erase(nodes_, node);
    return node->context().run_from_other_thread(node->close());
}

Result<Drives::NodePtr> Drives::with_temporary_overlay(NodePtr base) {
    auto driver = block::find_driver("qcow2");
    if (!driver) {
        return fail(driver.error().within("snapshot=on"));
    }
    auto path = make_temporary_file();
    if (!path) {
        return fail(path.error());
    }
    block::IoContext& context = base->context();
    auto created = context.run_from_other_thread(block::create_image(context, **driver, *path, base->length(), {}));
    Result<NodePtr> overlay = fail(std::string());
    if (created) {
        NodeOptions options;
        options.set("driver", "qcow2");
        options.set("file.driver", "file");
        options.set("file.filename", *path);
        options.set("backing", base->node_name());
        options.set("cache.no-flush", "on");  // nothing of it outlives the run
        options.set("discard", "unmap");
        overlay = open_node("", std::move(options));
    } else {
        overlay = fail(created.error());
    }
    ::unlink(path->c_str());
    return overlay;
}

Result<Drives::NodePtr> Drives::open_medium(DriveSpec& spec) {
    if (spec.snapshot) {
        spec.node.set("read-only", "on");
    }
    auto node = open_node(spec.filename, spec.node);
    if (node && spec.snapshot && !spec.is_cdrom) {
        node = with_temporary_overlay(*node);
    }
    if (!node || !spec.copy_on_read) {
        return node;
    }
    if ((*node)->read_only()) {
        return fail("copy-on-read=on writes into the image, which cannot be written");
    }
    const NodePtr filter = block::make_copy_on_read(*node);
    name_nodes(filter);
    return filter;
}

BlockBackend& Drives::make_backend(const std::string& id) {
    drives_.push_back({std::make_unique<BlockBackend>(id, disk_context()), false});
    BlockBackend& backend = *drives_.back().backend;
    backend.on_stop = [this](const util::Error& error) {
        if (on_io_error) {
            on_io_error(error);
        }
    };
    return backend;
}

Result<void> Drives::add_drive(DriveSpec spec) {
    if (find_entry(spec.id) || names_.find(spec.id)) {
        return fail("there is already a drive or node '{}'; give this one another id=", spec.id);
    }
    NodePtr node;
    if (spec.has_medium) {
        auto opened = open_medium(spec);
        if (!opened) {
            return fail(opened.error());
        }
        node = *opened;
    }
    BlockBackend& backend = make_backend(spec.id);
    backend.set_write_cache(!spec.write_through);
    backend.set_error_actions(spec.on_read_error, spec.on_write_error);
    if (spec.limits.any() || !spec.throttle_group.empty()) {
        const std::string name = spec.throttle_group.empty() ? spec.id : spec.throttle_group;
        auto group = names_.find_throttle_group(name);
        if (!group) {
            group = std::make_shared<block::ThrottleGroup>(name, spec.limits);
            if (auto added = names_.add_throttle_group(group); !added) {
                return added;
            }
        } else if (spec.limits.any()) {
            group->set_limits(spec.limits);
        }
        backend.set_throttle_group(std::move(group));
    }
    return node ? backend.set_node(std::move(node)) : Result<void>{};
}

// ---- life -----------------------------------------------------------------------------------

Result<void> Drives::check_claimed(const core::MachineConfig& config) const {
    for (const core::DriveOption& option : config.drives) {
        for (const Drive& drive : drives_) {
            if (drive.backend->name() == option.id && !drive.claimed) {
                return fail("machine '{}' has no place for drive '{}' (if={},bus={},unit={}); use if=virtio, or if=none and -device",
                            config.machine, option.id, option.interface, option.bus, option.unit);
            }
        }
    }
    return {};
}

void Drives::close() {
    for (Drive& drive : drives_) {
        (void)drive.backend->set_node(nullptr);
    }
    // A node is younger than those below it.
    for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
        (void)(*node)->context().run_from_other_thread((*node)->close());
    }
    nodes_.clear();
}

void Drives::quiesce() {
    for (Drive& drive : drives_) {
        auto flush = [](BlockBackend& backend) -> block::Task<Result<void>> { return backend.flush(); };
        drive.backend->drain();
        if (drive.backend->has_medium()) {
            (void)drive.backend->context().run_from_other_thread(flush(*drive.backend));
        }
    }
}

void Drives::resume() {
    for (Drive& drive : drives_) {
        drive.backend->reset_io_status();
        if (drive.backend->on_resume) {
            drive.backend->on_resume();
        }
    }
}

// ---- for devices ----------------------------------------------------------------------------

Drives::Drive* Drives::find_entry(std::string_view id) {
    const auto at = std::find_if(drives_.begin(), drives_.end(), [&](const Drive& drive) { return !drive.deleted && drive.backend->name() == id; });
    return at == drives_.end() ? nullptr : &*at;
}

bool Drives::is_named(const NodePtr& node) const {
    return std::find(nodes_.begin(), nodes_.end(), node) != nodes_.end();
}

Result<BlockBackend*> Drives::claim(std::string_view id) {
    if (Drive* drive = find_entry(id)) {
        if (drive->claimed) {
            return fail("drive '{}' has a device already; another device needs a drive of its own", id);
        }
        drive->claimed = true;
        return drive->backend.get();
    }
    NodePtr node = names_.find(id);
    if (!node) {
        std::vector<std::string_view> names;
        for (const Drive& drive : drives_) {
            names.push_back(drive.backend->name());
        }
        for (const NodePtr& each : nodes_) {
            names.push_back(each->node_name());
        }
        const auto nearest = util::nearest_name(id, names);
        return fail("there is no drive '{}'{}", id,
                    nearest ? fmt::format("; did you mean '{}'?", *nearest) : "; -drive if=none,id=… makes one");
    }
    for (const NodePtr& other : names_.all()) {
        const auto children = other->children();
        if (std::find(children.begin(), children.end(), node.get()) != children.end()) {
            return fail("node '{}' is below node '{}', which a device can have instead", id, other->node_name());
        }
    }
    // The back end must be in the node's context, which is the disk thread's unless a device moved it.
    BlockBackend& backend = make_backend(std::string(id));
    if (auto done = backend.set_node(std::move(node)); !done) {
        return fail(done.error());
    }
    drives_.back().claimed = true;
    return &backend;
}

void Drives::release(BlockBackend& drive) {
    drive.on_resume = nullptr;
    drive.on_medium_change = nullptr;
    drive.on_resize = nullptr;
    const auto at = std::find_if(drives_.begin(), drives_.end(), [&](const Drive& each) { return each.backend.get() == &drive; });
    if (at == drives_.end()) {
        return;
    }
    (void)drive.set_context(disk_context());
    (void)drive.exchange_node(nullptr, !is_named(drive.node()));
    drives_.erase(at);
}

Result<block::IoContext*> Drives::find_iothread(std::string_view id) {
    const auto at = iothreads_.find(id);
    if (at == iothreads_.end()) {
        return fail("there is no iothread '{}'; -object iothread,id={} makes one", id, id);
    }
    return &at->second->context();
}

// ---- for the monitor ------------------------------------------------------------------------

std::vector<BlockBackend*> Drives::all() const {
    std::vector<BlockBackend*> list;
    for (const Drive& drive : drives_) {
        if (!drive.deleted) {
            list.push_back(drive.backend.get());
        }
    }
    return list;
}

Result<BlockBackend*> Drives::find(std::string_view id) const {
    std::vector<std::string_view> names;
    for (const Drive& drive : drives_) {
        if (drive.deleted) {
            continue;
        }
        if (drive.backend->name() == id) {
            return drive.backend.get();
        }
        names.push_back(drive.backend->name());
    }
    const auto nearest = util::nearest_name(id, names);
    return fail("there is no drive '{}'{}", id,
                nearest ? fmt::format("; did you mean '{}'?", *nearest) : "; info block lists them");
}

std::vector<std::pair<std::string, std::int64_t>> Drives::iothreads() const {
    std::vector<std::pair<std::string, std::int64_t>> list;
    for (const auto& [id, thread] : iothreads_) {
        list.emplace_back(id, thread->thread_id());
    }
    return list;
}

}  // namespace rhea::system
