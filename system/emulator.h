// One run of the emulator, from the parsed command line to the exit status.
//
// Main thread. Members stand in the order in which they must be made; they go in the reverse order.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "command_line.h"
#include "daemon.h"
#include "drives.h"
#include "rhea/chardev/chardev_set.h"
#include "monitor_host.h"
#include "rhea/monitor/monitor.h"
#include "rhea/util/event_loop.h"
#include "signals.h"
#include "vm.h"

namespace rhea::system {

class Emulator {
  public:
    Emulator(CommandLine line, std::string program);
    ~Emulator();

    /// Builds everything and runs until shutdown; the exit status, or why it could not start.
    util::Result<int> run();

  private:
    util::Result<void> start();
    util::Result<void> start_log();
    util::Result<void> open_character_devices();
    util::Result<void> open_serials();
    util::Result<void> open_monitors();
    util::Result<void> build_machine();
    util::Result<void> check_machine_options(const core::MachineType& type);
    void start_monitors();
    void tell(std::string_view text);

    CommandLine line_;
    std::string program_;
    Daemon daemon_;
    PidFile pid_file_;
    Signals signals_;
    util::EventLoop loop_;
    chardev::ChardevSet chardevs_;
    Drives drives_;
    Vm vm_;
    MonitorHost monitor_host_;
    std::vector<std::unique_ptr<monitor::Monitor>> monitors_;
    std::vector<core::CharBackend*> monitor_backends_;  ///< monitors start when the machine is there
};

}  // namespace rhea::system
