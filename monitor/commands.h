// The commands by subject; table.cc joins them.
#pragma once
#include <span>
#include <string>

#include "rhea/monitor/command.h"

namespace rhea::monitor {

std::vector<Command> run_commands();
std::vector<Command> info_commands();
std::vector<Command> memory_commands();
std::vector<Command> log_commands();
std::vector<Command> block_commands();
std::vector<Command> block_info_commands();

/// `help`, `help info`, `help NAME`.
std::string help_text(std::string_view name);

}  // namespace rhea::monitor
