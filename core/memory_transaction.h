// Collects the address spaces that a change of the memory tree concerns, and rebuilds them at the
// end of the outermost transaction.
//
// The list is process-wide, because AddressSpace::begin_transaction() is; the machine lock, which a
// transaction holds, guards it.
#pragma once
#include "rhea/core/memory.h"

namespace rhea::core {

/// A transaction for a scope.
class MemoryTransaction {
  public:
    MemoryTransaction() { AddressSpace::begin_transaction(); }
    ~MemoryTransaction() { AddressSpace::commit_transaction(); }
    MemoryTransaction(const MemoryTransaction&) = delete;
    MemoryTransaction& operator=(const MemoryTransaction&) = delete;

    /// `space` is rebuilt when the outermost transaction ends. Inside a transaction.
    static void mark_dirty(AddressSpace& space);
    /// `space` is going away.
    static void forget(AddressSpace& space);
};

}  // namespace rhea::core
