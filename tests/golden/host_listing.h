// Generated host code as text that is the same on every run: no addresses, no bytes.
//
// Places in the code that something refers to become labels L1, L2, ... in order of address; what
// lies outside is named by the caller, or "<elsewhere>".
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace rhea::golden {

/// The name of an address outside the code (a thunk, a C++ function), or "" for unknown.
using Namer = std::function<std::string(std::uint64_t)>;

struct HostListing {
    std::string text;           ///< one instruction a line, labels on lines of their own
    unsigned instructions = 0;  ///< no-ops not counted
    unsigned calls = 0;         ///< host call instructions
    unsigned bytes = 0;
};

/// Lists x86-64 code that runs at `address`. Bytes that are no instruction become ".byte" lines.
/// `namer` is also asked about 64-bit immediates.
HostListing list_host_code(std::span<const std::uint8_t> code, std::uint64_t address,
                           const Namer& namer = {});

}  // namespace rhea::golden
