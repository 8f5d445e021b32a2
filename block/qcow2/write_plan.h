// How one piece of a write is done: see Qcow2Node::plan_write().
#pragma once
#include "block/qcow2/node.h"

namespace rhea::block::qcow2 {

struct Qcow2Node::WritePlan {
    enum class Kind : std::uint8_t {
        kInPlace,   ///< all of it lies in clusters that are ours alone
        kReuse,     ///< the clusters are ours, but parts read as zeroes or from the backing file so far
        kAllocate,  ///< new clusters
        kBusy,      ///< another request is placing the first cluster
        kNeedTable, ///< the L2 table must be made or copied first
    };
    Kind kind = Kind::kBusy;
    std::uint64_t guest = 0, length = 0;  ///< the part of the request
    std::uint64_t host = 0;               ///< kInPlace: of `guest`; else of the first cluster
    std::uint64_t clusters = 0;
    std::uint64_t before = 0, after = 0;  ///< bytes around it that are copied with it
    bool before_zero = false, after_zero = false; ///< they read as zeroes
    bool fresh = false;                   ///< the new clusters read as zeroes already
    bool whole_first = false, whole_last = false;
    InFlight *other = nullptr;            ///< kBusy
};

} // namespace rhea::block::qcow2
