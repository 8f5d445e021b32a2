// The translated side as a machine has it: a vCPU with the accelerator's own run loop, code cache, chains, jump caches and TLB. User
// code runs in it as under an operating system; whatever ends it comes through the IDT to a handler that halts.
#pragma once
#include "rhea/core/clock.h"
#include "rhea/core/machine.h"
#include "rhea/core/memory.h"
#include "rhea/core/vcpu.h"
#include "target/x86/decode/features.h"
#include "tests/diff/arena.h"
#include "tests/diff/snapshot.h"

#include <memory>
#include <span>
#include <string>

namespace rhea::core {
class Accelerator;
}

namespace rhea::target::x86::diff {

class MachineCpu {
public:
    explicit MachineCpu(bool interpret);
    ~MachineCpu();
    MachineCpu(const MachineCpu &) = delete;
    MachineCpu &operator=(const MachineCpu &) = delete;

    /// What the CPU's model can decode.
    static FeatureSet features();

    struct How {
        bool cold = false;      ///< the TLB and jump caches are empty
        WatchPoint watch;       ///< where an access is #DB
        unsigned heat = 4096;   ///< turns after which loops are translated again, 4096 (as it is in a machine) or fewer
    };
    /// The writable pages of the arena, here.
    std::uint8_t *data() const { return ram_.host() + kFrames + kCodeSize; }
    std::uint8_t *code_page() const { return ram_.host() + kFrames; }
    /// Puts code to kStart, as a device would: what was translated of the bytes before is dropped.
    void write_code(std::span<const std::uint8_t> code);
    /// Runs from before.rip on until something comes through the IDT. INT3 is Ending::kDone, with the address of the INT3.
    Snapshot run(const Snapshot &before, CodeSize size, const How &how);
    /// Of the last run: what the exception's frame has as its error code, or 0.
    std::uint32_t error_code() const { return error_code_; }
    /// Blocks translated so far.
    std::uint64_t blocks() const;
    /// That and more in the accelerator's words.
    std::string statistics() const;

private:
    class Spy;
    class Requests final : public core::MachineRequests {
    public:
        void request_shutdown(core::ShutdownCause, int) override {}
        void request_reset(core::ShutdownCause) override {}
        void request_work(std::function<void()>) override {}
    };

    static constexpr std::uint64_t kRamSize = 1 << 20, kFrames = 0x10000;
    void poke(std::uint64_t physical, std::uint64_t value);
    void make_page_tables();
    void make_handlers();
    Snapshot collect(const Snapshot &before);

    core::RamBlock ram_;
    std::unique_ptr<core::MemoryRegion> root_, ram_region_, io_root_;
    core::AddressSpace memory_, io_;
    core::Clocks clocks_;
    Requests requests_;
    std::unique_ptr<core::Accelerator> accelerator_;
    std::unique_ptr<core::Vcpu> vcpu_;
    CpuState *state_ = nullptr;
    std::uint32_t error_code_ = 0;
};

} // namespace rhea::target::x86::diff
