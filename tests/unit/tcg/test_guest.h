// A guest small enough for tests: eight i64 slots, one i32, two v128, MXCSR, and helpers of each
// kind; and a machine that runs blocks on it with the interpreter: 15 pages of RAM, one read-only,
// one that is no RAM.
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "rhea/tcg/backend.h"

namespace rhea::tcg::test {

enum SlotId : Slot { kR0, kR1, kR2, kR3, kR4, kR5, kR6, kR7, kW, kV0, kV1, kMxcsr, kSlotCount };

enum Helper : std::uint16_t {
    kSum,         ///< a + 2b + 3c; touches nothing
    kWriteR1,     ///< r1 = r0 + a
    kMayFault,    ///< faults when a is not 0; returns pc in r-value when not
    kFlagsOut,    ///< flags := a
    kFlagsIn,     ///< returns the flags
    kFlipVector,  ///< v0 inverted
    kFar,         ///< pc := a, or faults when a is 0
    kHelperCount
};

struct TestState {
    VcpuHead head;
    std::uint64_t r[8];
    std::uint32_t w;
    alignas(16) std::uint64_t v[2][2];
    void* machine;
    unsigned raised_vector;
    std::uint64_t raised_error;
    VcpuCold cold;
};

const GuestDescription& test_guest();

inline constexpr std::uint64_t kRam = 0x10000;
inline constexpr std::uint64_t kRamSize = 0x10000;
inline constexpr std::uint64_t kReadOnlyPage = 0x18000;
inline constexpr std::uint64_t kDevicePage =
    0x1f000;  ///< reads give 0x5a bytes; writes are counted
inline constexpr std::uint64_t kCodePage = 0x400000;

class Machine {
  public:
    Machine();
    ~Machine();
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    TestState& state() { return *state_; }
    std::uint32_t flags() const { return compute_flags(state_->head); }
    std::uint8_t* ram(std::uint64_t address) { return ram_.data() + (address - kRam); }
    /// Fresh registers and RAM from the seed; empty TLB.
    void randomize(std::uint64_t seed);
    CodeExit run(const ir::Block& block);
    /// Registers, flags, pc, RAM: empty when equal, else the first difference.
    std::string difference(Machine& other);

    /// What the machine's back ends reach guest memory by.
    static MemoryCallbacks callbacks();
    void flush_tlb();

    unsigned slow_loads = 0, slow_stores = 0, device_writes = 0, exclusive = 0;
    bool flush_on_device_write = false;

  private:
    static Machine& of(void* state) {
        return *static_cast<Machine*>(static_cast<TestState*>(state)->machine);
    }
    static void load(void* state, std::uint64_t address, unsigned size, unsigned flags, void* data);
    static void store(void* state, std::uint64_t address, unsigned size, unsigned flags,
                      const void* data);
    static void* probe_write(void* state, std::uint64_t address, unsigned size, unsigned flags);
    bool byte_allowed(std::uint64_t address, bool write) const;
    bool allowed(std::uint64_t address, unsigned size, unsigned flags, bool write);
    void fill_tlb(std::uint64_t address, bool write);

    std::uint8_t* window_;
    TestState* state_;
    std::vector<std::uint8_t> ram_;
    std::unique_ptr<Interpreter> interpreter_;
};

/// xorshift64*: the same numbers on every host.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed * 2 + 1) {}
    std::uint64_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545f4914f6cdd1dull;
    }
    unsigned below(unsigned n) { return static_cast<unsigned>((next() >> 32) % n); }
    /// Often a value at an edge of some width.
    std::uint64_t interesting() {
        static constexpr std::uint64_t kEdges[] = {0,
                                                   1,
                                                   2,
                                                   0x7f,
                                                   0x80,
                                                   0xff,
                                                   0x100,
                                                   0x7fff,
                                                   0x8000,
                                                   0xffff,
                                                   0x10000,
                                                   0x7fffffff,
                                                   0x80000000,
                                                   0xffffffff,
                                                   0x100000000,
                                                   0x7fffffffffffffff,
                                                   0x8000000000000000,
                                                   0xffffffffffffffff};
        const unsigned kind = below(4);
        if (kind == 0)
            return kEdges[below(std::size(kEdges))];
        if (kind == 1)
            return next() >> below(64);
        return next();
    }

  private:
    std::uint64_t state_;
};

}  // namespace rhea::tcg::test
