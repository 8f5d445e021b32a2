// Hammers a device with random accesses: whatever a guest does, the emulator must survive, and the
// state that it leaves must save and restore.
//
// The seed is printed; RHEA_FUZZ_SEED repeats a run, RHEA_FUZZ_STEPS sets the number of accesses
// (50,000 unless told).
#pragma once
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "rhea/core/archive.h"
#include "rhea/core/device.h"
#include "rhea/core/memory.h"

namespace rhea::test {

struct FuzzRange {
    core::AddressSpace& space;
    core::hwaddr base = 0;
    std::uint64_t size = 1;
    unsigned largest = 4;  ///< access sizes are powers of two up to this
};

using FuzzRandom = std::mt19937_64;

/// Random reads and writes in `ranges`; `between` runs after each with the same random source (let
/// time pass, move interrupt lines).
void hammer(const std::string& name, const std::vector<FuzzRange>& ranges,
            const std::function<void(FuzzRandom&)>& between = {});

/// Saves `from`, restores into `to` and saves that: both must be the same bytes. Also restores
/// damaged copies into `to`, which may fail but must not crash.
void expect_state_round_trip(core::Device& from, core::Device& to);

}  // namespace rhea::test
