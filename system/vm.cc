#include "vm.h"

#include <fmt/format.h>

#include <array>

#include "rhea/core/machine_lock.h"

namespace rhea::system {
namespace {

using core::ShutdownCause;

struct StateNames {
    std::string_view name, text;
};
constexpr std::array<StateNames, 7> kStates{{
    {"prelaunch", "paused (prelaunch)"},
    {"running", "running"},
    {"paused", "paused"},
    {"shutdown", "paused (shutdown)"},
    {"internal-error", "paused (internal-error)"},
    {"debug", "paused (debug)"},
    {"io-error", "paused (io-error)"},
}};

std::string upper(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    }
    return out;
}

}  // namespace

std::string_view run_state_text(RunState state) {
    return kStates[static_cast<std::size_t>(state)].text;
}
std::string_view run_state_name(RunState state) {
    return kStates[static_cast<std::size_t>(state)].name;
}

Vm::Vm(util::EventLoop& loop, Policy policy, std::function<void(std::string_view)> tell)
    : loop_(loop), policy_(policy), tell_(std::move(tell)) {}

Vm::~Vm() {
    end();
}

void Vm::adopt(std::unique_ptr<core::Accelerator> accelerator,
               std::unique_ptr<core::Machine> machine) {
    accelerator_ = std::move(accelerator);
    machine_ = std::move(machine);
    {
        const core::MachineLockGuard lock;
        machine_->clocks().set_running(false);
    }
    machine_->reset();
    timers_ = loop_.watch(machine_->clocks().fd(), util::EventLoop::kReadable, [this](unsigned) {
        const core::MachineLockGuard lock;
        machine_->clocks().run_expired();
    });
    for (const auto& vcpu : machine_->vcpus()) {
        threads_.push_back(std::make_unique<VcpuThread>(
            *vcpu, static_cast<VcpuEvents&>(*this), fmt::format("CPU {}/{}", vcpu->index(), upper(accelerator_->name()))));
    }
    for (const auto& thread : threads_) {
        thread->start();
    }
}

// ---- run states -----------------------------------------------------------------------------

void Vm::park_all() {
    for (const auto& thread : threads_) {
        thread->request_pause();
    }
    for (const auto& thread : threads_) {
        thread->wait_parked();
    }
}

void Vm::resume_all() {
    for (const auto& thread : threads_) {
        thread->resume();
    }
    // A request that came in between has paused threads that were just resumed: it is handled soon,
    // but until then no guest code runs.
    const std::lock_guard lock(pending_mutex_);
    if (pending_.any()) {
        for (const auto& thread : threads_) {
            thread->request_pause();
        }
    }
}

void Vm::stop(RunState why) {
    park_all();
    {
        const core::MachineLockGuard lock;
        machine_->set_running(false);
        state_ = why;
    }
    if (on_stopped_) {
        on_stopped_();
    }
}

util::Result<void> Vm::cont() {
    if (state_ == RunState::kShutdown || state_ == RunState::kInternalError) {
        return util::fail("the guest cannot go on from here; system_reset starts it again");
    }
    if (running()) {
        return {};
    }
    {
        const core::MachineLockGuard lock;
        machine_->set_running(true);
        state_ = RunState::kRunning;
        if (on_resumed_) {
            on_resumed_();
        }
    }
    resume_all();
    return {};
}

void Vm::with_parked_vcpus(const std::function<void()>& body) {
    park_all();
    {
        const core::MachineLockGuard lock;
        for (const auto& vcpu : machine_->vcpus()) {
            vcpu->synchronize();
        }
        body();
    }
    if (running()) {
        resume_all();
    }
}

void Vm::reset_parked() {
    for (const auto& vcpu : machine_->vcpus()) {
        vcpu->synchronize();
    }
    // Time stands still, so that all CPUs' time stamp counters start at once.
    const auto set_clocks = [this](bool running) {
        const core::MachineLockGuard lock;
        machine_->clocks().set_running(running);
    };
    set_clocks(false);
    machine_->reset();
    set_clocks(running());
    if (state_ == RunState::kShutdown || state_ == RunState::kInternalError) {
        state_ = RunState::kPaused;
    }
}

void Vm::power_button() {
    const core::MachineLockGuard lock;
    machine_->press_power_button();
}

void Vm::nmi() {
    for (const auto& vcpu : machine_->vcpus()) {
        vcpu->request(core::kRequestNmi);
    }
}

std::vector<monitor::Host::CpuThread> Vm::cpu_threads() const {
    std::vector<monitor::Host::CpuThread> list;
    for (const auto& thread : threads_) {
        list.push_back({thread->thread_id(), thread->halted()});
    }
    return list;
}

void Vm::end() {
    for (const auto& thread : threads_) {
        thread->join();
    }
    threads_.clear();
    timers_.reset();
}

// ---- requests -------------------------------------------------------------------------------

bool Vm::Pending::any() const {
    return shutdown != ShutdownCause::kNone || reset != ShutdownCause::kNone || debug ||
           !internal_error.empty() || !io_error.empty() || !works.empty();
}

void Vm::note(const std::function<void(Pending&)>& change) {
    bool first;
    {
        const std::lock_guard lock(pending_mutex_);
        first = !pending_.any();
        change(pending_);
        // What the guest asked for happens now: no instruction more than needed.
        for (const auto& thread : threads_) {
            thread->request_pause();
        }
    }
    if (first) {
        loop_.post([this] { handle_pending(); });
    }
}

void Vm::request_shutdown(ShutdownCause cause, int exit_status) {
    note([&](Pending& pending) {
        if (pending.shutdown == ShutdownCause::kNone) {
            pending.shutdown = cause;
            pending.status = exit_status;
        }
    });
}

void Vm::request_reset(ShutdownCause cause) {
    note([&](Pending& pending) { pending.reset = cause; });
}

void Vm::request_work(std::function<void()> work) {
    note([&](Pending& pending) { pending.works.push_back(std::move(work)); });
}

void Vm::request_io_error(const std::string& text) {
    note([&](Pending& pending) {
        if (pending.io_error.empty()) {
            pending.io_error = text;
        }
    });
}

void Vm::on_triple_fault() {
    request_reset(ShutdownCause::kGuestReset);
}
void Vm::on_cpu_reset() {
    request_reset(ShutdownCause::kGuestReset);
}
void Vm::on_debug_stop() {
    note([](Pending& pending) { pending.debug = true; });
}
void Vm::on_internal_error(const std::string& text) {
    note([&](Pending& pending) {
        if (pending.internal_error.empty()) {
            pending.internal_error = text.empty() ? "internal error" : text;
        }
    });
}

void Vm::handle_shutdown(ShutdownCause cause, int status) {
    const bool by_guest = cause == ShutdownCause::kGuestShutdown ||
                          cause == ShutdownCause::kGuestReset || cause == ShutdownCause::kGuestPanic;
    if (by_guest && policy_.no_shutdown) {
        stop(RunState::kShutdown);
        return;
    }
    exit_status_ = status;
    loop_.quit();
}

void Vm::handle_pending() {
    park_all();
    Pending now;
    {
        const std::lock_guard lock(pending_mutex_);
        std::swap(now, pending_);
    }
    if (now.shutdown != ShutdownCause::kNone) {
        handle_shutdown(now.shutdown, now.status);
        return;
    }
    if (!now.internal_error.empty()) {
        tell_(now.internal_error);
        stop(RunState::kInternalError);
        return;
    }
    for (const auto& work : now.works) {
        const core::MachineLockGuard lock;
        work();
    }
    if (now.reset != ShutdownCause::kNone) {
        const bool by_guest = now.reset == ShutdownCause::kGuestReset;
        if (by_guest && policy_.no_reboot) {
            handle_shutdown(ShutdownCause::kGuestReset, 0);
            return;
        }
        reset_parked();
    }
    if (now.debug) {
        stop(RunState::kDebug);
    }
    if (!now.io_error.empty() && running()) {
        tell_(now.io_error + "; the machine is stopped: mend it, then say cont");
        stop(RunState::kIoError);
    }
    if (running()) {
        resume_all();
    }
}

}  // namespace rhea::system
