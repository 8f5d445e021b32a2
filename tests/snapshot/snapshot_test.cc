// Stop in mid-boot, save every device, the RAM and the vCPU into memory, reset, restore, and go on to the shell.
//
// The guest comes from RHEA_TEST_KERNEL and RHEA_TEST_INITRD; without them the test skips.
#include "rhea/accel/tcg.h"
#include "rhea/core/char_backend.h"
#include "rhea/core/machine.h"
#include "rhea/core/machine_lock.h"
#include "rhea/hw/machines.h"
#include "rhea/target/x86/cpu_model.h"
#include "rhea/target/x86/frontend.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <poll.h>
#include <thread>

namespace rhea {
namespace {

class Console final : public core::CharBackend {
public:
    std::size_t write(std::span<const std::uint8_t> bytes) override {
        std::lock_guard lock(mutex_);
        text_.append(bytes.begin(), bytes.end());
        return bytes.size();
    }
    void set_front_end(FrontEnd) override {}
    void accept_input() override {}
    bool contains(const std::string &what) {
        std::lock_guard lock(mutex_);
        return text_.find(what) != std::string::npos;
    }
    std::string text() {
        std::lock_guard lock(mutex_);
        return text_;
    }

private:
    std::mutex mutex_;
    std::string text_;
};

/// A machine, its vCPU thread and its timers; pausing stops all of it.
class Runner final : public core::MachineRequests {
public:
    explicit Runner(const char *kernel, const char *initrd) {
        auto model = target::x86::parse_cpu_model("max", target::x86::CpuAvailability::translator());
        model_ = *model;
        accelerator_ = accel::make_tcg_accelerator({}, [this](unsigned i) { return target::x86::make_frontend(model_, i); });
        core::MachineConfig config;
        config.ram_size = 128u << 20;
        config.serials = {&console};
        config.kernel = kernel;
        config.initrd = initrd;
        config.append = "console=ttyS0 panic=-1 rhea.run=uname,-a";
        machine = hw::find_machine_type("pc")->create(config, *this);
        const auto built = machine->build(*accelerator_);
        EXPECT_TRUE(built) << (built ? "" : built.error().message());
        vcpu().set_waker([this] {
            std::lock_guard lock(mutex_);
            woken_ = true;
            wake_.notify_all();
        });
    }
    ~Runner() override { pause(); }

    core::Vcpu &vcpu() { return *machine->vcpus().front(); }
    void request_shutdown(core::ShutdownCause, int) override { off = true; }
    void request_reset(core::ShutdownCause) override { reset_asked = true; }
    void request_work(std::function<void()>) override {}

    void start() {
        stop_ = false;
        machine->clocks().set_running(true);
        thread_ = std::thread([this] {
            while (!stop_ && !off) {
                const core::VcpuExit exit = vcpu().run();
                if (std::holds_alternative<core::vcpu_exit::Halted>(exit)) {
                    std::unique_lock lock(mutex_);
                    wake_.wait_for(lock, std::chrono::milliseconds(50), [this] { return woken_ || stop_.load(); });
                    woken_ = false;
                } else if (!std::holds_alternative<core::vcpu_exit::Interrupted>(exit)) {
                    failed = true;
                    return;
                }
            }
        });
    }
    void pause() {
        if (!thread_.joinable())
            return;
        stop_ = true;
        vcpu().request(core::kRequestExit);
        thread_.join();
        machine->clocks().set_running(false);
        vcpu().synchronize();
    }
    /// Serves timers until `done`, or for at most two minutes.
    template <typename Done> bool serve_until(Done done) {
        const auto limit = std::chrono::steady_clock::now() + std::chrono::minutes(2);
        while (!done()) {
            if (std::chrono::steady_clock::now() > limit || failed)
                return false;
            pollfd waiting{machine->clocks().fd(), POLLIN, 0};
            ::poll(&waiting, 1, 20);
            core::MachineLockGuard lock;
            machine->clocks().run_expired();
        }
        return true;
    }

    Console console;
    std::unique_ptr<core::Accelerator> accelerator_;
    std::unique_ptr<core::Machine> machine;
    std::atomic<bool> off{false}, reset_asked{false}, failed{false};

private:
    target::x86::CpuModel model_;
    std::thread thread_;
    std::atomic<bool> stop_{false};
    std::mutex mutex_;
    std::condition_variable wake_;
    bool woken_ = false;
};

TEST(Snapshot, ABootGoesOnFromMemory) {
    const char *kernel = std::getenv("RHEA_TEST_KERNEL"), *initrd = std::getenv("RHEA_TEST_INITRD");
    if (!kernel || !initrd)
        GTEST_SKIP() << "RHEA_TEST_KERNEL and RHEA_TEST_INITRD name no guest";
    std::vector<std::uint8_t> saved;
    std::string seen;
    {
        Runner first(kernel, initrd);
        first.machine->reset();
        first.start();
        ASSERT_TRUE(first.serve_until([&] { return first.console.contains("ACPI: Interpreter enabled"); })) << first.console.text();
        first.pause();
        auto writer = core::make_memory_writer(saved);
        first.machine->serialize(*writer, true);
        ASSERT_TRUE(writer->ok()) << writer->status().error().message();
        seen = first.console.text();
        EXPECT_EQ(seen.find("Run /init"), std::string::npos) << "the boot was over before it was stopped";

        // The same machine: reset loses it all, restoring brings it back.
        first.machine->reset();
        auto reader = core::make_memory_reader(saved);
        first.machine->serialize(*reader, true);
        ASSERT_TRUE(reader->ok()) << reader->status().error().message();
        first.start();
        ASSERT_TRUE(first.serve_until([&] { return first.off.load(); })) << first.console.text();
        first.pause();
        EXPECT_TRUE(first.console.contains("Linux (none)")) << first.console.text();
    }
    // Another machine, which never booted.
    Runner second(kernel, initrd);
    second.machine->reset();
    auto reader = core::make_memory_reader(saved);
    second.machine->serialize(*reader, true);
    ASSERT_TRUE(reader->ok()) << reader->status().error().message();
    second.start();
    ASSERT_TRUE(second.serve_until([&] { return second.off.load(); })) << second.console.text();
    second.pause();
    EXPECT_TRUE(second.console.contains("Linux (none)")) << second.console.text();
    EXPECT_FALSE(second.console.contains("Linux version")) << "it booted anew instead of going on";
}

} // namespace
} // namespace rhea
