// The command line: what every option said, checked for form.
//
// Handlers (options_*.cc) fill it in; start.cc acts on it. A plain value.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "drive_options.h"
#include "rhea/core/machine.h"
#include "rhea/util/option_list.h"
#include "rhea/util/result.h"

namespace rhea::system {

struct AcceleratorOption {
    std::string name;
    util::OptionList::Pairs properties;
};

struct CommandLine {
    core::MachineConfig config;
    std::vector<AcceleratorOption> accelerators;

    std::vector<DriveSpec> drives;             ///< -drive, -hda, -cdrom
    std::vector<block::NodeOptions> blockdevs; ///< -blockdev
    std::vector<block::NodeOptions> objects;   ///< -object: "qom-type", "id", …
    bool snapshot = false;

    std::vector<util::OptionList> chardevs;
    std::vector<std::string> serials;         ///< short forms, "none" included
    std::vector<std::string> monitors;        ///< short forms
    std::vector<std::string> monitor_chardevs; ///< -mon chardev=ID
    std::optional<std::string> debugcon;      ///< short form
    bool default_serial = true, default_monitor = true;
    bool nographic = false;
    std::uint8_t escape = 1;

    bool start_stopped = false;
    bool daemonize = false;
    std::string pid_file;
    std::string log_items, log_file, log_filter;

    /// -help, -version, -machine help, ...: print this and leave with status 0.
    std::optional<std::string> print_and_exit;
};

/// One option: `-name` or `-name argument`.
struct Option {
    std::string_view name;
    std::string_view argument;  ///< how help writes it; empty: takes none
    std::string_view help;      ///< lines; empty: not listed (an old spelling)
    util::Result<void> (*handle)(CommandLine& command_line, std::string_view argument);
};

/// The options, by room.
std::span<const Option> machine_options();
std::span<const Option> boot_options();
std::span<const Option> character_options();
std::span<const Option> drive_options();
std::span<const Option> run_options();

/// Options of QEMU that this version refuses, each with what to do instead.
struct RefusedOption {
    std::string_view name;
    std::string_view reason;
};
std::span<const RefusedOption> refused_options();

/// Parses the arguments behind the program's name; the sentence of a failure starts with the option as typed.
util::Result<CommandLine> parse_command_line(std::span<const char* const> arguments);

/// The text of -help, and of the man page's option section (troff).
std::string option_help(std::string_view program);
std::string option_manual();

}  // namespace rhea::system
