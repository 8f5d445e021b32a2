#include "drive_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "rhea/block/driver.h"
#include "rhea/util/nearest_name.h"

namespace rhea::system {
namespace {

using util::fail;
using util::OptionList;
using util::Result;

/// Interfaces that a drive can have, and how many units one bus of them has (0: no buses).
struct Interface {
    std::string_view name;
    unsigned units;
    std::string_view disk, cdrom;  ///< middle parts of ids
};
constexpr auto kInterfaces = std::to_array<Interface>({
    {"ide", 2, "-hd", "-cd"},
    {"scsi", 7, "-hd", "-cd"},
    {"floppy", 2, "", ""},
    {"virtio", 0, "", ""},
    {"none", 0, "", ""},
});

const Interface* find_interface(std::string_view name) {
    const auto at = std::find_if(kInterfaces.begin(), kInterfaces.end(), [&](const Interface& each) { return each.name == name; });
    return at == kInterfaces.end() ? nullptr : &*at;
}

struct Key {
    std::string_view name, help;
};
constexpr auto kKeys = std::to_array<Key>({
    {"file", "the image: a path, nbd://..., json:{...}"},
    {"format", "its format; without it the content tells (format=help lists formats)"},
    {"if", "ide, virtio, or none for a drive that -device ...,drive=ID attaches"},
    {"id", "the drive's name"},
    {"index", "where it is attached, counted over all buses"},
    {"bus", "the bus where it is attached"},
    {"unit", "its place on the bus"},
    {"media", "disk or cdrom"},
    {"snapshot", "on: writes go to a temporary file"},
    {"readonly", "on: the guest cannot write"},
    {"copy-on-read", "on: what is read from a backing file is written into the image"},
    {"cache", "none, writeback, writethrough, directsync or unsafe"},
    {"cache.writeback", "off: each write is flushed"},
    {"aio", "threads, native or io_uring"},
    {"discard", "ignore or unmap: what the guest discards is given back to the host"},
    {"detect-zeroes", "off, on or unmap"},
    {"werror", "enospc, report, ignore or stop: after a failed write"},
    {"rerror", "report, ignore or stop: after a failed read"},
    {"throttling.bps-total", "limits: bps-, iops- with total, read, write; -max and -max-length of bursts"},
    {"throttling.group", "drives with the same name share their limits"},
});

/// Old spellings of limits, and the present ones.
struct Spelling {
    std::string_view old_name, name;
};
constexpr auto kOldLimits = std::to_array<Spelling>({
    {"bps", "bps-total"},           {"bps_rd", "bps-read"},           {"bps_wr", "bps-write"},
    {"iops", "iops-total"},         {"iops_rd", "iops-read"},         {"iops_wr", "iops-write"},
    {"bps_max", "bps-total-max"},   {"bps_rd_max", "bps-read-max"},   {"bps_wr_max", "bps-write-max"},
    {"iops_max", "iops-total-max"}, {"iops_rd_max", "iops-read-max"}, {"iops_wr_max", "iops-write-max"},
    {"iops_size", "iops-size"},     {"group", "group"},
});

Result<block::ErrorAction> parse_error_action(std::string_view key, const std::string& text) {
    using block::ErrorAction;
    if (text == "report") {
        return ErrorAction::kReport;
    }
    if (text == "ignore") {
        return ErrorAction::kIgnore;
    }
    if (text == "stop") {
        return ErrorAction::kStop;
    }
    if (text == "enospc" && key == "werror") {
        return ErrorAction::kEnospc;
    }
    return fail("{}= takes {}report, ignore or stop, not '{}'", key, key == "werror" ? "enospc, " : "", text);
}

Result<void> take_place(DriveSpec& spec, OptionList& options) {
    struct {
        const char* key;
        std::optional<unsigned>& value;
    } const places[] = {{"bus", spec.bus}, {"unit", spec.unit}, {"index", spec.index}};
    for (const auto& place : places) {
        if (options.has(place.key)) {
            const auto value = options.take_unsigned(place.key, 0);
            if (!value) {
                return fail(value.error());
            }
            if (*value > 1000) {
                return fail("{}={} is too large", place.key, *value);
            }
            place.value = static_cast<unsigned>(*value);
        }
    }
    if (spec.index && (spec.bus || spec.unit)) {
        return fail("index= says what bus= and unit= say; leave index= or both of them out");
    }
    return {};
}

Result<void> take_policies(DriveSpec& spec, OptionList& options) {
    if (const auto text = options.take("werror")) {
        auto action = parse_error_action("werror", *text);
        if (!action) {
            return fail(action.error());
        }
        spec.on_write_error = *action;
    }
    if (const auto text = options.take("rerror")) {
        auto action = parse_error_action("rerror", *text);
        if (!action) {
            return fail(action.error());
        }
        spec.on_read_error = *action;
    }
    const auto copy_on_read = options.take_bool("copy-on-read", false);
    if (!copy_on_read) {
        return fail(copy_on_read.error());
    }
    spec.copy_on_read = *copy_on_read;
    const auto snapshot = options.take_bool("snapshot", false);
    if (!snapshot) {
        return fail(snapshot.error());
    }
    spec.snapshot = *snapshot;
    return {};
}

Result<void> take_cache(DriveSpec& spec, OptionList& options) {
    if (const auto mode = options.take("cache")) {
        auto write_through = block::set_cache_mode(spec.node, *mode);
        if (!write_through) {
            return fail(write_through.error());
        }
        spec.write_through = *write_through;
    }
    const auto write_back = options.take_bool("cache.writeback", !spec.write_through);
    if (!write_back) {
        return fail(write_back.error());
    }
    spec.write_through = !*write_back;
    return {};
}

Result<void> take_limits(DriveSpec& spec, OptionList& options) {
    block::NodeOptions limits;
    for (const Spelling& each : kOldLimits) {
        if (auto value = options.take(each.old_name)) {
            limits.set("throttling." + std::string(each.name), *value);
        }
    }
    // The rest of the options goes to the node; those that begin like limits stay here.
    for (auto& [key, value] : options.take_rest()) {
        (key.starts_with("throttling.") ? limits : spec.node).set(key, value);
    }
    spec.throttle_group = limits.take("throttling.group").value_or("");
    auto taken = block::ThrottleLimits::take(limits, "throttling.");
    if (!taken) {
        return fail(taken.error());
    }
    spec.limits = *taken;
    return limits.finish({"throttling.bps-total", "throttling.bps-read", "throttling.bps-write", "throttling.iops-total",
                          "throttling.iops-read", "throttling.iops-write", "throttling.iops-size", "throttling.group"});
}

bool is_local(const DriveSpec& spec) {
    const std::size_t colon = spec.filename.find_first_of(":/");
    return colon == std::string::npos || spec.filename[colon] == '/' || spec.filename.starts_with("file:") ||
           spec.filename.starts_with("host_device:");
}

}  // namespace

Result<DriveSpec> parse_drive(OptionList options) {
    DriveSpec spec;
    spec.interface = options.take("if").value_or("");
    if (!spec.interface.empty() && !find_interface(spec.interface)) {
        std::vector<std::string_view> names;
        for (const Interface& each : kInterfaces) {
            names.push_back(each.name);
        }
        const auto nearest = util::nearest_name(spec.interface, names);
        return fail("if={} is not in this version of Rhea{}", spec.interface,
                    nearest ? fmt::format("; did you mean if={}?", *nearest) : "; if=ide, if=virtio and if=none are");
    }
    spec.id = options.take("id").value_or("");
    const std::string media = options.take("media").value_or("disk");
    if (media != "disk" && media != "cdrom") {
        return fail("media= takes disk or cdrom, not '{}'", media);
    }
    spec.is_cdrom = media == "cdrom";
    spec.filename = options.take("file").value_or("");
    for (auto* take : {take_place, take_policies, take_cache}) {
        if (auto done = take(spec, options); !done) {
            return fail(done.error());
        }
    }
    if (const auto format = options.take("format")) {
        spec.node.set("driver", *format);
    }
    auto read_only = options.take_bool("readonly", spec.is_cdrom);
    if (read_only) {
        read_only = options.take_bool("read-only", *read_only);
    }
    if (!read_only) {
        return fail(read_only.error());
    }
    if (spec.is_cdrom && !*read_only) {
        return fail("media=cdrom is read-only; leave readonly=off out");
    }
    if (spec.copy_on_read && *read_only) {
        return fail("copy-on-read=on writes into the image; leave readonly=on and media=cdrom out");
    }
    const auto aio = options.take("aio");
    if (auto done = take_limits(spec, options); !done) {
        return fail(done.error());
    }
    // -drive takes a file that it may not write as read-only; -blockdev does not.
    spec.node.set("read-only", *read_only ? "on" : "off");
    spec.node.set_default("auto-read-only", "on");
    if (aio && is_local(spec)) {
        spec.node.set("file.aio", *aio);
    }
    spec.has_medium = !spec.filename.empty() || spec.node.has_child("file") || spec.node.has("driver");
    return spec;
}

DriveSpec drive_at(std::string_view filename, unsigned index, bool is_cdrom) {
    DriveSpec spec;
    spec.interface = "ide";
    spec.index = index;
    spec.is_cdrom = is_cdrom;
    spec.filename = filename;
    spec.has_medium = !filename.empty();
    spec.node.set("read-only", is_cdrom ? "on" : "off");
    spec.node.set("auto-read-only", "on");
    return spec;
}

namespace {

bool is_taken(const std::vector<DriveSpec>& drives, const DriveSpec& self, unsigned bus, unsigned unit) {
    return std::any_of(drives.begin(), drives.end(), [&](const DriveSpec& other) {
        return &other != &self && other.interface == self.interface && other.bus == bus && other.unit == unit;
    });
}

/// The places that the command line names outright.
Result<void> place_by_choice(std::vector<DriveSpec>& drives, DriveSpec& spec, unsigned units) {
    if (spec.index) {
        spec.bus = units ? *spec.index / units : 0;
        spec.unit = units ? *spec.index % units : *spec.index;
    }
    if (!spec.unit) {
        return {};
    }
    spec.bus = spec.bus.value_or(0);
    if (units && *spec.unit >= units) {
        return fail("a bus of if={} has units 0 to {}, not {}", spec.interface, units - 1, *spec.unit);
    }
    if (is_taken(drives, spec, *spec.bus, *spec.unit)) {
        return fail("two drives want if={},bus={},unit={} (index={})", spec.interface, *spec.bus, *spec.unit,
                    units ? *spec.bus * units + *spec.unit : *spec.unit);
    }
    return {};
}

void place_where_free(std::vector<DriveSpec>& drives, DriveSpec& spec, unsigned units) {
    unsigned bus = spec.bus.value_or(0), unit = 0;
    while (is_taken(drives, spec, bus, unit)) {
        if (units && ++unit >= units) {
            unit = 0;
            ++bus;
        } else if (!units) {
            ++unit;
        }
    }
    spec.bus = bus;
    spec.unit = unit;
}

}  // namespace

Result<void> place_drives(std::vector<DriveSpec>& drives, std::string_view default_interface) {
    for (DriveSpec& spec : drives) {
        if (spec.interface.empty()) {
            spec.interface = default_interface;
        }
    }
    for (DriveSpec& spec : drives) {
        if (auto done = place_by_choice(drives, spec, find_interface(spec.interface)->units); !done) {
            return done;
        }
    }
    for (DriveSpec& spec : drives) {
        const Interface& interface = *find_interface(spec.interface);
        if (!spec.unit) {
            place_where_free(drives, spec, interface.units);
        }
        if (spec.id.empty()) {
            const std::string_view middle = spec.is_cdrom ? interface.cdrom : interface.disk;
            spec.id = interface.units ? fmt::format("{}{}{}{}", interface.name, *spec.bus, middle, *spec.unit)
                                      : fmt::format("{}{}", interface.name, *spec.unit);
        }
    }
    return {};
}

// ---- help -----------------------------------------------------------------------------------

std::string drive_help() {
    std::string text = "Options of -drive:\n";
    for (const Key& key : kKeys) {
        text += fmt::format("  {:<22} {}\n", key.name, key.help);
    }
    return text + "and those of the format and of its file as file.KEY: -blockdev driver=FORMAT,help lists them\n";
}

std::string format_help() {
    std::string text = "Supported formats:";
    for (const block::BlockDriver* driver : block::block_drivers()) {
        text += fmt::format(" {}", driver->name);
    }
    return text + "\n";
}

Result<std::string> blockdev_help(const std::string& name) {
    if (name.empty()) {
        return format_help() + "-blockdev driver=NAME,help lists the options of one\n";
    }
    const auto driver = block::find_driver(name);
    if (!driver) {
        return fail(driver.error());
    }
    std::string text = fmt::format("Options of driver {}:\n", name);
    const auto line = [&](std::string_view key, std::string_view type, std::string_view what) {
        text += fmt::format("  {:<24} {}\n", fmt::format("{}=<{}>", key, type), what);
    };
    for (const block::OptionDescription& each : (*driver)->open_options) {
        line(each.name, each.type,
             each.default_text.empty() ? std::string(each.description)
                                       : fmt::format("{} (default: {})", each.description, each.default_text));
    }
    if (!(*driver)->is_protocol) {
        line("file", "str", "the node below, or its options as file.KEY");
    }
    if ((*driver)->supports_backing) {
        line("backing", "str", "the backing node, or its options as backing.KEY");
    }
    line("node-name", "str", "the node's name");
    line("read-only", "bool", "open it read-only (default: off)");
    line("auto-read-only", "bool", "open it read-only when it cannot be written (default: off)");
    line("force-share", "bool", "do not mind who else uses it; read-only (default: off)");
    line("discard", "str", "ignore or unmap (default: ignore)");
    line("detect-zeroes", "str", "off, on or unmap (default: off)");
    line("cache.direct", "bool", "past the host's page cache (default: off)");
    line("cache.no-flush", "bool", "flushes do nothing (default: off)");
    return text;
}

}  // namespace rhea::system
