#include "tests/support/machine_runner.h"

#include "rhea/core/machine_lock.h"
#include "rhea/hw/machines.h"
#include "system/accelerators.h"

#include <chrono>
#include <poll.h>

namespace rhea::test {

std::size_t CapturedConsole::write(std::span<const std::uint8_t> bytes) {
    const std::lock_guard lock(mutex_);
    text_.append(bytes.begin(), bytes.end());
    return bytes.size();
}

std::string CapturedConsole::text() {
    const std::lock_guard lock(mutex_);
    return text_;
}

MachineRunner::MachineRunner(const std::string &name, core::MachineConfig config) {
    const std::function<void(std::string_view)> quiet = [](std::string_view) {};
    if (name.starts_with("kvm "))
        config.kernel_irqchip = name.substr(4);
    config.serials = {&console};
    const system::AcceleratorRequest request{config, {}, quiet};
    auto made = name == "tcg" ? system::make_tcg(request) : system::make_kvm(request);
    if (!made) {
        error_ = made.error().message();
        return;
    }
    accelerator = std::move(*made);
    machine = hw::find_machine_type("pc")->create(config, *this);
    {
        const core::MachineLockGuard lock;
        if (auto built = machine->build(*accelerator); !built) {
            error_ = built.error().message();
            return;
        }
    }
    machine->set_running(false);
    woken_.assign(machine->vcpus().size(), 0);
    for (unsigned i = 0; i < woken_.size(); ++i) {
        vcpu(i).set_waker([this, i] {
            const std::lock_guard lock(mutex_);
            woken_[i] = 1;
            wake_.notify_all();
        });
    }
    machine->reset();
}

MachineRunner::~MachineRunner() {
    pause();
    machine.reset();
}

void MachineRunner::request_shutdown(core::ShutdownCause, int status) {
    exit_status = status;
    off = true;
}

void MachineRunner::loop(unsigned index) {
    while (!stop_ && !off) {
        const core::VcpuExit exit = vcpu(index).run();
        if (std::holds_alternative<core::vcpu_exit::Halted>(exit)) {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [&] { return woken_[index] || stop_.load(); });
            woken_[index] = 0;
        } else if (!std::holds_alternative<core::vcpu_exit::Interrupted>(exit)) {
            const std::lock_guard lock(mutex_);
            const auto *error = std::get_if<core::vcpu_exit::InternalError>(&exit);
            failure_ = error ? error->text : "the vCPU left its loop by exit " + std::to_string(exit.index());
            failed_ = true;
            return;
        }
    }
}

void MachineRunner::start() {
    stop_ = false;
    {
        const core::MachineLockGuard lock;
        machine->set_running(true);
    }
    for (unsigned i = 0; i < machine->vcpus().size(); ++i)
        threads_.emplace_back([this, i] { loop(i); });
}

void MachineRunner::pause() {
    if (threads_.empty())
        return;
    stop_ = true;
    for (const auto &one : machine->vcpus())
        one->request(core::kRequestExit);
    for (std::thread &thread : threads_)
        thread.join();
    threads_.clear();
    const core::MachineLockGuard lock;
    machine->set_running(false);
    for (const auto &one : machine->vcpus())
        one->synchronize();
}

bool MachineRunner::serve_until(const std::function<bool()> &done) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!done()) {
        if (std::chrono::steady_clock::now() > limit || failed_)
            return false;
        pollfd waiting{machine->clocks().fd(), POLLIN, 0};
        ::poll(&waiting, 1, 5);
        const core::MachineLockGuard lock;
        machine->clocks().run_expired();
    }
    return true;
}

std::string MachineRunner::failure() {
    const std::lock_guard lock(mutex_);
    return failure_;
}

std::vector<std::uint8_t> MachineRunner::save() {
    std::vector<std::uint8_t> state;
    auto writer = core::make_memory_writer(state);
    machine->serialize(*writer, true);
    if (!writer->ok())
        error_ = writer->status().error().message();
    return state;
}

std::string MachineRunner::restore(const std::vector<std::uint8_t> &state) {
    auto reader = core::make_memory_reader(state);
    machine->serialize(*reader, true);
    return reader->ok() ? std::string{} : reader->status().error().message();
}

} // namespace rhea::test
