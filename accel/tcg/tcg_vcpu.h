// A translated vCPU: run loop, slow memory paths, requests.
//
// run() and everything it reaches happens in the vCPU's thread. request(), has_work() and code_written() may come from
// any thread: they leave their wish in atomics and make generated code poll.
#pragma once
#include "accel/tcg/counters.h"
#include "accel/tcg/tlb.h"
#include "rhea/accel/tcg.h"
#include "rhea/core/clock.h"
#include "rhea/core/machine.h"
#include "rhea/core/memory.h"
#include "rhea/core/vcpu.h"
#include "rhea/tcg/block_cache.h"
#include "rhea/tcg/code_memory.h"
#include "rhea/tcg/window_memory.h"

#include <array>
#include <atomic>
#include <mutex>
#include <optional>

namespace rhea::accel {

class TcgVcpu final : public core::Vcpu, public tcg::VcpuHost, public core::CodeWatcher, public core::MemoryListener {
public:
    static util::Result<std::unique_ptr<TcgVcpu>> create(unsigned index, std::unique_ptr<tcg::GuestFrontend> frontend,
                                                         core::AddressSpace &memory, core::AddressSpace &io,
                                                         core::Clocks &clocks, core::MachineRequests &requests,
                                                         const TcgOptions &options);
    ~TcgVcpu() override;

    // core::Vcpu
    core::VcpuExit run() override;
    void request(std::uint32_t bits) override;
    void clear_request(std::uint32_t bits) override;
    bool has_work() override;
    void reset() override;
    void synchronize() override {}
    void serialize(core::Archive &archive) override;
    std::string describe_registers() override;
    std::optional<std::uint64_t> debug_translate(std::uint64_t linear) override;
    void connect_apic(core::LocalApicPort *apic) override { apic_ = apic; }
    core::TscPort *tsc_port() override;
    void set_boot_state(const core::X86BootState &state) override;

    // tcg::VcpuHost
    core::AddressSpace &memory() override { return memory_; }
    core::AddressSpace &io() override { return io_; }
    void flush_tlb(bool keep_global) override { tlb_->flush_all(keep_global); }
    void flush_tlb_page(std::uint64_t linear) override { tlb_->flush_page(linear); }
    void switch_address_space(std::uint64_t root, std::uint32_t pcid, bool keep) override;
    void flush_pcid(std::uint32_t pcid, bool all_pcids, bool keep_global) override;
    void flush_pcid_page(std::uint32_t pcid, std::uint64_t linear) override;
    void mode_changed() override;
    std::uint32_t requests() const override { return pending().load(std::memory_order_acquire); }
    core::LocalApicPort *apic() override { return apic_; }
    void request_machine_reset() override;
    unsigned index() const override { return core::Vcpu::index(); }
    std::int64_t guest_ns() const override { return clocks_.virtual_ns(); }

    // Written to by others.
    void code_written(core::RamBlock &block, core::ram_addr_t offset, std::size_t length) override;
    void view_changed(const core::FlatView &old_view, const core::FlatView &new_view) override;

    const TcgCounters &counters() const { return counters_; }
    std::string describe_jit() const;

private:
    friend struct SlowPaths;
    friend class Lockstep;

    TcgVcpu(unsigned index, std::unique_ptr<tcg::GuestFrontend> frontend, core::AddressSpace &memory, core::AddressSpace &io,
            core::Clocks &clocks, core::MachineRequests &requests, const TcgOptions &options);
    util::Result<void> initialise();

    /// Where a linear address leads for data.
    struct DataPage {
        bool fault = false;                  ///< exception prepared
        core::hwaddr physical = 0;
        std::uint8_t *host = nullptr;        ///< RAM/ROM byte, or null: I/O
        core::RamBlock *block = nullptr;
        bool readonly = false;
        bool free_of_code = false;           ///< a store cannot hit translated code
    };
    DataPage data_page(std::uint64_t linear, tcg::Access access);
    bool known_page(std::uint64_t linear, tcg::Access access, DataPage &page);
    static PageEntry page_entry(std::uint64_t linear, const tcg::Translation &translation, const std::uint8_t *host_page,
                                core::RamBlock &block, std::uint64_t offset, const core::FlatRange &range);
    void fill_tlb(const PageEntry &entry);
    void slow_load(std::uint64_t address, unsigned size, unsigned flags, void *data);
    void slow_store(std::uint64_t address, unsigned size, unsigned flags, const void *data);
    void *probe_write(std::uint64_t address, unsigned size, unsigned flags);
    void *find_block(std::uint64_t pc);
    void load_piece(const DataPage &page, unsigned size, std::uint8_t *data);
    void store_piece(const DataPage &page, unsigned size, const std::uint8_t *data);
    DataPage code_write_page(std::uint64_t address);
    void note_code_write(std::uint64_t address, const DataPage &page);
    /// A store is about to change translated bytes: true when the running block is among them and must be left first.
    void release_x87();
    bool store_hits_code(const DataPage &page, unsigned size);

    // Blocks.
    struct CodePage {
        const std::uint8_t *host = nullptr;  ///< of pc; null: fault prepared, or no RAM
        core::RamBlock *block = nullptr;
        std::uint64_t ram_addr = 0;
        core::hwaddr physical = 0;
        bool fault = false;
    };
    CodePage code_page(std::uint64_t pc, bool raise);
    tcg::TranslationBlock *lookup_block(std::uint64_t pc); ///< null: exception pending or code in no RAM
    tcg::TranslationBlock *translate_block(std::uint64_t pc, const CodePage &page);
    /// Fills ir_ with one instruction at pc that will be run but not kept. False: exception pending.
    bool translate_single(std::uint64_t pc);
    bool compile(tcg::TranslationBlock &block);
    void mark_code_page(const CodePage &page);
    void invalidate(std::uint64_t ram_addr, std::size_t length);
    void page_emptied(std::uint64_t ram_page);
    void drop_all_code();
    std::span<core::RamBlock *const> ram_blocks() const {
        return {ram_blocks_.data(), ram_block_count_.load(std::memory_order_acquire)};
    }
    void note_ram_block(core::RamBlock *block);
    core::RamBlock *ram_block_of(const std::uint8_t *host, std::uint64_t *offset) const;
    void log_block(const tcg::ir::Block &block, const tcg::TranslationBlock *tb, std::uint64_t pc);

    // Run loop.
    std::optional<core::VcpuExit> handle_requests();
    std::optional<core::VcpuExit> outcome(tcg::GuestFrontend::Outcome outcome);
    void join(tcg::ExitSlot &exit, tcg::TranslationBlock &block); ///< the exit led to the block
    std::optional<core::VcpuExit> step();
    std::optional<core::VcpuExit> handle_exception();
    std::optional<core::VcpuExit> run_single();
    void drain_pending();

    std::unique_ptr<tcg::GuestFrontend> frontend_;
    core::AddressSpace &memory_;
    core::AddressSpace &io_;
    core::Clocks &clocks_;
    core::MachineRequests &machine_requests_;
    TcgOptions options_;
    core::LocalApicPort *apic_ = nullptr;

    std::unique_ptr<tcg::WindowMemory> windows_;
    std::unique_ptr<TlbSet> tlb_;
    std::unique_ptr<tcg::CodeMemory> code_;
    std::unique_ptr<tcg::CodeGenerator> generator_;
    std::unique_ptr<tcg::Interpreter> interpreter_;
    std::unique_ptr<tcg::BlockCache> cache_;
    std::unique_ptr<class Lockstep> lockstep_;
    tcg::VcpuHead *head_ = nullptr;
    tcg::VcpuCold *cold_ = nullptr;
    /// All blocks seen in memory views; entries are only ever added.
    std::array<core::RamBlock *, 64> ram_blocks_{};
    std::atomic<unsigned> ram_block_count_{0};
    std::vector<std::uint8_t> single_pages_; ///< page images for translate_single
    tcg::ir::Block ir_;                      ///< scratch for translation
    tcg::CompiledCode compiled_;
    tcg::ExitSlot *last_exit_ = nullptr;     ///< chainable exit that generated code left by
    std::uint32_t running_mode_ = 0;
    bool in_generated_code_ = false;
    const tcg::TranslationBlock *interpreting_ = nullptr; ///< the block that the interpreter runs

    /// Pages with code that are stored to: what the page walk found, as generated code may not have them in its TLB.
    struct CodeWrite {
        std::uint64_t linear_page = ~0ull, window = 0, generation = 0;
        std::uint8_t *host_page = nullptr;
        core::RamBlock *block = nullptr;
    };
    static bool has_code(const CodeWrite &known);
    std::array<CodeWrite, 8> code_writes_{};

    /// core::VcpuRequest bits, where generated code sees them too.
    std::atomic_ref<std::uint32_t> pending() const { return std::atomic_ref<std::uint32_t>(cold_->requests); }
    std::atomic<bool> flush_wanted_{false};
    std::mutex written_mutex_;
    std::vector<std::pair<std::uint64_t, std::size_t>> written_; ///< code bytes changed by other threads
    std::atomic<bool> written_any_{false};
    TcgCounters counters_;
};

} // namespace rhea::accel
