// Generated host code as text that is the same on every run: no addresses, no bytes.
//
// Places in the code that something refers to become labels L1, L2, ... in order of address; what
// lies outside is named by the caller, or "<elsewhere>".
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace rhea::golden {

/// The name of an address outside the code (a thunk, a C++ function), or "" for unknown.
using Namer = std::function<std::string(std::uint64_t)>;

/// What else a listing may know of the code.
struct ListingContext {
    Namer namer;  ///< also asked about 64-bit immediates
    /// The name of a memory operand off rbp by its displacement, or "".
    std::function<std::string(std::int32_t)> frame_namer;
    /// Bytes of data behind a call of this address (`at`: the first of them), which are no code.
    std::function<unsigned(std::uint64_t target, const std::uint8_t* at)> inline_data;
};

struct HostLine {
    std::uint64_t address = 0;
    unsigned label = 0;       ///< stands before the instruction as "L1:"; 0: none
    std::string text;         ///< the instruction without indentation; empty for the end of the code
    std::string target_name;  ///< of a jump or call to a known place outside
    std::uint64_t target = 0; ///< of a jump or call; 0: none
    bool call = false, jump = false, unconditional = false, nop = false, data = false;
};

/// One line an instruction, the last one empty (a label may be there).
std::vector<HostLine> host_lines(std::span<const std::uint8_t> code, std::uint64_t address,
                                 const ListingContext& context);
/// With its label, indented.
std::string format_line(const HostLine& line);

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
