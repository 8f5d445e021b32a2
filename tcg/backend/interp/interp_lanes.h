// Masked loads and stores and gathers, element by element: what the interpreter and slow paths do. vCPU thread only.
#pragma once
#include "rhea/tcg/lane_access.h"
#include "tcg/backend/interp/interp_memory.h"

namespace rhea::tcg::interp {

/// Where the guest's registers of a gather are while it runs, by halves.
struct LaneSlots {
    std::uint8_t *data[2] = {}, *mask[2] = {};
};

/// `address`: of masked moves. A load's result goes to area.data, a store's value comes from there. False: a fault, with
/// exception_pending set; a gather's registers then show the elements before the one that faulted as done.
bool access_lanes(Memory &memory, const LaneAccess &access, std::uint64_t address, LaneArea &area, const LaneSlots &slots);

} // namespace rhea::tcg::interp
