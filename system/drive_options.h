// What -drive, -hda and their kin say, checked for form; opening is drives.h's.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rhea/block/backend.h"
#include "rhea/block/options.h"
#include "rhea/block/throttle.h"
#include "rhea/util/option_list.h"
#include "rhea/util/result.h"

namespace rhea::system {

struct DriveSpec {
    std::string id;         ///< as given, or made by place_drives(): "ide0-hd0", "virtio0"
    std::string interface;  ///< "ide", "virtio", "none"; empty: the machine's default
    std::optional<unsigned> bus, unit, index;
    bool is_cdrom = false;
    bool snapshot = false, copy_on_read = false;
    std::string filename;      ///< empty: described by `node` alone, or no medium
    block::NodeOptions node;   ///< options of open_image()
    bool has_medium = false;
    bool write_through = false;
    block::ErrorAction on_read_error = block::ErrorAction::kReport;
    block::ErrorAction on_write_error = block::ErrorAction::kEnospc;
    block::ThrottleLimits limits;
    std::string throttle_group;  ///< empty: its own
};

/// What stands behind -drive.
util::Result<DriveSpec> parse_drive(util::OptionList options);
/// -hda to -hdd and -cdrom.
DriveSpec drive_at(std::string_view filename, unsigned index, bool is_cdrom);

/// Gives every drive its place (bus and unit) and id; fails when two want the same. In order of the command line: drives
/// with a place of their choice do not make way for others.
util::Result<void> place_drives(std::vector<DriveSpec>& drives, std::string_view default_interface);

/// What `-drive help` prints.
std::string drive_help();
/// "Supported formats: raw qcow2 …" of `-drive format=help`.
std::string format_help();
/// What `-blockdev driver=NAME,help` prints.
util::Result<std::string> blockdev_help(const std::string& driver);

}  // namespace rhea::system
