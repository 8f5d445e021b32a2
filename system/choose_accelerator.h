// Which accelerator runs the guest: the first of the asked ones that the host can run.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "command_line.h"
#include "tables.h"

namespace rhea::system {

/// Makes the first accelerator of `wanted` (none: the default one) that works. `tell` gets one line
/// for each that does not, and for what `auto` chose and why.
util::Result<std::unique_ptr<core::Accelerator>> choose_accelerator(
    std::span<const AcceleratorOption> wanted, const core::MachineConfig& config,
    std::span<const AcceleratorType> types, const std::function<void(std::string_view)>& tell);

}  // namespace rhea::system
