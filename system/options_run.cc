// Options about the run: start, stop, log, clock, process.
#include <fmt/format.h>
#include <sys/prctl.h>

#include <array>
#include <ctime>

#include "command_line.h"
#include "rhea/util/log.h"
#include "version.h"

namespace rhea::system {
namespace {

using util::fail;
using util::OptionList;
using util::Result;

Result<void> handle_help(CommandLine& line, std::string_view) {
    line.print_and_exit = option_help("rhea-system-x86_64");
    return {};
}

Result<void> handle_version(CommandLine& line, std::string_view) {
    line.print_and_exit = fmt::format("Rhea emulator version {}\n", RHEA_VERSION);
    return {};
}

Result<void> handle_name(CommandLine& line, std::string_view argument) {
    OptionList options = OptionList::parse(argument, "guest");
    line.config.name = options.take("guest").value_or("");
    if (const auto process = options.take("process")) {
        prctl(PR_SET_NAME, process->c_str());  // the host cuts it after 15 bytes
    }
    // Threads carry their names in any case, as with "on".
    if (const auto named = options.take("debug-threads"); named && *named != "on" && *named != "off") {
        return fail("debug-threads= takes on or off, not '{}'", *named);
    }
    return options.finish({"guest", "process", "debug-threads"});
}

Result<void> handle_stopped(CommandLine& line, std::string_view) {
    line.start_stopped = true;
    return {};
}
Result<void> handle_no_reboot(CommandLine& line, std::string_view) {
    line.config.no_reboot = true;
    return {};
}
Result<void> handle_no_shutdown(CommandLine& line, std::string_view) {
    line.config.no_shutdown = true;
    return {};
}

Result<void> handle_action(CommandLine& line, std::string_view argument) {
    OptionList options = OptionList::parse(argument);
    if (const auto reboot = options.take("reboot")) {
        if (*reboot != "reset" && *reboot != "shutdown") {
            return fail("reboot= takes reset or shutdown, not '{}'", *reboot);
        }
        line.config.no_reboot = *reboot == "shutdown";
    }
    if (const auto shutdown = options.take("shutdown")) {
        if (*shutdown != "poweroff" && *shutdown != "pause") {
            return fail("shutdown= takes poweroff or pause, not '{}'", *shutdown);
        }
        line.config.no_shutdown = *shutdown == "pause";
    }
    return options.finish({"reboot", "shutdown"});
}

Result<void> handle_no_defaults(CommandLine& line, std::string_view) {
    line.config.no_defaults = true;
    line.default_serial = line.default_monitor = false;
    return {};
}
Result<void> handle_nothing(CommandLine&, std::string_view) {
    return {};  // asks for what is so anyway
}

// ---- clock ----------------------------------------------------------------------------------

Result<std::int64_t> parse_rtc_date(const std::string& text) {
    std::tm date{};
    const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &date);
    if (!end || *end) {
        date = {};
        end = ::strptime(text.c_str(), "%Y-%m-%d", &date);
    }
    if (!end || *end) {
        return fail("base= takes utc, localtime, 2024-02-29T12:30:00 or 2024-02-29, not '{}'",
                    text);
    }
    return static_cast<std::int64_t>(::timegm(&date));
}

Result<void> handle_rtc(CommandLine& line, std::string_view argument) {
    OptionList options = OptionList::parse(argument);
    const std::string base = options.take("base").value_or("utc");
    if (base == "localtime") {
        line.config.rtc_local = true;
    } else if (base != "utc") {
        const auto date = parse_rtc_date(base);
        if (!date) {
            return fail(date.error());
        }
        const std::int64_t now = static_cast<std::int64_t>(::time(nullptr));
        line.config.rtc_offset_ns = (*date - now) * core::kNanosecondsPerSecond;
    }
    const std::string clock = options.take("clock").value_or("host");
    if (clock != "host") {
        return fail("clock={} is not in this version of Rhea; use clock=host", clock);
    }
    const std::string drift = options.take("driftfix").value_or("none");
    if (drift != "none") {
        return fail("driftfix={} is not in this version of Rhea; use driftfix=none", drift);
    }
    return options.finish({"base", "clock", "driftfix"});
}

// ---- log ------------------------------------------------------------------------------------

Result<void> handle_log_items(CommandLine& line, std::string_view argument) {
    if (argument == "help" || argument == "?") {
        std::string text = "Log items, of which -d and log take a list with commas:\n";
        for (const util::LogItem& item : util::log_items()) {
            text += fmt::format("{:<15} {}\n", item.name, item.help);
        }
        line.print_and_exit = text;
        return {};
    }
    if (const auto items = util::parse_log_items(argument); !items) {
        return fail(items.error());
    }
    line.log_items = argument;
    return {};
}

Result<void> handle_log_file(CommandLine& line, std::string_view argument) {
    line.log_file = argument;
    return {};
}

Result<void> handle_log_filter(CommandLine& line, std::string_view argument) {
    const auto ranges = util::parse_log_ranges(argument);
    if (!ranges) {
        return fail(ranges.error());
    }
    line.log_filter = argument;
    return {};
}

// ---- process --------------------------------------------------------------------------------

Result<void> handle_pid_file(CommandLine& line, std::string_view argument) {
    line.pid_file = argument;
    return {};
}
Result<void> handle_daemonize(CommandLine& line, std::string_view) {
    line.daemonize = true;
    return {};
}

}  // namespace

std::span<const Option> run_options() {
    static constexpr auto kOptions = std::to_array<Option>({
        {"name", "string", "the guest's name, which info name shows", handle_name},
        {"S", "", "begin stopped; the monitor's command c lets the guest run", handle_stopped},
        {"no-reboot", "", "end when the guest reboots", handle_no_reboot},
        {"no-shutdown", "", "stay, stopped, when the guest powers off", handle_no_shutdown},
        {"action", "[reboot=reset|shutdown][,shutdown=poweroff|pause]",
         "what a reboot or a power-off of the guest does", handle_action},
        {"rtc", "[base=utc|localtime|<datetime>][,clock=host]",
         "the time with which the guest's clock begins", handle_rtc},
        {"d", "item1,...", "what is logged; '-d help' lists the items",
         handle_log_items},
        {"D", "logfile", "where the log goes [standard error]", handle_log_file},
        {"dfilter", "range,..",
         "guest addresses whose code is logged: start..end, start+size, start-size",
         handle_log_filter},
        {"pidfile", "file", "a file for the process's number", handle_pid_file},
        {"daemonize", "", "go to the background once the machine is ready", handle_daemonize},
        {"nodefaults", "", "no devices but those that other options name", handle_no_defaults},
        {"no-user-config", "", "for callers that give it; there are no such files", handle_nothing},
        {"no-hpet", "", "", handle_nothing},
        {"h", "", "list the options and end", handle_help},
        {"help", "", "list the options and end", handle_help},
        {"version", "", "name the version and end", handle_version},
    });
    return kOptions;
}

}  // namespace rhea::system
