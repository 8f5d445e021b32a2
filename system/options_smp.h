// -smp: how many CPUs, and how they are grouped.
#pragma once
#include <string_view>

#include "rhea/core/cpu_topology.h"
#include "rhea/util/result.h"

namespace rhea::system {

/// The topology that `[cpus=]n[,maxcpus=][,sockets=][,dies=][,cores=][,threads=]` describes. What is not given is worked out as QEMU
/// does since its version 6.2: cores before sockets before threads.
util::Result<core::CpuTopology> parse_smp(std::string_view argument);

}  // namespace rhea::system
