// A whole machine in a test: built by name and accelerator, its vCPUs in threads, its timers served by the test's thread.
#pragma once
#include "rhea/core/char_backend.h"
#include "rhea/core/machine.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace rhea::test {

/// Keeps what a serial port sends.
class CapturedConsole final : public core::CharBackend {
public:
    std::size_t write(std::span<const std::uint8_t> bytes) override;
    void set_front_end(FrontEnd) override {}
    void accept_input() override {}
    std::string text();

private:
    std::mutex mutex_;
    std::string text_;
};

class MachineRunner final : public core::MachineRequests {
public:
    /// `accelerator`: "tcg", "kvm on", "kvm off" or "kvm split". What goes wrong is in error().
    MachineRunner(const std::string &accelerator, core::MachineConfig config);
    ~MachineRunner() override;
    const std::string &error() const { return error_; }

    core::Vcpu &vcpu(unsigned index = 0) { return *machine->vcpus()[index]; }
    void start();
    /// The vCPUs outside guest code, the clocks stopped.
    void pause();
    /// Serves timers until `done`, for at most a minute; false: it was not, or a vCPU failed (failure()).
    bool serve_until(const std::function<bool()> &done);
    std::string failure();

    std::vector<std::uint8_t> save();
    /// Empty, or why not.
    std::string restore(const std::vector<std::uint8_t> &state);

    void request_shutdown(core::ShutdownCause, int status) override;
    void request_reset(core::ShutdownCause) override { reset_asked = true; }
    void request_work(std::function<void()>) override {}

    CapturedConsole console;
    std::unique_ptr<core::Accelerator> accelerator;
    std::unique_ptr<core::Machine> machine;
    std::atomic<bool> off{false}, reset_asked{false};
    std::atomic<int> exit_status{0};

private:
    void loop(unsigned index);

    std::string error_, failure_;
    std::vector<std::thread> threads_;
    std::atomic<bool> stop_{false}, failed_{false};
    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<char> woken_; ///< by vCPU
};

} // namespace rhea::test
