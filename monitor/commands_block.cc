// Commands about drives: eject, change, block_resize, commit, ...
#include "commands.h"
#include "rhea/util/option_list.h"

namespace rhea::monitor {
namespace {

using util::Result;

Result<Value> answer(Result<void> done) {
    if (!done) {
        return util::fail(done.error());
    }
    return Value();
}

Result<Value> eject(Host& host, const Arguments& arguments) {
    return answer(host.eject(arguments.text("device"), arguments.flag("force")));
}
Result<Value> change(Host& host, const Arguments& arguments) {
    return answer(host.change_medium(arguments.text("device"), arguments.text("target"), arguments.text("arg"),
                                     arguments.text("read-only-mode")));
}
Result<Value> commit(Host& host, const Arguments& arguments) {
    return answer(host.commit(arguments.text("device")));
}
Result<Value> block_resize(Host& host, const Arguments& arguments) {
    auto drive = host.find_drive(arguments.text("device"));
    if (!drive) {
        return util::fail(drive.error());
    }
    // As QEMU: a number without suffix counts MiB.
    const auto size = util::parse_size(arguments.text("size"), 1u << 20);
    if (!size) {
        return util::fail(size.error());
    }
    return answer((*drive)->resize(*size));
}
Result<Value> drive_add(Host& host, const Arguments& arguments) {
    if (auto done = host.add_drive(arguments.text("opts"), arguments.flag("node")); !done) {
        return util::fail(done.error());
    }
    return Value(arguments.flag("node") ? "" : "OK\n");
}
Result<Value> drive_del(Host& host, const Arguments& arguments) {
    return answer(host.remove_drive(arguments.text("id")));
}
Result<Value> snapshot_blkdev(Host& host, const Arguments& arguments) {
    const std::string file = arguments.text("snapshot-file");
    if (file.empty()) {
        return util::fail("the new image's file name is missing");
    }
    return answer(host.snapshot_drive(arguments.text("device"), file, arguments.text("format"), arguments.flag("reuse")));
}
Result<Value> set_throttle(Host& host, const Arguments& arguments) {
    auto drive = host.find_drive(arguments.text("device"));
    if (!drive) {
        return util::fail(drive.error());
    }
    block::ThrottleLimits limits;
    constexpr const char* kNames[] = {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"};
    for (unsigned kind = 0; kind < block::ThrottleLimits::kKinds; ++kind) {
        const std::int64_t value = arguments.integer(kNames[kind]);
        if (value < 0) {
            return util::fail("{} must be 0 or more, not {}", kNames[kind], value);
        }
        limits.rates[kind].average = static_cast<std::uint64_t>(value);
    }
    if (auto valid = limits.check(""); !valid) {
        return util::fail(valid.error());
    }
    if (block::ThrottleGroup* group = (*drive)->throttle_group(); group && limits.any()) {
        group->set_limits(limits);
    } else {
        (*drive)->set_throttle_group(limits.any() ? std::make_shared<block::ThrottleGroup>((*drive)->name(), limits) : nullptr);
    }
    return Value();
}

}  // namespace

std::vector<Command> block_commands() {
    using enum ArgumentType;
    return {
        {"eject", "eject", {{"force", kFlag, true, "f"}, {"device", kString}}, "[-f] device",
         "open a drive's tray and take the medium out (-f: also when the guest has locked it)", eject, nullptr},
        {"change",
         "",
         {{"device", kString}, {"target", kString}, {"arg", kString, true}, {"read-only-mode", kString, true}},
         "device filename [format [read-only-mode]]", "put another image into a drive", change, nullptr},
        {"commit", "", {{"device", kString}}, "device|all", "write what an overlay holds (also of -snapshot) to the image below",
         commit, nullptr},
        {"block_resize", "", {{"device", kString}, {"size", kString}}, "device size", "change a disk's size", block_resize, nullptr},
        {"drive_add", "", {{"node", kFlag, true, "n"}, {"pci_addr", kString}, {"opts", kRest}}, "[-n] 0 opts",
         "add drive (-n: a node) for a device to come", drive_add, nullptr},
        {"drive_del", "", {{"id", kString}}, "device|node", "take a drive's image away, or a node that nobody uses", drive_del, nullptr},
        {"snapshot_blkdev",
         "blockdev-snapshot-sync",
         {{"reuse", kFlag, true, "n"}, {"device", kString}, {"snapshot-file", kString, true}, {"format", kString, true}},
         "[-n] device new-image-file [format]",
         "put a new image above a drive's (-n: the file is there already, empty)", snapshot_blkdev, nullptr},
        {"block_set_io_throttle",
         "block_set_io_throttle",
         {{"device", kString}, {"bps", kInteger}, {"bps_rd", kInteger}, {"bps_wr", kInteger}, {"iops", kInteger},
          {"iops_rd", kInteger}, {"iops_wr", kInteger}},
         "device bps bps_rd bps_wr iops iops_rd iops_wr", "limit a drive's bytes and requests a second; 0: no limit", set_throttle, nullptr},
    };
}

}  // namespace rhea::monitor
