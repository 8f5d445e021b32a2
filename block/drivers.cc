// The drivers that this build has. Add one: declare its table entry in its header, name it here (docs/block.md).
#include <array>
#include <cerrno>

#include "block/copy_on_read/copy_on_read.h"
#include "block/crypto/luks_driver.h"
#include "block/dmg/dmg.h"
#include "block/file/file_node.h"
#include "block/nbd/nbd.h"
#include "block/qcow2/qcow2.h"
#include "block/qed/qed.h"
#include "block/raw/raw.h"
#include "block/throttle/throttle_node.h"
#include "block/vdi/vdi.h"
#include "block/vhdx/vhdx.h"
#include "block/vmdk/vmdk.h"
#include "block/vpc/vpc.h"
#include "rhea/block/driver.h"
#include "rhea/util/nearest_name.h"

namespace rhea::block {
namespace {

constexpr std::array<OptionDescription, 3> kFileOptions{{
    {"filename", "str", "the file's path", ""},
    {"aio", "str", "how requests reach the host (threads, native, io_uring)", "io_uring"},
    {"locking", "str", "lock the image against other processes (on, off, auto)", "auto"},
}};
constexpr std::array<OptionDescription, 3> kFileCreateOptions{{
    {"extent_size_hint", "size", "Space that XFS takes at a time for the file; other file systems do not look at it", "0"},
    {"preallocation", "str", "Whether the file gets its space at once: no (off), without writing (falloc), by writing zeros (full)", "off"},
    {"nocow", "bool (on/off)", "Make a file whose blocks btrfs overwrites in place; other file systems do not look at it", "off"},
}};
constexpr std::array<std::string_view, 1> kFileSchemes{"file"}, kDeviceSchemes{"host_device"};

constexpr BlockDriver kFileDriver = {
    .name = "file",
    .is_protocol = true,
    .schemes = kFileSchemes,
    .open = open_file,
    .create = create_file,
    .open_options = kFileOptions,
    .create_options = kFileCreateOptions,
};
constexpr BlockDriver kHostDeviceDriver = {
    .name = "host_device",
    .is_protocol = true,
    .schemes = kDeviceSchemes,
    .open = open_host_device,
    .create = create_file,
    .open_options = kFileOptions,
};

} // namespace

std::span<const BlockDriver *const> block_drivers() {
    static constexpr auto kDrivers = std::to_array<const BlockDriver *>({
        &kRawDriver,
        &kQcow2Driver,
        &kFileDriver,
        &kHostDeviceDriver,
        &kThrottleDriver,
        &kCopyOnReadDriver,
        &kNbdDriver,
        &kVmdkDriver,
        &kVdiDriver,
        &kVpcDriver,
        &kVhdxDriver,
        &kQedDriver,
        &kDmgDriver,
        &kLuksDriver,
    });
    return kDrivers;
}

Result<const BlockDriver *> find_driver(std::string_view name) {
    std::vector<std::string_view> names;
    for (const BlockDriver *driver : block_drivers()) {
        if (driver->name == name)
            return driver;
        names.push_back(driver->name);
    }
    if (const auto nearest = util::nearest_name(name, names))
        return util::fail(util::Error("unknown block driver '{}'; did you mean '{}'?", name, *nearest).with_code(EINVAL));
    return util::fail(util::Error("unknown block driver '{}'", name).with_code(EINVAL));
}

} // namespace rhea::block
