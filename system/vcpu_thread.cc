#include "vcpu_thread.h"

#include <pthread.h>
#include <unistd.h>

#include <cassert>
#include <csignal>

#include "rhea/core/machine_lock.h"

namespace rhea::system {

VcpuThread::VcpuThread(core::Vcpu& vcpu, VcpuEvents& events, std::string name)
    : vcpu_(vcpu), events_(events), name_(std::move(name)) {
    vcpu_.set_waker([this] { wake(); });
}

VcpuThread::~VcpuThread() {
    join();
    vcpu_.set_waker({});
}

void VcpuThread::start() {
    // Signals that end the program are the main thread's business.
    sigset_t blocked, former;
    sigemptyset(&blocked);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCONT}) {
        sigaddset(&blocked, signal);
    }
    pthread_sigmask(SIG_BLOCK, &blocked, &former);
    thread_ = std::thread([this] { loop(); });
    pthread_sigmask(SIG_SETMASK, &former, nullptr);
    pthread_setname_np(thread_.native_handle(), name_.substr(0, 15).c_str());
}

void VcpuThread::wake() {
    wakes_.fetch_add(1, std::memory_order_release);
    wakes_.notify_one();
}

void VcpuThread::request_pause() {
    {
        // Wakes a parked thread too: resume() took its word that it is parked back.
        const std::lock_guard lock(mutex_);
        pause_.store(true, std::memory_order_seq_cst);
        changed_.notify_all();
    }
    vcpu_.request(core::kRequestExit);
    wake();
}

void VcpuThread::wait_parked() {
    assert(!core::MachineLock::held_by_this_thread());
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return parked_; });
}

void VcpuThread::resume() {
    const std::lock_guard lock(mutex_);
    pause_.store(false, std::memory_order_seq_cst);
    parked_ = false;  // from now on it may be in guest code, whether it woke already or not
    changed_.notify_all();
}

void VcpuThread::join() {
    if (!thread_.joinable()) {
        return;
    }
    {
        const std::lock_guard lock(mutex_);
        quit_ = true;
        changed_.notify_all();
    }
    request_pause();
    thread_.join();
}

void VcpuThread::park() {
    std::unique_lock lock(mutex_);
    while (pause_.load() && !quit_.load()) {
        parked_ = true;
        changed_.notify_all();
        changed_.wait(lock);
    }
    parked_ = false;
}

void VcpuThread::loop() {
    core::Vcpu::set_current(&vcpu_);
    thread_id_.store(::gettid(), std::memory_order_relaxed);
    for (;;) {
        if (pause_.load(std::memory_order_acquire)) {
            park();
        }
        if (quit_.load(std::memory_order_acquire)) {
            break;
        }
        const core::VcpuExit exit = vcpu_.run();
        if (std::holds_alternative<core::vcpu_exit::Halted>(exit)) {
            wait_for_work();
        } else if (!std::holds_alternative<core::vcpu_exit::Interrupted>(exit)) {
            report(exit);
        }
    }
    const std::lock_guard lock(mutex_);
    parked_ = true;
    changed_.notify_all();
}

void VcpuThread::wait_for_work() {
    const auto start = std::chrono::steady_clock::now();
    halted_.store(true, std::memory_order_relaxed);
    for (bool found = poll_for_work(); !found;) {
        const std::uint32_t seen = wakes_.load(std::memory_order_acquire);
        found = ready();
        if (!found) {
            wakes_.wait(seen, std::memory_order_acquire);
        }
    }
    halted_.store(false, std::memory_order_relaxed);
    halt_poll_.halted_for(std::chrono::steady_clock::now() - start);
}

bool VcpuThread::poll_for_work() {
    const HaltPoll::Duration window = halt_poll_.window();
    if (window.count() == 0) {
        return false;
    }
    const auto end = std::chrono::steady_clock::now() + window;
    do {
        if (ready()) {
            return true;
        }
        std::this_thread::yield();  // to whoever brings the work
    } while (std::chrono::steady_clock::now() < end);
    return false;
}

void VcpuThread::report(const core::VcpuExit& exit) {
    if (std::holds_alternative<core::vcpu_exit::Shutdown>(exit)) {
        events_.on_triple_fault();
    } else if (std::holds_alternative<core::vcpu_exit::Reset>(exit)) {
        events_.on_cpu_reset();
    } else if (std::holds_alternative<core::vcpu_exit::Debug>(exit)) {
        events_.on_debug_stop();
    } else if (const auto* error = std::get_if<core::vcpu_exit::InternalError>(&exit)) {
        events_.on_internal_error(error->text);
    }
}

}  // namespace rhea::system
