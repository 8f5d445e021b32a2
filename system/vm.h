// The running machine: run states, vCPU threads, and what devices and people ask of it.
//
// Devices and vCPU threads ask (MachineRequests, VcpuEvents) from any thread: the request is noted,
// every vCPU is told to leave guest code, and the main loop carries it out. All other methods belong
// to the main thread and must be called without the machine lock, because they wait for vCPUs.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/core/machine.h"
#include "rhea/monitor/host.h"
#include "rhea/util/event_loop.h"
#include "rhea/util/result.h"
#include "vcpu_thread.h"

namespace rhea::system {

enum class RunState : std::uint8_t {
    kPrelaunch,      ///< -S, before the first cont
    kRunning,
    kPaused,
    kShutdown,       ///< the guest powered off, -no-shutdown keeps it
    kInternalError,  ///< the accelerator cannot go on
    kDebug,
    kIoError,        ///< a drive with werror=stop or rerror=stop failed
};

/// As `info status` writes it: "running", "paused (prelaunch)".
std::string_view run_state_text(RunState state);
/// As QMP writes it: "running", "prelaunch".
std::string_view run_state_name(RunState state);

class Vm final : public core::MachineRequests, private VcpuEvents {
  public:
    struct Policy {
        bool no_reboot = false;
        bool no_shutdown = false;
    };
    /// `tell` prints a line for the person who started Rhea.
    Vm(util::EventLoop& loop, Policy policy, std::function<void(std::string_view)> tell);
    ~Vm() override;

    /// Takes the machine that is ready to run, resets it and starts its threads, parked.
    void adopt(std::unique_ptr<core::Accelerator> accelerator, std::unique_ptr<core::Machine> machine);
    core::Machine& machine() { return *machine_; }
    core::Accelerator& accelerator() { return *accelerator_; }

    RunState state() const { return state_; }
    bool running() const { return state_ == RunState::kRunning; }
    void stop(RunState why = RunState::kPaused);
    util::Result<void> cont();
    /// Runs `body` while every vCPU is outside guest code with its registers readable, under the
    /// machine lock; then goes on as before.
    void with_parked_vcpus(const std::function<void()>& body);
    void power_button();
    void nmi();
    std::vector<monitor::Host::CpuThread> cpu_threads() const;

    /// Called when the VM has stopped, and (under the machine lock) when it goes on.
    void set_run_hooks(std::function<void()> stopped, std::function<void()> resumed) {
        on_stopped_ = std::move(stopped);
        on_resumed_ = std::move(resumed);
    }

    int exit_status() const { return exit_status_; }
    /// Ends the vCPU threads; the machine can be destroyed then.
    void end();

    // Any thread.
    void request_shutdown(core::ShutdownCause cause, int exit_status = 0) override;
    void request_reset(core::ShutdownCause cause) override;
    void request_work(std::function<void()> work) override;
    /// A drive's error stops the VM; `text` is told to the person who started Rhea.
    void request_io_error(const std::string& text);

  private:
    struct Pending {
        core::ShutdownCause shutdown = core::ShutdownCause::kNone;
        int status = 0;
        core::ShutdownCause reset = core::ShutdownCause::kNone;
        bool debug = false;
        std::string internal_error, io_error;
        std::vector<std::function<void()>> works;
        bool any() const;
    };

    void on_triple_fault() override;
    void on_cpu_reset() override;
    void on_debug_stop() override;
    void on_internal_error(const std::string& text) override;

    void note(const std::function<void(Pending&)>& change);
    void handle_pending();
    void handle_shutdown(core::ShutdownCause cause, int status);
    void park_all();
    void resume_all();
    void reset_parked();

    util::EventLoop& loop_;
    Policy policy_;
    std::function<void(std::string_view)> tell_;
    std::unique_ptr<core::Accelerator> accelerator_;
    std::unique_ptr<core::Machine> machine_;
    std::unique_ptr<util::EventLoop::Watch> timers_;
    std::vector<std::unique_ptr<VcpuThread>> threads_;
    RunState state_ = RunState::kPrelaunch;
    int exit_status_ = 0;
    std::function<void()> on_stopped_, on_resumed_;

    std::mutex pending_mutex_;
    Pending pending_;
};

}  // namespace rhea::system
