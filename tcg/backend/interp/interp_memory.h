// Guest memory as the interpreter sees it: the current window's TLB first, then the run loop's
// callbacks. vCPU thread only; what other vCPUs see is as from generated code (plain accesses;
// atomics are host atomics).
#pragma once
#include "rhea/tcg/backend.h"
#include "tcg/backend/interp/interp_vector.h"

namespace rhea::tcg::interp {

class Memory {
  public:
    Memory(VcpuHead& head, std::uint32_t cold_offset, const MemoryCallbacks& callbacks);

    // All return false on a guest fault: head.exception_pending is set and nothing has changed.
    bool load(std::uint64_t address, unsigned size, unsigned flags, Value& value);
    bool store(std::uint64_t address, unsigned size, unsigned flags, const Value& value);
    bool load_wide(std::uint64_t address, unsigned flags, Value& low, Value& high);
    bool store_wide(std::uint64_t address, unsigned flags, const Value& low, const Value& high);
    bool touch(std::uint64_t address, unsigned size); ///< MemoryCallbacks::touch
    bool check_write(std::uint64_t address, unsigned size, unsigned flags);
    /// `old`: what memory held. a, b: the op's arguments behind the address.
    bool atomic(ir::Op op, std::uint64_t address, unsigned size, std::uint64_t a, std::uint64_t b,
                std::uint64_t& old);

  private:
    /// Host address by the TLB, or null: miss, or the access leaves the page.
    std::uint8_t* lookup(std::uint64_t address, unsigned size, std::uint32_t tag_offset) const;
    bool faulted() const { return head_.exception_pending != 0; }
    bool atomic_exclusive(ir::Op op, std::uint64_t address, unsigned size, std::uint64_t a,
                          std::uint64_t b, std::uint64_t& old);

    VcpuHead& head_;
    const VcpuCold& cold_;
    const MemoryCallbacks& callbacks_;
};

}  // namespace rhea::tcg::interp
