// The run loop. Each turn: pending work of others, requests, then a block; what the block came back for; again.
#include "accel/tcg/tcg_vcpu.h"

#include "accel/tcg/lockstep.h"
#include "accel/tcg/slow_paths.h"
#include "rhea/util/log.h"

#include <fmt/format.h>
#include <sched.h>

namespace rhea::accel {

using namespace tcg;

TcgVcpu::TcgVcpu(unsigned index, std::unique_ptr<GuestFrontend> frontend, core::AddressSpace &memory,
                 core::AddressSpace &io, core::Clocks &clocks, core::MachineRequests &requests, const TcgOptions &options)
    : core::Vcpu(index), frontend_(std::move(frontend)), memory_(memory), io_(io), clocks_(clocks),
      machine_requests_(requests), options_(options) {}

TcgVcpu::~TcgVcpu() {
    memory_.remove_listener(*this);
    io_.remove_listener(*this);
    if (space_ && member_)
        space_->remove(*this, *member_);
}

util::Result<std::unique_ptr<TcgVcpu>> TcgVcpu::create(unsigned index, std::unique_ptr<GuestFrontend> frontend,
                                                       std::shared_ptr<CodeSpace> &space, core::AddressSpace &memory,
                                                       core::AddressSpace &io, core::Clocks &clocks, core::MachineRequests &requests,
                                                       const TcgOptions &options) {
    std::unique_ptr<TcgVcpu> vcpu(
        new TcgVcpu(index, std::move(frontend), memory, io, clocks, requests, options));
    if (auto done = vcpu->initialise(space); !done)
        return util::fail(done.error());
    return vcpu;
}

util::Result<void> TcgVcpu::initialise(std::shared_ptr<CodeSpace> &space) {
    auto windows = WindowMemory::create(kWindows);
    if (!windows)
        return util::fail(windows.error());
    windows_ = std::move(*windows);
    head_ = static_cast<VcpuHead *>(windows_->state());
    head_->canonical_state = reinterpret_cast<std::uint64_t>(head_);
    cold_ = reinterpret_cast<VcpuCold *>(reinterpret_cast<std::uint8_t *>(head_) + frontend_->cold_offset());
    cold_->vcpu = reinterpret_cast<std::uint64_t>(this);
    tlb_ = std::make_unique<TlbSet>(windows_->window_address(0), windows_->window_count(), *cold_);

    interpreter_ = std::make_unique<Interpreter>(frontend_->description(), frontend_->cold_offset(), SlowPaths::callbacks());
    if (!space) {
        auto made = CodeSpace::create(options_, frontend_->description(), frontend_->cold_offset());
        if (!made)
            return util::fail(made.error());
        space = std::move(*made);
    }
    space_ = space;
    code_ = space_->code();
    generator_ = space_->generator();
    cache_ = &space_->cache();
    member_ = std::make_unique<GateMember>(core::Vcpu::index(), head_->exit_request,
                                           [this](const std::uint8_t *host_page) { revoke_write(host_page); });
    space_->add(*this, *member_);
    if (options_.check_interp)
        lockstep_ = std::make_unique<Lockstep>(*this);
    frontend_->attach(head_, *this);
    memory_.add_listener(*this);
    return {};
}

// ---- requests ------------------------------------------------------------------------------------------------------

void TcgVcpu::request(std::uint32_t bits) {
    pending().fetch_or(bits, std::memory_order_acq_rel);
    std::atomic_ref<std::uint32_t>(head_->exit_request).store(1, std::memory_order_release);
    wake();
}

void TcgVcpu::clear_request(std::uint32_t bits) { pending().fetch_and(~bits, std::memory_order_acq_rel); }

bool TcgVcpu::has_work() { return (requests() & core::kRequestExit) || frontend_->has_work(); }

void TcgVcpu::reset() {
    pending().store(0, std::memory_order_release);
    frontend_->reset();
    tlb_->flush_all(false);
    mode_changed();
}

void TcgVcpu::serialize(core::Archive &archive) {
    frontend_->serialize(archive);
    if (archive.restoring()) {
        drop_all_code(); // RAM was replaced behind the translations' back
        tlb_->flush_all(false);
        mode_changed();
    }
}

std::string TcgVcpu::describe_registers() { return frontend_->describe_registers(); }

std::optional<std::uint64_t> TcgVcpu::debug_translate(std::uint64_t linear) {
    constexpr unsigned kKernelWithAc = 2; // sees user pages too
    Translation translation;
    linear = frontend_->wrap(linear);
    if (!frontend_->canonical(linear) ||
        !frontend_->walk(linear, Access::kRead, kKernelWithAc, false, translation))
        return std::nullopt;
    return translation.physical;
}

core::TscPort *TcgVcpu::tsc_port() { return frontend_->tsc_port(); }

void TcgVcpu::set_boot_state(const core::X86BootState &state) {
    frontend_->set_boot_state(state);
    mode_changed();
}

void TcgVcpu::request_machine_reset() { machine_requests_.request_reset(core::ShutdownCause::kGuestReset); }

void TcgVcpu::switch_address_space(std::uint64_t, std::uint32_t pcid, bool keep) {
    tlb_->switch_context(pcid, keep);
}

void TcgVcpu::flush_pcid(std::uint32_t pcid, bool all_pcids, bool keep_global) {
    if (all_pcids)
        tlb_->flush_all(keep_global);
    else
        tlb_->flush_context(pcid, keep_global);
}

void TcgVcpu::flush_pcid_page(std::uint32_t pcid, std::uint64_t linear) { tlb_->flush_context_page(pcid, linear); }

void TcgVcpu::mode_changed() { tlb_->select(frontend_->mode()); }

// ---- the loop --------------------------------------------------------------------------------------------------------

std::optional<core::VcpuExit> TcgVcpu::outcome(GuestFrontend::Outcome outcome) {
    switch (outcome) {
    case GuestFrontend::Outcome::kRun:
        return std::nullopt;
    case GuestFrontend::Outcome::kHalt:
        return core::vcpu_exit::Halted{};
    case GuestFrontend::Outcome::kShutdown:
        return core::vcpu_exit::Shutdown{};
    case GuestFrontend::Outcome::kDebug:
        return core::vcpu_exit::Debug{head_->pc};
    }
    return std::nullopt;
}

void TcgVcpu::drain_pending() {
    space_->gate().pass(*member_);
    if (flush_wanted_.exchange(false, std::memory_order_acq_rel))
        tlb_->flush_all(false);
}

std::optional<core::VcpuExit> TcgVcpu::handle_requests() {
    std::atomic_ref<std::uint32_t>(head_->exit_request).store(0, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    drain_pending();
    if (requests() & core::kRequestExit) {
        clear_request(core::kRequestExit);
        return core::vcpu_exit::Interrupted{};
    }
    return outcome(frontend_->check_requests());
}

namespace {

struct Inside {
    Inside(VcpuGate &gate, GateMember &member) : gate(gate), member(member) { gate.enter(member); }
    ~Inside() { gate.leave(member); }
    Inside(const Inside &) = delete;
    VcpuGate &gate;
    GateMember &member;
};

} // namespace

core::VcpuExit TcgVcpu::run() {
    core::ViewGuard guard;
    SlowPaths::Scope scope(*this);
    set_current(this);
    const Inside inside(space_->gate(), *member_);
    last_exit_ = nullptr;
    mode_changed();
    if (head_->exception_pending) { // an event that a restored state brought
        cold_->slow_site = 0;
        if (auto exit = handle_exception())
            return *exit;
    }
    if (auto exit = handle_requests())
        return *exit;
    for (;;) {
        // What leaves to be chained has changed nothing that could admit a masked interrupt: once chained nobody asks there either. (A
        // boot loader enters Linux with one pending, and Linux unpacks itself with interrupts off.)
        const bool asks = last_exit_ == nullptr && requests() != 0;
        if (std::atomic_ref<std::uint32_t>(head_->exit_request).load(std::memory_order_acquire) != 0 || asks) {
            last_exit_ = nullptr;
            if (auto exit = handle_requests())
                return *exit;
            core::ViewGuard::quiescent();
        }
        if (auto exit = step())
            return *exit;
    }
}

void TcgVcpu::join(ExitSlot &exit, TranslationBlock &block) {
    const auto held = space_->lock();
    if (util::log_enabled(util::kLogNoChain) || !exit.source || !exit.source->valid || exit.source->mode != block.mode ||
        ((exit.source->ram_addr ^ block.ram_addr) & core::kPageMask) != 0)
        return;
    // Same page and one page only: the two blocks stay together under any mapping.
    if (block.ram_addr2 == ~0ull) {
        cache_->chain(exit, block);
        TcgCounters::bump(counters_.chained);
    } else {
        exit.through_cache = true;
    }
}

std::optional<core::VcpuExit> TcgVcpu::step() {
    if (space_->wants_collection()) [[unlikely]] {
        last_exit_ = nullptr; // its block may be among what goes
        exclusive([this] {
            const auto held = space_->lock();
            cache_->collect_garbage();
        });
    }
    TranslationBlock *block = lookup_block(head_->pc);
    if (!block) {
        last_exit_ = nullptr;
        if (head_->exception_pending)
            return handle_exception();
        return run_single(); // code in no RAM: one instruction at a time, by the interpreter
    }
    if (std::exchange(hot_pc_, ~0ull) == head_->pc && !(block = translate_hot(head_->pc, block)))
        return std::nullopt;
    if (last_exit_) {
        join(*last_exit_, *block);
        last_exit_ = nullptr;
    }
    head_->pc_page = head_->pc & core::kPageMask;
    if (util::log_enabled_at(util::kLogCpu, head_->pc))
        util::log_write(util::kLogCpu, "{}", frontend_->describe_registers());
    if (util::log_enabled_at(util::kLogExec, head_->pc))
        util::log_write(util::kLogExec, "Trace {}: {:016x} mode {:x}\n", index(), head_->pc, block->mode);
    CodeExit exit;
    cold_->slow_site = 0;
    TcgCounters::bump(counters_.exits);
    if (lockstep_) {
        exit = lockstep_->run(*block);
        if (!lockstep_->mismatch().empty())
            return core::vcpu_exit::InternalError{lockstep_->mismatch()};
    } else if (block->entry) {
        const TimeInto timer(&counters_.run_ns);
        in_generated_code_ = true;
        exit = generator_->enter(head_, block->entry);
        in_generated_code_ = false;
    } else {
        TcgCounters::bump(counters_.interpreted);
        if (options_.count)
            cold_->stat_insns += block->guest_insns;
        interpreting_ = block;
        exit = interpreter_->run(head_, *block->ir);
        interpreting_ = nullptr;
    }
    if (exit != CodeExit::kException)
        cold_->slow_site = 0; // pc is set; what a helper left here must not be taken for the site of a later fault
    switch (exit) {
    case CodeExit::kHot:
        hot_pc_ = head_->pc;
        return std::nullopt;
    case CodeExit::kNext:
        return std::nullopt;
    case CodeExit::kChain:
        last_exit_ = reinterpret_cast<ExitSlot *>(cold_->exit_site);
        return std::nullopt;
    case CodeExit::kState:
        cold_->slow_site = 0; // pc and flags are in place; an earlier call of the block left this behind
        mode_changed();
        return head_->exception_pending ? handle_exception() : std::nullopt;
    case CodeExit::kException:
        return handle_exception();
    }
    return std::nullopt;
}

bool TcgVcpu::restore_precise_state() {
    if (cold_->slow_site != 0 && generator_) {
        const auto held = space_->lock();
        const TranslationBlock *block = cache_->find_by_host_pc(cold_->slow_site);
        if (block && !generator_->restore_state(head_, *block, cold_->slow_site))
            return false;
        cold_->slow_site = 0;
    }
    return true;
}

/// From generated code, which then goes on with the handler.
bool TcgVcpu::deliver_quickly() {
    if (head_->exception_pending >= kRestartAlone || lockstep_ || !restore_precise_state() || !frontend_->deliver_quickly())
        return false;
    TcgCounters::bump(counters_.exceptions);
    return true;
}

std::optional<core::VcpuExit> TcgVcpu::handle_exception() {
    if (!restore_precise_state())
        return core::vcpu_exit::InternalError{fmt::format("no side table record for host pc {:#x}", cold_->slow_site)};
    if (head_->exception_pending == kRestartSingle) {
        head_->exception_pending = 0;
        TcgCounters::bump(counters_.restarts);
        return run_single();
    }
    if (head_->exception_pending == kRestartAlone) {
        head_->exception_pending = 0;
        TcgCounters::bump(counters_.restarts);
        std::optional<core::VcpuExit> result;
        exclusive([&] { result = run_single(); });
        return result;
    }
    TcgCounters::bump(counters_.exceptions);
    auto result = outcome(frontend_->deliver_exception());
    mode_changed();
    return result;
}

std::optional<core::VcpuExit> TcgVcpu::run_single() {
    if (!translate_single(head_->pc))
        return handle_exception();
    head_->pc_page = head_->pc & core::kPageMask;
    cold_->slow_site = 0;
    TcgCounters::bump(counters_.interpreted);
    cold_->stat_insns += options_.count ? 1 : 0;
    frontend_->begin_single();
    const CodeExit exit = interpreter_->run(head_, ir_);
    frontend_->end_single();
    if (exit == CodeExit::kState)
        mode_changed();
    if (exit == CodeExit::kException || head_->exception_pending)
        return handle_exception();
    return std::nullopt;
}

// ---- changes made by others --------------------------------------------------------------------------------------

void TcgVcpu::exclusive(const std::function<void()> &body) {
    last_exit_ = nullptr; // its block may be freed
    space_->gate().exclusive(member_.get(), [&] {
        alone_ = true;
        body();
        alone_ = false;
    });
}

bool TcgVcpu::ask_to_be_alone() {
    if (alone_ || !space_->several())
        return false;
    head_->exception_pending = kRestartAlone;
    return true;
}

bool TcgVcpu::alone() { return !ask_to_be_alone(); }

/// A loop that waits for a vCPU which has no host CPU must let go of its own.
void TcgVcpu::spin() {
    constexpr unsigned kSpinsPerYield = 64;
    if (!space_->several() || ++spins_ % kSpinsPerYield != 0)
        return;
    if (space_->gate().one_at_a_time()) {
        space_->gate().yield();
        member_->kick();
    } else {
        ::sched_yield();
    }
}

void TcgVcpu::view_changed(const core::FlatView &, const core::FlatView &new_view) {
    for (const core::FlatRange &range : new_view.ranges) {
        core::RamBlock *block = range.region ? range.region->ram_block() : nullptr;
        if (block)
            space_->note_ram_block(block);
    }
    if (SlowPaths::current() == this) {
        tlb_->flush_all(false);
        return;
    }
    flush_wanted_.store(true, std::memory_order_release);
    std::atomic_ref<std::uint32_t>(head_->exit_request).store(1, std::memory_order_release);
}

} // namespace rhea::accel
