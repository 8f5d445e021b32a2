// What rhea-img says of itself: --help, a command's --help, and the man page; all from the table of commands.
#pragma once
#include <string>

#include "tools/img/run.h"

namespace rhea::img {

std::string general_help();
std::string command_help(const Command& command);
/// troff source of rhea-img(1).
std::string man_page();

}  // namespace rhea::img
