// The translated side: a real x86 frontend in user mode, with page tables under which the arena lies at its host
// addresses, and an engine that executes the IR.
#pragma once
#include "rhea/core/memory.h"
#include "rhea/target/x86/frontend.h"
#include "rhea/tcg/backend.h"
#include "rhea/tcg/frontend.h"
#include "target/x86/decode/features.h"
#include "tests/diff/arena.h"
#include "tests/diff/engine.h"
#include "tests/diff/snapshot.h"

#include <memory>
#include <string>

namespace rhea::target::x86::diff {

class GuestCpu final : public tcg::VcpuHost {
public:
    GuestCpu(const Arena &arena, FeatureSet features, EngineKind engine);
    ~GuestCpu() override;

    struct How {
        unsigned blocks = 1;        ///< at most
        unsigned insns = 1;         ///< at most in a block
        std::uint64_t end = 0;      ///< stop when this pc is reached
        bool repeats = false;       ///< a repeated string instruction: not to be interrupted
        bool warm = false;          ///< the data pages are in the software TLB: accesses take the inline path
    };
    /// Runs from before.rip on, until a fault or as `how` says.
    Snapshot run(const Snapshot &before, CodeSize size, const How &how);
    /// The IR of the last block.
    std::string ir() const;

    // tcg::VcpuHost: there is no machine round this CPU.
    core::AddressSpace &memory() override { return memory_; }
    core::AddressSpace &io() override { return io_; }
    void flush_tlb(bool) override {}
    void flush_tlb_page(std::uint64_t) override {}
    void switch_address_space(std::uint64_t, std::uint32_t, bool) override {}
    void flush_pcid(std::uint32_t, bool, bool) override {}
    void flush_pcid_page(std::uint32_t, std::uint64_t) override {}
    void mode_changed() override {}
    std::uint32_t requests() const override { return 0; }
    void clear_request(std::uint32_t) override {}
    core::LocalApicPort *apic() override { return nullptr; }
    void request_machine_reset() override {}
    unsigned index() const override { return 0; }
    std::int64_t guest_ns() const override { return 1; }

private:
    static GuestCpu &of(void *state);
    static void load(void *state, std::uint64_t address, unsigned size, unsigned flags, void *data);
    static void store(void *state, std::uint64_t address, unsigned size, unsigned flags, const void *data);
    void disturb_x87();
    static void *probe_write(void *state, std::uint64_t address, unsigned size, unsigned flags);
    static void *find_block(void *state, std::uint64_t pc);

    void make_page_tables();
    void set_tlb(bool warm);
    Snapshot get_state(const Snapshot &before, CodeSize size) const;
    std::uint8_t *ram(std::uint64_t physical) const { return ram_.host() + physical; }
    void poke(std::uint64_t physical, std::uint64_t value);
    /// Host pointer to a byte that may be accessed, or null with the exception raised.
    std::uint8_t *translate(std::uint64_t linear, bool write);

    bool disturb_ = false;
    core::RamBlock ram_;
    std::unique_ptr<core::MemoryRegion> root_, ram_region_, io_root_;
    core::AddressSpace memory_, io_;
    CpuModel model_;
    std::unique_ptr<tcg::GuestFrontend> frontend_;
    FeatureSet features_;
    std::uint8_t *window_;
    CpuState *state_;
    tcg::ir::Block block_;
    std::string problem_; ///< what the verifier says of block_
    std::unique_ptr<Engine> engine_;
};

} // namespace rhea::target::x86::diff
