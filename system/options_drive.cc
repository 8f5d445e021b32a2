// Options about disks: -drive, -blockdev, -hda, -cdrom, -snapshot, -object.
#include <fmt/format.h>

#include <array>

#include "command_line.h"
#include "rhea/util/nearest_name.h"

namespace rhea::system {
namespace {

using block::NodeOptions;
using util::fail;
using util::OptionList;
using util::Result;

constexpr std::array<std::string_view, 3> kObjectTypes{"iothread", "secret", "throttle-group"};

Result<void> handle_drive(CommandLine& line, std::string_view argument) {
    OptionList options = OptionList::parse(argument, "file");
    if (options.wants_help()) {
        line.print_and_exit = drive_help();
        return {};
    }
    if (argument == "format=help" || argument.ends_with(",format=help")) {
        line.print_and_exit = format_help();
        return {};
    }
    auto spec = parse_drive(std::move(options));
    if (!spec) {
        return fail(spec.error());
    }
    line.drives.push_back(std::move(*spec));
    return {};
}

/// -blockdev and -object: JSON, or key=value.
Result<NodeOptions> parse_object(std::string_view argument, std::string_view implied_key) {
    return argument.starts_with('{') ? NodeOptions::from_json(argument) : NodeOptions::from_text(argument, implied_key);
}

Result<void> handle_blockdev(CommandLine& line, std::string_view argument) {
    if (OptionList options = OptionList::parse(argument, "driver"); !argument.starts_with('{') && options.wants_help()) {
        auto text = blockdev_help(options.take("driver").value_or(""));
        if (!text) {
            return fail(text.error());
        }
        line.print_and_exit = *text;
        return {};
    }
    auto options = parse_object(argument, "driver");
    if (!options) {
        return fail(options.error());
    }
    if (!options->has("node-name")) {
        return fail("node-name= is missing");
    }
    line.blockdevs.push_back(std::move(*options));
    return {};
}

template <unsigned kIndex>
Result<void> handle_hd(CommandLine& line, std::string_view argument) {
    line.drives.push_back(drive_at(argument, kIndex, false));
    return {};
}

Result<void> handle_cdrom(CommandLine& line, std::string_view argument) {
    line.drives.push_back(drive_at(argument, 2, true));
    return {};
}

Result<void> handle_snapshot(CommandLine& line, std::string_view) {
    line.snapshot = true;
    return {};
}

Result<void> handle_object(CommandLine& line, std::string_view argument) {
    if (argument == "help" || argument == "?") {
        line.print_and_exit =
            "Types of objects:\n"
            "  iothread        a thread for the requests of drives: id=; a device's iothread= names it\n"
            "  secret          a passphrase: id=, data=TEXT or file=NAME, format=raw|base64; encrypt.key-secret= names it\n"
            "  throttle-group  limits that nodes of driver throttle share: id=, x-bps-total=, x-iops-total=, ...\n";
        return {};
    }
    auto options = parse_object(argument, "qom-type");
    if (!options) {
        return fail(options.error());
    }
    const auto at = options->values().find("qom-type");
    const std::string type = at == options->values().end() ? "" : at->second;
    if (std::find(kObjectTypes.begin(), kObjectTypes.end(), type) == kObjectTypes.end()) {
        const auto nearest = util::nearest_name(type, kObjectTypes);
        return fail("object type '{}' is not in this version of Rhea{}", type,
                    nearest ? fmt::format("; did you mean '{}'?", *nearest) : "; -object help lists those that are");
    }
    if (!options->has("id")) {
        return fail("id= is missing");
    }
    line.objects.push_back(std::move(*options));
    return {};
}

}  // namespace

std::span<const Option> drive_options() {
    static constexpr auto kOptions = std::to_array<Option>({
        {"hda", "file", "disk image of IDE's primary bus, first place", handle_hd<0>},
        {"hdb", "file", "disk image of IDE's primary bus, second place", handle_hd<1>},
        {"hdc", "file", "disk image of IDE's secondary bus, first place", handle_hd<2>},
        {"hdd", "file", "disk image of IDE's secondary bus, second place", handle_hd<3>},
        {"cdrom", "file", "disc image of the CD-ROM drive", handle_cdrom},
        {"drive", "[file=]file[,if=type][,id=name][,index=i][,media=d][,format=f]\n"
                  "       [,snapshot=on|off][,readonly=on|off][,cache=c][,aio=a][,discard=d]\n"
                  "       [,detect-zeroes=z][,werror=a][,rerror=a][,throttling.bps-total=b][,...]",
         "a disk image and what the guest sees it as; '-drive help' lists all options\n"
         "format=f: without it the content tells; cache=none|writeback|writethrough|directsync|unsafe",
         handle_drive},
        {"blockdev", "[driver=]driver,node-name=N[,discard=d][,read-only=on|off][,...]",
         "configure a node of the block layer, also as JSON\n"
         "('-blockdev help' for drivers, '-blockdev driver=D,help' for the options of one)",
         handle_blockdev},
        {"snapshot", "", "leave disk images as they are: what the guest writes is gone at the end", handle_snapshot},
        {"object", "type,id=name[,prop=value][,...]",
         "a thing that other options name: iothread, secret, throttle-group ('-object help')", handle_object},
    });
    return kOptions;
}

}  // namespace rhea::system
