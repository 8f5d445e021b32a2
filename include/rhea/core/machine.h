// A machine: memory maps, clocks, devices, vCPUs and the life cycle that joins them.
//
// system/ makes a MachineConfig from the command line, asks the registry for a MachineType, and
// builds it. The Machine owns the devices; reset, stop and shutdown requests may come from any
// thread and are carried out by the main loop.
#pragma once
#include "rhea/core/accelerator.h"
#include "rhea/core/bus.h"
#include "rhea/core/clock.h"
#include "rhea/core/cpu_topology.h"
#include "rhea/core/device.h"
#include "rhea/core/memory.h"
#include "rhea/core/vcpu.h"
#include "rhea/util/result.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rhea::block {
class BlockBackend;
class IoContext;
}

namespace rhea::core {

/// One `-device driver,key=value,…`.
struct DeviceOption {
    std::string driver;
    std::vector<std::pair<std::string, std::string>> properties;
};

/// -global: another default for a property of all devices of a type.
struct GlobalProperty {
    std::string driver, property, value;
};

/// A drive that the machine itself gives a device: -drive with another if= than none, -hda, -cdrom, -fda and the like.
struct DriveOption {
    std::string id;                        ///< "virtio0", "ide0-hd0"; what a device's drive= would name
    std::string interface;                 ///< as if= spells it: "ide", "virtio", "scsi", "floppy"
    unsigned bus = 0, unit = 0;
    bool cdrom = false;                    ///< media=cdrom
    std::vector<std::pair<std::string, std::string>> properties; ///< of the device: addr=, werror=, …
};

/// -boot: what firmware is told.
struct BootOptions {
    std::string order = "cad";             ///< letters: a floppy, c disk, d CD-ROM
    std::string once;                      ///< instead of `order` until the first reset; empty: none
    bool menu = false, strict = false;
    std::optional<std::uint16_t> menu_wait_ms;   ///< splash-time=
    std::optional<std::int32_t> retry_after_ms;  ///< reboot-timeout=; -1: never
};

/// Where a serial port's characters go: an abstract byte stream (chardev/ implements it).
class CharBackend;

/// What the command line asked for, already checked for form.
struct MachineConfig {
    std::string machine = "pc";
    std::vector<std::pair<std::string, std::string>> machine_options;
    std::uint64_t ram_size = 128ull << 20; ///< bytes
    unsigned cpus = 1;                     ///< equals topology.count()
    CpuTopology topology;
    std::string cpu_model;                 ///< "qemu64,+feat,-feat"; empty: the machine's default
    std::string firmware;                  ///< -bios; empty: the machine's default
    std::vector<std::string> firmware_paths; ///< -L, searched first
    std::string kernel, initrd, append;
    std::string name;
    bool no_defaults = false;
    bool no_reboot = false, no_shutdown = false;
    std::vector<CharBackend *> serials;    ///< one an UART, null entries: "none"
    CharBackend *debugcon = nullptr;
    /// The character device that a device's property chardev= names, for that device alone.
    std::function<util::Result<CharBackend *>(std::string_view id)> claim_chardev;
    /// The drive (-drive, -blockdev) that a device's property drive= names, for that device alone. It lives as long as the machine.
    std::function<util::Result<block::BlockBackend *>(std::string_view id)> claim_drive;
    /// A device that is unplugged gives its drive back.
    std::function<void(block::BlockBackend &drive)> release_drive;
    /// The context of the -object iothread that a device's property iothread= names.
    std::function<util::Result<block::IoContext *>(std::string_view id)> find_iothread;
    block::IoContext *main_context = nullptr; ///< of the main loop; null: there is no block layer (unit tests)
    std::vector<DriveOption> drives;
    BootOptions boot;
    std::vector<DeviceOption> devices;
    std::vector<GlobalProperty> globals;
    std::int64_t rtc_offset_ns = 0;        ///< guest wall clock minus host wall clock
    bool rtc_local = false;
    std::string kernel_irqchip = "";       ///< "on", "off", "split"; empty: the accelerator's default
};

/// Why the machine stopped for good or started over.
enum class ShutdownCause : std::uint8_t { kNone, kHostSignal, kHostQuit, kGuestShutdown, kGuestReset, kGuestPanic, kDebugExit };

/// What devices may ask of the machine as a whole. Any thread.
class MachineRequests {
public:
    virtual ~MachineRequests() = default;
    virtual void request_shutdown(ShutdownCause cause, int exit_status = 0) = 0;
    virtual void request_reset(ShutdownCause cause) = 0;
    /// Runs `work` soon in the main thread, under the machine lock, while no vCPU is in guest code.
    virtual void request_work(std::function<void()> work) = 0;
};

class Machine {
public:
    explicit Machine(MachineConfig config, MachineRequests &requests);
    virtual ~Machine();
    Machine(const Machine &) = delete;
    Machine &operator=(const Machine &) = delete;

    /// Makes RAM, buses, devices and firmware. Then the accelerator attaches and vCPUs are made by
    /// create_vcpus(); then finish() (kernel loading, tables that depend on vCPUs).
    virtual util::Result<void> build(Accelerator &accelerator) = 0;

    /// `system_powerdown`: the power button. False: this machine has none. Under the machine lock.
    virtual bool press_power_button() { return false; }

    /// device_add: a device for a machine that the guest may be using already. Main thread, under the machine lock, no vCPU runs.
    virtual util::Result<void> hot_plug(const DeviceOption &option);
    /// device_del: takes a device away, or asks the guest to let it go (it does in its own time). As hot_plug().
    virtual util::Result<void> hot_unplug(std::string_view id);

    const MachineConfig &config() const { return config_; }
    AddressSpace &memory() { return *memory_; }
    AddressSpace &io() { return *io_; }
    MemoryRegion &memory_root() { return *memory_root_; }
    MemoryRegion &io_root() { return *io_root_; }
    Clocks &clocks() { return clocks_; }
    MachineRequests &requests() { return requests_; }
    const std::vector<std::unique_ptr<Vcpu>> &vcpus() const { return vcpus_; }
    const std::vector<std::unique_ptr<Device>> &devices() const { return devices_; }
    const std::vector<std::unique_ptr<RamBlock>> &ram_blocks() const { return ram_blocks_; }
    RamBlock *ram_block_at(ram_addr_t address); ///< the block that holds it, or null

    /// Allocates the next ram_addr_t range.
    RamBlock &add_ram_block(std::string name, std::uint64_t size);
    MemoryRegion &own_region(std::unique_ptr<MemoryRegion> region);
    template <typename T, typename... Args> T &add_device(std::string path, Args &&...args) {
        auto device = std::make_unique<T>(std::forward<Args>(args)...);
        T &reference = *device;
        reference.set_path(std::move(path));
        devices_.push_back(std::move(device));
        return reference;
    }
    void add_device(std::string path, std::unique_ptr<Device> device);
    Device *find_device(std::string_view path) const; ///< null: none
    /// A device that was added and realized while the machine lives begins: power-on state, running if the machine does.
    void start_device(Device &device);
    /// Unrealizes a device, takes it off its bus and destroys it, those on its own buses first. Main thread, under the machine
    /// lock, no vCPU runs.
    void remove_device(Device &device);
    /// `bus` must outlive its last use here; the device that owns it belongs to this machine.
    void add_bus(Bus &bus) { buses_.push_back(&bus); }
    /// A device that is unrealized takes its bus away; no device is left on it.
    void remove_bus(Bus &bus) { std::erase(buses_, &bus); }
    const std::vector<Bus *> &buses() const { return buses_; }
    /// The bus of that kind by name, or (no name) the first with room; the sentence names what there is.
    util::Result<Bus *> find_bus(std::string_view kind, std::string_view name) const;
    void add_vcpu(std::unique_ptr<Vcpu> vcpu) { vcpus_.push_back(std::move(vcpu)); }

    /// What -global says of a device's type, for the properties that nobody has set.
    util::Result<void> apply_globals(Device &device);
    /// Those of -global that no device has met.
    std::vector<GlobalProperty> unused_globals() const;
    /// realize() of every device that is not realized yet, in order of addition; stops at the first error.
    util::Result<void> realize_devices();
    /// Clocks and devices go on or stop; the vCPUs are the caller's: parked before a stop, resumed after it goes on.
    void set_running(bool running);
    /// Devices in order, then vCPUs, then reset hooks (kernel loaders put registers and memory in place).
    void reset();
    void add_reset_hook(std::function<void()> hook) { reset_hooks_.push_back(std::move(hook)); }
    /// Everything: clocks, devices, vCPUs (and RAM when `with_ram`). The vCPUs must be parked; devices are stopped meanwhile.
    void serialize(Archive &archive, bool with_ram);

private:
    MachineConfig config_;
    MachineRequests &requests_;
    Clocks clocks_;
    std::vector<std::unique_ptr<RamBlock>> ram_blocks_;
    ram_addr_t next_ram_ = 0;
    std::vector<std::unique_ptr<MemoryRegion>> regions_;
    std::unique_ptr<MemoryRegion> memory_root_, io_root_;
    std::unique_ptr<AddressSpace> memory_, io_;
    std::vector<std::unique_ptr<Device>> devices_;
    void tell_running(bool running);

    bool running_ = false;
    std::size_t realized_ = 0; ///< how many of devices_ are, from the front
    std::vector<bool> globals_used_;
    std::vector<Bus *> buses_;
    std::vector<std::unique_ptr<Vcpu>> vcpus_;
    std::vector<std::function<void()>> reset_hooks_;
};

/// A setting of a machine type, behind its name: -machine microvm,rtc=off.
struct MachineProperty {
    std::string_view name;
    std::string_view type;        ///< as QEMU spells it: bool, OnOffAuto
    std::string_view description;
};

/// A machine that `-machine` can name.
struct MachineType {
    std::string_view name;        ///< "pc-i440fx-1.0"
    std::string_view alias;       ///< "pc"; empty: none
    std::string_view description;
    std::unique_ptr<Machine> (*create)(MachineConfig config, MachineRequests &requests);
    std::span<const MachineProperty> properties = {}; ///< those that MachineConfig::machine_options may have
    std::string_view drive_interface = "ide";         ///< of a -drive without if=
};

} // namespace rhea::core
