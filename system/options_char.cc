// Options about character devices: -chardev, -serial, -monitor, -nographic, ...
#include <fmt/format.h>

#include <array>

#include "command_line.h"
#include "rhea/chardev/chardev_set.h"

namespace rhea::system {
namespace {

using util::fail;
using util::OptionList;
using util::Result;

constexpr std::size_t kMaxSerials = 4;

Result<void> handle_chardev(CommandLine& line, std::string_view argument) {
    OptionList options = OptionList::parse(argument, "backend");
    if (options.wants_help()) {
        std::string text = "Backends of -chardev:\n";
        for (const chardev::BackendInfo& backend : chardev::ChardevSet::backends()) {
            text += fmt::format("  {:<10} {}\n", backend.name, backend.help);
        }
        line.print_and_exit = text;
        return {};
    }
    line.chardevs.push_back(std::move(options));
    return {};
}

Result<void> handle_serial(CommandLine& line, std::string_view argument) {
    if (line.serials.size() == kMaxSerials) {
        return fail("a machine has at most {} serial ports", kMaxSerials);
    }
    line.default_serial = false;
    if (argument.starts_with("mon:")) {
        line.default_monitor = false;
    }
    line.serials.emplace_back(argument);
    return {};
}

Result<void> handle_parallel(CommandLine&, std::string_view argument) {
    if (argument == "none" || argument == "null") {
        return {};
    }
    return fail("this version of Rhea has no parallel port; use none");
}

Result<void> handle_monitor(CommandLine& line, std::string_view argument) {
    line.default_monitor = false;
    if (argument != "none") {
        line.monitors.emplace_back(argument);
    }
    return {};
}

Result<void> handle_mon(CommandLine& line, std::string_view argument) {
    OptionList options = OptionList::parse(argument, "chardev");
    const auto id = options.take("chardev");
    const std::string mode = options.take("mode").value_or("readline");
    if (auto done = options.finish({"chardev", "mode"}); !done) {
        return done;
    }
    if (!id) {
        return fail("chardev= is missing");
    }
    if (mode == "control") {
        return fail("QMP (mode=control) is not in this version of Rhea; mode=readline is");
    }
    if (mode != "readline") {
        return fail("unknown monitor mode '{}'; it may be readline", mode);
    }
    line.default_monitor = false;
    line.monitor_chardevs.push_back(*id);
    return {};
}

Result<void> handle_debugcon(CommandLine& line, std::string_view argument) {
    line.debugcon = std::string(argument);
    return {};
}

Result<void> handle_nographic(CommandLine& line, std::string_view) {
    line.nographic = true;
    return {};
}

Result<void> handle_display(CommandLine& line, std::string_view argument) {
    if (argument == "help") {
        line.print_and_exit = "Displays:\nnone\n";
        return {};
    }
    if (argument != "none") {
        return fail("this version of Rhea has no display '{}'; use -display none or -nographic",
                    argument.substr(0, argument.find(',')));
    }
    return {};
}

Result<void> handle_escape(CommandLine& line, std::string_view argument) {
    const auto code = util::parse_unsigned(argument);
    if (code && *code <= 255) {
        line.escape = static_cast<std::uint8_t>(*code);
    } else if (argument.size() == 1) {
        line.escape = static_cast<std::uint8_t>(argument[0]);
    } else {
        return fail("it takes the number of a character, such as 0x01 for Ctrl-A");
    }
    return {};
}

}  // namespace

std::span<const Option> character_options() {
    static constexpr auto kOptions = std::to_array<Option>({
        {"chardev", "backend,id=id[,prop=value][,mux=on|off][,logfile=file]",
         "a character device, which id= names; '-chardev help' lists the backends", handle_chardev},
        {"serial", "dev",
         "where the next serial port leads, up to four of them:\n"
         "stdio, mon:stdio, file:path, pty, pipe:path, unix:path[,server=on][,wait=off],\n"
         "tcp:host:port[,server=on][,wait=off], chardev:id, vc, null, none",
         handle_serial},
        {"parallel", "none", "a parallel port: there is none", handle_parallel},
        {"monitor", "dev", "where the monitor talks; 'dev' as for -serial",
         handle_monitor},
        {"mon", "[chardev=]name[,mode=readline]", "a monitor on the chardev 'name'", handle_mon},
        {"debugcon", "dev", "where the bytes go that the guest writes to port 0xe9; 'dev' as for -serial", handle_debugcon},
        {"nographic", "",
         "no window; the terminal is serial port and monitor", handle_nographic},
        {"display", "none", "where the guest's screen is shown: nowhere", handle_display},
        {"echr", "chr", "the key that begins a command of the terminal: a character or its number [0x01, Ctrl-A]", handle_escape},
    });
    return kOptions;
}

}  // namespace rhea::system
