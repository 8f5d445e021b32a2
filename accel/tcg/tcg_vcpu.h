// A translated vCPU: run loop, slow memory paths, requests.
//
// run() and everything it reaches happens in the vCPU's thread. request(), has_work() and view_changed() may come from
// any thread: they leave their wish in atomics and make generated code poll. What it shares with other vCPUs is in its CodeSpace.
#pragma once
#include "accel/tcg/code_space.h"
#include "accel/tcg/counters.h"
#include "accel/tcg/page_marks.h"
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
#include <optional>

namespace rhea::accel {

class TcgVcpu final : public core::Vcpu, public tcg::VcpuHost, public core::MemoryListener {
public:
    /// `space`: the other vCPUs', or null: makes one.
    static util::Result<std::unique_ptr<TcgVcpu>> create(unsigned index, std::unique_ptr<tcg::GuestFrontend> frontend,
                                                         std::shared_ptr<CodeSpace> &space,
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
    bool alone() override;
    void watching(bool some) override;
    void spin() override;

    // Written to by others.
    void view_changed(const core::FlatView &old_view, const core::FlatView &new_view) override;

    // For CodeSpace.
    GateMember &gate_member() { return *member_; }
    void forget_last_exit() { last_exit_ = nullptr; }
    /// All code is gone, or much of it. Any thread, while the vCPU is not inside.
    void forget_code() {
        tlb_->flush_jump_caches();
        last_exit_ = nullptr;
    }

    const TcgCounters &counters() const { return counters_; }
    std::string describe_jit() const;

private:
    friend struct SlowPaths;
    friend class Lockstep;

    TcgVcpu(unsigned index, std::unique_ptr<tcg::GuestFrontend> frontend, core::AddressSpace &memory, core::AddressSpace &io,
            core::Clocks &clocks, core::MachineRequests &requests, const TcgOptions &options);
    util::Result<void> initialise(std::shared_ptr<CodeSpace> &space);
    /// Runs `body` while no other vCPU is inside the gate.
    void exclusive(const std::function<void()> &body);

    /// Where a linear address leads for data.
    struct DataPage {
        bool fault = false;                  ///< exception prepared
        core::hwaddr physical = 0;
        std::uint8_t *host = nullptr;        ///< RAM/ROM byte, or null: I/O
        core::RamBlock *block = nullptr;
        bool readonly = false;
        bool free_of_code = false;           ///< a store cannot hit translated code
        bool is_ram() const { return host && !readonly; }
    };
    DataPage data_page(std::uint64_t linear, tcg::Access access);
    bool known_page(std::uint64_t linear, tcg::Access access, DataPage &page);
    static PageEntry page_entry(std::uint64_t linear, const tcg::Translation &translation, const std::uint8_t *host_page,
                                core::RamBlock &block, std::uint64_t offset, const core::FlatRange &range);
    void fill_tlb(const PageEntry &entry);
    /// An access to a page that the guest watches: may it be done now? False: exception_pending is set.
    bool may_access(std::uint64_t address, unsigned size, bool write);
    void slow_load(std::uint64_t address, unsigned size, unsigned flags, void *data);
    void slow_store(std::uint64_t address, unsigned size, unsigned flags, const void *data);
    void *probe_write(std::uint64_t address, unsigned size, unsigned flags);
    void *find_block(std::uint64_t pc);
    void load_piece(const DataPage &page, unsigned size, std::uint8_t *data);
    bool may_have_code(const DataPage &page) const;
    /// The instruction is started again while everybody else stands still; false: they do already.
    bool ask_to_be_alone();
    void store_piece(const DataPage &page, unsigned size, const std::uint8_t *data);
    DataPage code_write_page(std::uint64_t address);
    void note_code_write(std::uint64_t address, const DataPage &page);
    void note_code_page(std::uint64_t address, unsigned size, const DataPage &page);
    /// A store is about to change translated bytes: true when the running block is among them and must be left first.
    void release_x87();
    bool store_hits_code(const DataPage &page, unsigned size); ///< with the space's lock held

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
    tcg::TranslationBlock *translate_block(std::uint64_t pc, const CodePage &page, bool hot = false);
    tcg::TranslationBlock *translate_hot(std::uint64_t pc, tcg::TranslationBlock *block);
    class Source;
    enum class Translated : std::uint8_t { kDone, kFault, kAgain, kNoRoom };
    Translated try_translate(std::uint64_t pc, const CodePage &page, bool hot, std::int64_t now, tcg::TranslationBlock *&result);
    /// `ram_addr`: of the block's first byte, and of the second page's where it crosses a page, else ~0.
    Translated publish(Source &source, std::uint64_t pc, std::array<std::uint64_t, 2> ram_addr, tcg::TranslationBlock *&result);
    tcg::TranslateStatus make_ir(Source &source, unsigned max_insns, bool hot);
    /// Fills ir_ with one instruction at pc that will be run but not kept. False: exception pending.
    bool translate_single(std::uint64_t pc);
    void optimise();
    std::unique_ptr<tcg::TranslationBlock> compile(); ///< of ir_, with the space's lock held; null: no room
    void mark_code_page(const CodePage &page);
    void revoke_write(const std::uint8_t *host_page);
    bool invalidate(std::uint64_t ram_addr, std::size_t length); ///< with the space's lock held; true: there was something
    void note_overwritten(std::uint64_t ram_page); ///< with the space's lock held
    void drop_all_code();
    void make_room();
    core::RamBlock *ram_block_of(const std::uint8_t *host, std::uint64_t *offset) const;
    void log_block(const tcg::ir::Block &block, const tcg::TranslationBlock *tb, std::uint64_t pc);

    // Run loop.
    std::optional<core::VcpuExit> handle_requests();
    std::optional<core::VcpuExit> outcome(tcg::GuestFrontend::Outcome outcome);
    void join(tcg::ExitSlot &exit, tcg::TranslationBlock &block); ///< the exit led to the block
    std::optional<core::VcpuExit> step();
    std::optional<core::VcpuExit> handle_exception();
    bool restore_precise_state(); ///< pc and flags at the exception that generated code met; false: a bug
    bool deliver_quickly();
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
    std::shared_ptr<CodeSpace> space_;
    PageMarks stored_pages_; ///< that have, or had, a write entry
    std::unique_ptr<GateMember> member_;
    tcg::CodeMemory *code_ = nullptr;           ///< space_'s, as the next two
    tcg::CodeGenerator *generator_ = nullptr;
    tcg::BlockCache *cache_ = nullptr;
    std::unique_ptr<tcg::Interpreter> interpreter_;
    std::unique_ptr<class Lockstep> lockstep_;
    tcg::VcpuHead *head_ = nullptr;
    tcg::VcpuCold *cold_ = nullptr;
    std::vector<std::uint8_t> single_pages_; ///< page images for translate_single
    tcg::ir::Block ir_;                      ///< scratch for translation
    std::unique_ptr<tcg::ir::Block> made_ir_; ///< with check=interp: ir_ before the passes
    tcg::CompiledCode compiled_;
    std::uint64_t hot_pc_ = ~0ull;           ///< where generated code found that a loop turns often
    tcg::ExitSlot *last_exit_ = nullptr;     ///< chainable exit that generated code left by
    bool in_generated_code_ = false;
    bool alone_ = false;    ///< no other vCPU runs
    bool watching_ = false; ///< the frontend has watched pages
    unsigned spins_ = 0;
    std::vector<std::uint8_t> source_pages_; ///< the bytes that a block is made of
    std::vector<tcg::ir::CodeField> patched_; ///< and which of its page are stored to often
    const tcg::TranslationBlock *interpreting_ = nullptr; ///< the block that the interpreter runs

    /// Pages with code that are stored to: what the page walk found, as generated code may not have them in its TLB.
    struct CodeWrite {
        std::uint64_t linear_page = ~0ull, window = 0, generation = 0;
        std::uint8_t *host_page = nullptr;
        core::RamBlock *block = nullptr;
    };
    static bool has_code(const CodeWrite &known);
    std::array<CodeWrite, 8> code_writes_{};

    std::uint64_t overwritten_page_ = ~0ull; ///< page of RAM whose blocks stores hit lately
    unsigned overwritten_ = 0;               ///< how many, since something was translated there

    /// core::VcpuRequest bits, where generated code sees them too.
    std::atomic_ref<std::uint32_t> pending() const { return std::atomic_ref<std::uint32_t>(cold_->requests); }
    std::atomic<bool> flush_wanted_{false};
    TcgCounters counters_;
};

} // namespace rhea::accel
