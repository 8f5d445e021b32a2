// Options of QEMU that this version does not have: refused by name, with the way out.
#include <array>

#include "command_line.h"

namespace rhea::system {
namespace {

constexpr std::string_view kNoDisk =
    "this kind of disk is not in this version of Rhea; -drive, -blockdev, -hda and -cdrom are";
constexpr std::string_view kNoDisplay =
    "displays are not in this version of Rhea; use -display none or -nographic";
constexpr std::string_view kNoNetwork = "networks are not in this version of Rhea; use -nic none";
constexpr std::string_view kNoQmp =
    "QMP is not in this version of Rhea; -monitor gives the monitor for people";
constexpr std::string_view kNoDebugger =
    "the debugger port is not in this version of Rhea; -d int,cpu shows what the guest does";
constexpr std::string_view kNoSnapshot = "snapshots are not in this version of Rhea";
constexpr std::string_view kNo = "this option is not in this version of Rhea; -help lists what is";

constexpr auto kRefused = std::to_array<RefusedOption>({
    {"fda", kNoDisk},          {"fdb", kNoDisk},          {"sd", kNoDisk},
    {"mtdblock", kNoDisk},     {"pflash", kNoDisk},       {"virtfs", kNoDisk},
    {"fsdev", kNoDisk},        {"iscsi", kNoDisk},        {"vnc", kNoDisplay},
    {"spice", kNoDisplay},     {"sdl", kNoDisplay},       {"curses", kNoDisplay},
    {"full-screen", kNoDisplay}, {"g", kNoDisplay},       {"k", kNoDisplay},
    {"alt-grab", kNoDisplay},  {"ctrl-grab", kNoDisplay}, {"netdev", kNoNetwork},
    {"qmp", kNoQmp},           {"qmp-pretty", kNoQmp},    {"gdb", kNoDebugger},
    {"s", kNoDebugger},        {"loadvm", kNoSnapshot},   {"incoming", kNoSnapshot},
    {"only-migratable", kNoSnapshot},                     {"usb", kNo},
    {"usbdevice", kNo},        {"numa", kNo},             {"set", kNo},              {"readconfig", kNo},
    {"writeconfig", kNo},      {"uuid", kNo},             {"smbios", kNo},
    {"acpitable", kNo},        {"fw_cfg", kNo},           {"no-acpi", kNo},
    {"trace", kNo},            {"plugin", kNo},           {"icount", kNo},
    {"watchdog", kNo},         {"watchdog-action", kNo},  {"sandbox", kNo},
    {"runas", kNo},            {"chroot", kNo},           {"mem-path", kNo},
    {"mem-prealloc", kNo},     {"overcommit", kNo},       {"msg", kNo},
    {"audiodev", kNo},         {"audio", kNo},            {"soundhw", kNo},
    {"tpmdev", kNo},           {"dtb", kNo},              {"shim", kNo},
    {"semihosting", kNo},      {"semihosting-config", kNo}, {"old-param", kNo},
    {"option-rom", kNo},       {"preconfig", kNo},        {"add-fd", kNo},
    {"cpu-throttle", kNo},     {"seed", kNo},             {"compat", kNo},
    {"singlestep", kNo},       {"one-insn-per-tb", kNo},  {"win2k-hack", kNo},
    {"no-fd-bootchk", kNo},    {"perfmap", kNo},          {"jitdump", kNo},
    {"balloon", kNo},          {"rotate", kNo},           {"portrait", kNo},
    {"enable-fips", kNo},      {"dump-vmstate", kNo},     {"nouserconfig", kNo},
    {"tb-size", "use -accel tcg,tb-size=N"},
    {"no-kvm", "KVM is used only when asked for; leave this option out"},
});

}  // namespace

std::span<const RefusedOption> refused_options() {
    return kRefused;
}

}  // namespace rhea::system
