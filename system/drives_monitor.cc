// What people ask of drives while the machine runs.
#include <fmt/format.h>

#include <cerrno>
#include <filesystem>

#include "drives.h"
#include "rhea/block/commit.h"
#include "rhea/core/machine_lock.h"

namespace rhea::system {

using block::below_filters;
using block::BlockBackend;
using block::BlockNode;
using block::NodeOptions;
using util::fail;
using util::Result;

namespace {

Result<void> check_ejectable(BlockBackend& drive, bool force) {
    const core::MachineLockGuard lock;
    if (!drive.removable) {
        return fail("drive '{}' is not removable", drive.name());
    }
    if (drive.tray_locked && !drive.tray_open && !force) {
        if (drive.on_eject_request) {
            drive.on_eject_request();
        }
        return fail("drive '{}' is locked by the guest, which was asked to let go; try again, or eject -f", drive.name());
    }
    return {};
}

void tell_medium(BlockBackend& drive, bool present) {
    const core::MachineLockGuard lock;
    if (drive.on_medium_change) {
        drive.on_medium_change(present);
    }
}

}  // namespace

Result<void> Drives::eject(std::string_view id, bool force) {
    auto drive = find(id);
    if (!drive) {
        return fail(drive.error());
    }
    if (auto allowed = check_ejectable(**drive, force); !allowed) {
        return allowed;
    }
    auto done = (*drive)->set_node(nullptr);
    tell_medium(**drive, false);
    return done;
}

Result<void> Drives::change(std::string_view id, const Change& change) {
    auto drive = find(id);
    if (!drive) {
        return fail(drive.error());
    }
    if (auto allowed = check_ejectable(**drive, false); !allowed) {
        return allowed;
    }
    NodeOptions options;
    if (!change.format.empty()) {
        options.set("driver", change.format);
    }
    const bool was_read_only = !(*drive)->has_medium() || (*drive)->read_only();
    if (change.read_only_mode.empty() || change.read_only_mode == "retain") {
        options.set("read-only", was_read_only ? "on" : "off");
    } else if (change.read_only_mode == "read-only" || change.read_only_mode == "read-write") {
        options.set("read-only", change.read_only_mode == "read-only" ? "on" : "off");
    } else {
        return fail("the read-only mode may be retain, read-only or read-write, not '{}'", change.read_only_mode);
    }
    auto node = open_node(change.filename, std::move(options));
    if (!node) {
        return fail(node.error());
    }
    if ((*drive)->has_medium()) {
        if (auto done = (*drive)->set_node(nullptr); !done) {
            return done;
        }
        tell_medium(**drive, false);
    }
    // Opened in the thread of new drives; the device may have chosen another.
    block::IoContext& wanted = (*drive)->context();
    (void)(*drive)->set_context(disk_context());
    if (auto done = (*drive)->set_node(std::move(*node)); !done) {
        return done;
    }
    if (auto done = (*drive)->set_context(wanted); !done) {
        return done;
    }
    tell_medium(**drive, true);
    return {};
}

Result<void> Drives::commit(std::string_view id) {
    unsigned done = 0;
    for (BlockBackend* drive : all()) {
        if (id != "all" && drive->name() != id) {
            continue;
        }
        if (!drive->has_medium() || (id == "all" && !below_filters(*drive->node()).backing())) {
            continue;
        }
        if (auto committed = drive->run_alone(block::commit_to_backing(below_filters(*drive->node()))); !committed) {
            return fail(committed.error().within(fmt::format("drive '{}'", drive->name())));
        }
        ++done;
    }
    if (done == 0 && id != "all") {
        auto drive = find(id);
        return drive ? fail("drive '{}' has no medium", id) : fail(drive.error());
    }
    return {};
}

Result<void> Drives::add_drive_at_run_time(std::string_view text, bool is_node) {
    if (is_node) {
        auto options = NodeOptions::from_text(text, "driver");
        return options ? add_node(std::move(*options)) : fail(options.error());
    }
    auto spec = parse_drive(util::OptionList::parse(text, "file"));
    if (!spec) {
        return fail(spec.error());
    }
    if (spec->interface != "none" || spec->id.empty()) {
        return fail("a drive that is added needs if=none and id=; a device for it comes by device_add");
    }
    return add_drive(std::move(*spec));
}

Result<void> Drives::remove_drive(std::string_view id) {
    if (names_.find(id)) {
        return remove_node(id);
    }
    Drive* const drive = find_entry(id);
    if (!drive) {
        return fail(find(id).error());
    }
    if (!drive->claimed) {
        release(*drive->backend);
        return {};
    }
    drive->deleted = true;
    BlockBackend& backend = *drive->backend;
    backend.set_error_actions(block::ErrorAction::kReport, block::ErrorAction::kReport);
    return backend.exchange_node(nullptr, !is_named(backend.node()));
}

Result<void> Drives::snapshot(std::string_view id, const std::string& filename, const std::string& format, bool reuse) {
    auto drive = find(id);
    if (!drive) {
        return fail(drive.error());
    }
    const std::shared_ptr<block::BlockNode> base = (*drive)->node();
    if (!base) {
        return fail("drive '{}' has no medium", id);
    }
    const std::string driver_name = format.empty() ? "qcow2" : format;
    auto driver = block::find_driver(driver_name);
    if (!driver) {
        return fail(driver.error());
    }
    if (!(*driver)->supports_backing) {
        return fail("format '{}' has no backing files; use qcow2", driver_name);
    }
    block::IoContext& context = base->context();
    if (!reuse) {
        BlockNode& image = below_filters(*base);
        auto info = context.run_from_other_thread(image.info());
        if (!info) {
            return fail(info.error());
        }
        NodeOptions options;
        std::error_code ignored;
        options.set("backing_file", std::filesystem::absolute(info->filename, ignored).string());
        options.set("backing_fmt", image.driver());
        auto created = context.run_from_other_thread(
            block::create_image(context, **driver, filename, base->length(), std::move(options)));
        if (!created) {
            return created;
        }
    }
    NodeOptions options;
    options.set("driver", driver_name);
    options.set("backing", base->node_name());
    options.set("discard", base->settings().unmap ? "unmap" : "ignore");
    options.set("cache.direct", base->settings().direct ? "on" : "off");
    options.set("cache.no-flush", base->settings().no_flush ? "on" : "off");
    auto overlay = open_node_in(context, filename, std::move(options));
    if (!overlay) {
        return fail(overlay.error());
    }
    if (auto done = (*drive)->exchange_node(std::move(*overlay), false); !done) {
        return done;
    }
    base->set_read_only(true);
    return {};
}

}  // namespace rhea::system
