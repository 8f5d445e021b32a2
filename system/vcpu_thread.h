// The host thread of one vCPU: run(), wait while halted, park while the machine is stopped.
//
// The main thread pauses, resumes and ends it; request_pause() may come from any thread, also under
// the machine lock. wait_parked() must not be called with the machine lock held: the vCPU may be
// waiting for it.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "halt_poll.h"
#include "rhea/core/vcpu.h"

namespace rhea::system {

/// What a vCPU thread reports. Called in that thread, without the machine lock.
class VcpuEvents {
  public:
    virtual ~VcpuEvents() = default;
    virtual void on_triple_fault() = 0;
    virtual void on_cpu_reset() = 0;
    virtual void on_debug_stop() = 0;
    virtual void on_internal_error(const std::string& text) = 0;
};

class VcpuThread {
  public:
    /// `name` is shown by ps and top ("CPU 0/TCG").
    VcpuThread(core::Vcpu& vcpu, VcpuEvents& events, std::string name);
    ~VcpuThread();
    VcpuThread(const VcpuThread&) = delete;
    VcpuThread& operator=(const VcpuThread&) = delete;

    /// Starts the thread, parked.
    void start();
    void request_pause();
    void wait_parked();
    void resume();
    /// Ends the thread.
    void join();

    core::Vcpu& vcpu() { return vcpu_; }
    /// The kernel's id of the thread; 0 before it runs.
    int thread_id() const { return thread_id_.load(std::memory_order_relaxed); }
    /// Is it waiting for an interrupt? A snapshot of the moment.
    bool halted() const { return halted_.load(std::memory_order_relaxed); }

  private:
    void loop();
    void park();
    void wait_for_work();
    bool poll_for_work();
    /// Is there something to do besides being halted?
    bool ready() { return pause_.load(std::memory_order_acquire) || vcpu_.has_work(); }
    void report(const core::VcpuExit& exit);
    void wake();

    core::Vcpu& vcpu_;
    VcpuEvents& events_;
    std::string name_;
    std::atomic<int> thread_id_{0};
    std::atomic<bool> pause_{true};
    std::atomic<bool> quit_{false};
    std::atomic<bool> halted_{false};
    std::atomic<std::uint32_t> wakes_{0};  ///< counts wake-ups, so that none is lost
    HaltPoll halt_poll_{std::thread::hardware_concurrency() < 2};
    std::mutex mutex_;
    std::condition_variable changed_;
    bool parked_ = true;
    std::thread thread_;
};

}  // namespace rhea::system
