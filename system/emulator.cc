#include "emulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <new>

#include "choose_accelerator.h"
#include "rhea/core/machine_lock.h"
#include "rhea/util/log.h"
#include "tables.h"

namespace rhea::system {
namespace {

using util::fail;
using util::Result;

/// " (comm)" of a process, for "terminating on signal".
std::string process_name(int pid) {
    std::ifstream file(fmt::format("/proc/{}/comm", pid));
    std::string name;
    return std::getline(file, name) ? fmt::format(" ({})", name) : "";
}

}  // namespace

Emulator::Emulator(CommandLine line, std::string program)
    : line_(std::move(line)), program_(std::move(program)),
      chardevs_(loop_, {.quit = [this] { vm_.request_shutdown(core::ShutdownCause::kHostQuit); },
                        .announce =
                            [](std::string_view text) {
                                fmt::print("{}\n", text);
                                std::fflush(stdout);
                            }}),
      drives_(loop_),
      vm_(loop_, {line_.config.no_reboot, line_.config.no_shutdown},
          [this](std::string_view text) { tell(text); }),
      monitor_host_(vm_, chardevs_, drives_) {
    drives_.on_io_error = [this](const util::Error& error) { vm_.request_io_error(error.message()); };
    vm_.set_run_hooks([this] { drives_.quiesce(); }, [this] { drives_.resume(); });
}

Emulator::~Emulator() {
    vm_.end();
    monitors_.clear();
    drives_.close();
    chardevs_.close();
}

void Emulator::tell(std::string_view text) {
    fmt::print(stderr, "{}: {}\n", program_, text);
}

Result<void> Emulator::start_log() {
    if (!line_.log_file.empty()) {
        if (auto done = util::set_log_file(line_.log_file); !done) {
            return fail(done.error().within("-D " + line_.log_file));
        }
    }
    if (!line_.log_filter.empty()) {
        util::set_log_ranges(util::parse_log_ranges(line_.log_filter).value());
    }
    if (!line_.log_items.empty()) {
        util::set_log_mask(util::parse_log_items(line_.log_items).value());
    }
    return {};
}

// ---- character devices ----------------------------------------------------------------------

Result<void> Emulator::open_character_devices() {
    chardevs_.set_escape(line_.escape);
    for (util::OptionList& options : line_.chardevs) {
        if (auto added = chardevs_.add(std::move(options)); !added) {
            return fail(added.error().within("-chardev"));
        }
    }
    // QEMU's defaults: with -nographic the terminal carries serial port and monitor, or what of the
    // two nothing else was said about; without it both go to windows, which a run without display
    // does not have.
    if (line_.nographic && line_.default_serial && line_.default_monitor) {
        line_.serials.emplace_back("mon:stdio");
    } else if (line_.nographic && line_.default_serial) {
        line_.serials.emplace_back("stdio");
    } else if (line_.nographic && line_.default_monitor) {
        line_.monitors.emplace_back("stdio");
    } else if (line_.default_serial) {
        line_.serials.emplace_back("vc");
    }
    if (auto done = open_serials(); !done) {
        return done;
    }
    if (line_.debugcon) {
        auto backend = chardevs_.open_short(*line_.debugcon, "debugcon");
        if (!backend) {
            return fail(backend.error().within("-debugcon " + *line_.debugcon));
        }
        line_.config.debugcon = *backend;
    }
    return open_monitors();
}

Result<void> Emulator::open_serials() {
    for (std::size_t i = 0; i < line_.serials.size(); ++i) {
        const std::string id = fmt::format("serial{}", i);
        bool with_monitor = false;
        auto backend = chardevs_.open_short(line_.serials[i], id, &with_monitor);
        if (!backend) {
            return fail(backend.error().within("-serial " + line_.serials[i]));
        }
        line_.config.serials.push_back(*backend);
        if (with_monitor) {
            auto port = chardevs_.claim(id);
            if (!port) {
                return fail(port.error());
            }
            monitor_backends_.push_back(*port);
        }
    }
    return {};
}

Result<void> Emulator::open_monitors() {
    for (std::size_t i = 0; i < line_.monitors.size(); ++i) {
        auto backend = chardevs_.open_short(line_.monitors[i], fmt::format("compat_monitor{}", i));
        if (!backend) {
            return fail(backend.error().within("-monitor " + line_.monitors[i]));
        }
        if (*backend) {
            monitor_backends_.push_back(*backend);
        }
    }
    for (const std::string& id : line_.monitor_chardevs) {
        auto backend = chardevs_.claim(id);
        if (!backend) {
            return fail(backend.error().within("-mon chardev=" + id));
        }
        monitor_backends_.push_back(*backend);
    }
    return {};
}

void Emulator::start_monitors() {
    for (core::CharBackend* backend : monitor_backends_) {
        auto* port = dynamic_cast<chardev::MuxPort*>(backend);
        const bool waits = port && !port->focused();
        auto monitor = std::make_unique<monitor::Monitor>(loop_, monitor_host_, *backend, waits);
        if (port) {
            port->set_focus_handler(
                [monitor = monitor.get()](bool focused) { monitor->set_focus(focused); });
        }
        monitors_.push_back(std::move(monitor));
    }
}

// ---- machine --------------------------------------------------------------------------------

Result<void> Emulator::build_machine() {
    const auto type = find_machine(line_.config.machine);
    if (!type) {
        return fail(type.error());
    }
    if (auto done = check_machine_options(*type); !done) {
        return done;
    }
    auto accelerator = choose_accelerator(line_.accelerators, line_.config, accelerator_types(),
                                          [this](std::string_view text) { tell(text); });
    if (!accelerator) {
        return fail(accelerator.error());
    }
    line_.config.claim_chardev = [this](std::string_view id) { return chardevs_.claim(id); };
    auto machine = type->create(line_.config, vm_);
    {
        const core::MachineLockGuard lock;
        try {
            if (auto done = machine->build(**accelerator); !done) {
                return done;
            }
        } catch (const std::bad_alloc&) {
            return fail("cannot set up {} MiB of guest memory: not that much is available",
                        line_.config.ram_size >> 20);
        }
    }
    for (const core::GlobalProperty& global : machine->unused_globals()) {
        const std::string what = fmt::format("-global {}.{}", global.driver, global.property);
        const auto known = find_device(global.driver);
        if (!known) {
            return fail("{}: machine '{}' has no such device: {}", what, line_.config.machine, known.error().message());
        }
        // A device of a known type may come later, by device_add.
        if (const auto name = std::string((*known)->create(*machine)->type()); name != global.driver) {
            return fail("{}: that is another name of '{}'; write -global {}.{}", what, name, name, global.property);
        }
    }
    if (auto done = drives_.check_claimed(line_.config); !done) {
        return done;
    }
    vm_.adopt(std::move(*accelerator), std::move(machine));
    return {};
}

/// Leaves those in the configuration that are the machine's own.
Result<void> Emulator::check_machine_options(const core::MachineType& type) {
    util::OptionList::Pairs own;
    for (auto& [key, value] : line_.config.machine_options) {
        const auto matches = [&](const auto& each) { return each.name == key; };
        if (const auto property = std::ranges::find_if(type.properties, matches); property != type.properties.end()) {
            const bool is_auto = value == "auto" && property->type == "OnOffAuto";
            if (!is_auto && !util::parse_bool(value)) {
                return fail("-machine: {} takes on{} off, not '{}'", key, property->type == "bool" ? " or" : ", auto or", value);
            }
            own.emplace_back(key, value);
            continue;
        }
        const auto known = std::ranges::find_if(machine_settings(), matches);
        if (known == machine_settings().end()) {
            return fail("-machine: machine option '{}' is not in this version of Rhea; -machine {},help lists those that are", key,
                        line_.config.machine);
        }
        if (!known->value.empty() && value != known->value) {
            return fail("-machine: {}={} is not in this version of Rhea; {}={} is", key, value, key, known->value);
        }
    }
    line_.config.machine_options = std::move(own);
    return {};
}

// ---- the run --------------------------------------------------------------------------------

Result<void> Emulator::start() {
    if (line_.daemonize) {
        if (auto done = daemon_.detach(); !done) {
            return done;
        }
    }
    if (auto done = start_log(); !done) {
        return done;
    }
    if (auto done = open_character_devices(); !done) {
        return done;
    }
    if (auto done = drives_.open(line_); !done) {
        return done;
    }
    // From here on nothing waits for long: a signal is the main loop's to handle.
    signals_.watch(loop_, [this](int signal, int sender) {
        tell(sender != 0 ? fmt::format("terminating on signal {} from pid {}{}", signal, sender,
                                       process_name(sender))
                         : fmt::format("terminating on signal {}", signal));
        vm_.request_shutdown(core::ShutdownCause::kHostSignal);
    });
    if (auto done = build_machine(); !done) {
        return done;
    }
    start_monitors();
    if (!line_.pid_file.empty()) {
        if (auto done = pid_file_.write(line_.pid_file); !done) {
            return fail(done.error().within("-pidfile"));
        }
    }
    return {};
}

Result<int> Emulator::run() {
    if (auto done = start(); !done) {
        return fail(done.error());
    }
    daemon_.report_ready();
    if (!line_.start_stopped) {
        if (auto done = vm_.cont(); !done) {
            return fail(done.error());
        }
    }
    loop_.run();
    return vm_.exit_status();
}

}  // namespace rhea::system
