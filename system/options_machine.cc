// Options about what the machine is: type, accelerator, CPU, memory, kernel, devices.
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "command_line.h"
#include "device_help.h"
#include "options_smp.h"
#include "rhea/util/nearest_name.h"
#include "tables.h"

namespace rhea::system {
namespace {

using util::fail;
using util::OptionList;
using util::Result;

constexpr std::uint64_t kMiB = 1u << 20;
/// What 40 physical address bits hold.
constexpr std::uint64_t kMaxRam = std::uint64_t{1} << 40;

// ---- machine and accelerator ----------------------------------------------------------------

std::string machine_help() {
    std::string text = "Supported machines are:\n";
    for (const core::MachineType& type : machine_types()) {
        if (!type.alias.empty()) {
            text += fmt::format("{:<20} {} (alias of {})\n", type.alias, type.description,
                                type.name);
        }
        const bool is_default = type.alias == kDefaultMachine || type.name == kDefaultMachine;
        text += fmt::format("{:<20} {}{}\n", type.name, type.description,
                            is_default ? " (default)" : "");
    }
    return text;
}

/// -machine NAME,help.
std::string machine_properties_help(const core::MachineType& type) {
    std::string text = fmt::format("{}-machine options:\n", type.name);
    const auto row = [&text](std::string_view name, std::string_view kind, std::string_view description) {
        text += fmt::format("  {:<22} - {}\n", fmt::format("{}=<{}>", name, kind), description);
    };
    row("accel", "str", "Accelerators, in order, with ':' between them");
    row("kernel-irqchip", "str", "on, off or split: interrupt controllers in the kernel");
    for (const core::MachineProperty& property : type.properties) {
        row(property.name, property.type, property.description);
    }
    for (const MachineSetting& setting : machine_settings()) {
        row(setting.name, "bool", setting.value.empty() ? "makes no difference" : fmt::format("may be {}", setting.value));
    }
    return text;
}

Result<void> check_accelerator_name(std::string_view name) {
    std::vector<std::string_view> names{"auto"};
    for (const AcceleratorType& type : accelerator_types()) {
        names.push_back(type.name);
    }
    for (const std::string_view known : names) {
        if (known == name) {
            return {};
        }
    }
    const auto nearest = util::nearest_name(name, names);
    return fail("unknown accelerator '{}'; {}", name,
                nearest ? fmt::format("did you mean '{}'?", *nearest)
                        : fmt::format("it may be {}", fmt::join(names, ", ")));
}

Result<void> set_kernel_irqchip(CommandLine& line, const std::string& value) {
    if (value != "on" && value != "off" && value != "split") {
        return fail("kernel-irqchip takes on, off or split, not '{}'", value);
    }
    line.config.kernel_irqchip = value;
    return {};
}

Result<void> handle_machine(CommandLine& line, std::string_view argument) {
    OptionList options = OptionList::parse(argument, "type");
    if (const auto type = options.take("type")) {
        const auto machine = find_machine(*type);
        if (!machine) {
            return fail(machine.error());
        }
        line.config.machine = *type;
        if (options.wants_help()) {
            line.print_and_exit = machine_properties_help(*machine);
            return {};
        }
    }
    if (options.wants_help()) {
        line.print_and_exit = machine_help();
        return {};
    }
    if (const auto list = options.take("accel")) {
        std::string_view rest = *list;
        while (!rest.empty()) {
            const std::string name(rest.substr(0, rest.find(':')));
            rest.remove_prefix(std::min(rest.size(), name.size() + 1));
            if (auto known = check_accelerator_name(name); !known) {
                return known;
            }
            line.accelerators.push_back({name, {}});
        }
    }
    for (const char* key : {"kernel-irqchip", "kernel_irqchip"}) {
        if (const auto value = options.take(key)) {
            if (auto done = set_kernel_irqchip(line, *value); !done) {
                return done;
            }
        }
    }
    for (auto& pair : options.take_rest()) {
        line.config.machine_options.push_back(std::move(pair));
    }
    return {};
}

Result<void> handle_accel(CommandLine& line, std::string_view argument) {
    OptionList options = OptionList::parse(argument, "accel");
    if (options.wants_help()) {
        std::string text = "Accelerators supported in this binary:\n";
        for (const AcceleratorType& type : accelerator_types()) {
            text += fmt::format("{:<8} {}\n", type.name, type.description);
        }
        line.print_and_exit = text + "auto     kvm where it runs at hardware speed, else tcg\n";
        return {};
    }
    const std::string name = options.take("accel").value_or("");
    if (auto known = check_accelerator_name(name); !known) {
        return known;
    }
    for (const char* key : {"kernel-irqchip", "kernel_irqchip"}) {
        if (const auto value = options.take(key)) {
            if (auto done = set_kernel_irqchip(line, *value); !done) {
                return done;
            }
        }
    }
    line.accelerators.push_back({name, options.take_rest()});
    return {};
}

Result<void> handle_enable_kvm(CommandLine& line, std::string_view) {
    line.accelerators.push_back({"kvm", {}});
    return check_accelerator_name("kvm");
}

// ---- CPU and memory -------------------------------------------------------------------------

Result<void> handle_cpu(CommandLine& line, std::string_view argument) {
    if (argument == "help" || argument == "?") {
        line.print_and_exit = cpu_help();
        return {};
    }
    line.config.cpu_model = argument;
    return {};
}

Result<void> handle_smp(CommandLine& line, std::string_view argument) {
    const auto topology = parse_smp(argument);
    if (!topology) {
        return fail(topology.error());
    }
    line.config.topology = *topology;
    line.config.cpus = topology->count();
    return {};
}

Result<void> handle_memory(CommandLine& line, std::string_view argument) {
    OptionList options = OptionList::parse(argument, "size");
    for (const char* key : {"slots", "maxmem"}) {
        if (options.take(key)) {
            return fail("memory hotplug ({}=) is not in this version of Rhea", key);
        }
    }
    const auto text = options.take("size");
    if (auto done = options.finish({"size", "slots", "maxmem"}); !done) {
        return done;
    }
    if (!text) {
        return fail("the size is missing; write -m 1G");
    }
    const auto size = util::parse_size(*text, kMiB);
    if (!size) {
        return fail(size.error());
    }
    if (*size < kMiB) {
        return fail("a machine needs at least 1M of RAM; -m 512 means 512 MiB");
    }
    if (*size > kMaxRam) {
        return fail("ram size too large: a machine has at most 1T of RAM");
    }
    // Whole 8 KiB, as QEMU rounds.
    line.config.ram_size = (*size + 8191) & ~std::uint64_t{8191};
    return {};
}

// ---- firmware and kernel --------------------------------------------------------------------

Result<void> store_readable(std::string& to, std::string_view path) {
    to = path;
    if (::access(to.c_str(), R_OK) != 0) {
        return fail("cannot open it: {}", std::strerror(errno));
    }
    return {};
}

Result<void> handle_kernel(CommandLine& line, std::string_view argument) {
    return store_readable(line.config.kernel, argument);
}
Result<void> handle_initrd(CommandLine& line, std::string_view argument) {
    return store_readable(line.config.initrd, argument);
}
Result<void> handle_append(CommandLine& line, std::string_view argument) {
    line.config.append = argument;
    return {};
}
Result<void> handle_bios(CommandLine& line, std::string_view argument) {
    line.config.firmware = argument;  // searched along -L later
    return {};
}
Result<void> handle_data_dir(CommandLine& line, std::string_view argument) {
    if (argument == "help") {
        std::string text;
        for (const std::string& path : line.config.firmware_paths) {
            text += path + "\n";
        }
        line.print_and_exit = text;
        return {};
    }
    line.config.firmware_paths.emplace_back(argument);
    return {};
}

// ---- devices --------------------------------------------------------------------------------

Result<void> handle_device(CommandLine& line, std::string_view argument) {
    OptionList options = OptionList::parse(argument, "driver");
    const std::string driver = options.take("driver").value_or("");
    if (driver.empty()) {
        if (options.wants_help()) {
            line.print_and_exit = device_list_help();
            return {};
        }
        return fail("the device's type is missing; -device help lists them");
    }
    const auto type = find_device(driver);
    if (!type) {
        return fail(type.error());
    }
    if (options.wants_help()) {
        line.print_and_exit = device_properties_help(**type);
        return {};
    }
    if (driver == "isa-serial") {
        line.default_serial = false;
    }
    line.config.devices.push_back({driver, options.take_rest()});
    return {};
}

/// -global driver.property=value, or driver=d,property=p,value=v.
Result<void> handle_global(CommandLine& line, std::string_view argument) {
    core::GlobalProperty global;
    const std::size_t dot = argument.find('.'), equals = argument.find('=');
    if (dot != std::string_view::npos && equals != std::string_view::npos && dot < equals) {
        global = {std::string(argument.substr(0, dot)), std::string(argument.substr(dot + 1, equals - dot - 1)),
                  std::string(argument.substr(equals + 1))};
    } else {
        OptionList options = OptionList::parse(argument);
        for (const auto& [key, to] : {std::pair("driver", &global.driver), std::pair("property", &global.property),
                                      std::pair("value", &global.value)}) {
            const auto value = options.take(key);
            if (!value) {
                return fail("write driver.property=value, or driver=d,property=p,value=v");
            }
            *to = *value;
        }
        if (auto done = options.finish({"driver", "property", "value"}); !done) {
            return done;
        }
    }
    line.config.globals.push_back(std::move(global));
    return {};
}

/// -vga, -nic, -net: this version has only their absence.
Result<void> only_none(std::string_view argument, std::string_view what) {
    if (argument == "none") {
        return {};
    }
    return fail("this version of Rhea has no {}; use none", what);
}
Result<void> handle_vga(CommandLine&, std::string_view argument) {
    return only_none(argument, "display adapter");
}
Result<void> handle_nic(CommandLine&, std::string_view argument) {
    return only_none(argument, "network card");
}

}  // namespace

std::span<const Option> machine_options() {
    static constexpr auto kOptions = std::to_array<Option>({
        {"machine", "[type=]name[,prop[=value][,...]]",
         "the machine to be; '-machine help' lists them\n"
         "accel=A[:B[:...]]: what runs the CPUs, the first that works\n"
         "kernel-irqchip=on|off|split: how much of the interrupt controllers KVM has\n"
         "'-machine name,help' lists a machine's own properties",
         handle_machine},
        {"M", "name", "as -machine", handle_machine},
        {"accel", "[accel=]accelerator[,prop[=value][,...]]",
         "what runs the CPUs: kvm, tcg or auto ('-accel help')\n"
         "given several times: the first that works is taken\n"
         "auto takes kvm only where it runs at hardware speed",
         handle_accel},
        {"enable-kvm", "", "as -accel kvm", handle_enable_kvm},
        {"cpu", "cpu[,+feature][,-feature]", "the CPUs' model and its features; '-cpu help' lists both", handle_cpu},
        {"smp", "[[cpus=]n][,maxcpus=maxcpus][,sockets=sockets][,dies=dies][,cores=cores][,threads=threads]",
         "how many CPUs there are [1]\n"
         "maxcpus: as many as cpus\n"
         "sockets, dies (of a socket), cores (of a die), threads (of a core):\n"
         "how the guest sees them arranged; what is left out follows from the rest",
         handle_smp},
        {"m", "[size=]megs",
         "the guest's memory in MiB, or with a suffix: 512, 1G, 1.5G [128M]",
         handle_memory},
        {"device", "driver[,prop[=value][,...]]",
         "a device of the type 'driver'\n"
         "'-device help' lists the types, '-device driver,help' the properties of one",
         handle_device},
        {"global", "driver.property=value",
         "also driver=D,property=P,value=V:\n"
         "another default for a property of all devices of that type",
         handle_global},
        {"vga", "none", "the display adapter: there is none", handle_vga},
        {"nic", "none", "the network card: there is none", handle_nic},
        {"net", "none", "as -nic none", handle_nic},
        {"bios", "file", "the firmware image, by path or by name in the folders of -L", handle_bios},
        {"L", "path", "a folder where firmware is looked for", handle_data_dir},
        {"kernel", "bzImage", "boot this Linux kernel, or an ELF file with a PVH note",
         handle_kernel},
        {"append", "cmdline", "command line of the kernel of -kernel", handle_append},
        {"initrd", "file", "initial RAM disk of the kernel of -kernel", handle_initrd},
    });
    return kOptions;
}

}  // namespace rhea::system
