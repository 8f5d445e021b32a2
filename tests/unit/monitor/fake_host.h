// A host whose machine is 'none', and which remembers what it was asked.
#pragma once
#include "rhea/core/machine_lock.h"
#include "rhea/hw/none_machine.h"
#include "rhea/monitor/host.h"

namespace rhea::monitor {

class IdleAccelerator final : public core::Accelerator {
  public:
    std::string_view name() const override { return "tcg"; }
    util::Result<void> attach(core::AddressSpace&, core::AddressSpace&) override { return {}; }
    util::Result<std::unique_ptr<core::Vcpu>> create_vcpu(unsigned, core::Clocks&,
                                                          core::MachineRequests&) override {
        return util::fail("none");
    }
    std::string describe(std::string_view what) const override {
        return what == "jit" ? "jit counters\n" : "";
    }
};

class NoRequests final : public core::MachineRequests {
  public:
    void request_shutdown(core::ShutdownCause, int) override {}
    void request_reset(core::ShutdownCause) override {}
    void request_work(std::function<void()>) override {}
};

class FakeHost final : public Host {
  public:
    explicit FakeHost(std::string name = {}) {
        core::MachineConfig config;
        config.name = std::move(name);
        config.ram_size = 1 << 20;
        machine_ = hw::make_none_machine(std::move(config), requests_);
        EXPECT_TRUE(machine_->build(accelerator_));
    }
    core::Machine& machine() override { return *machine_; }
    core::Accelerator& accelerator() override { return accelerator_; }
    Status status() const override {
        return running ? Status{"running", "running", true} : Status{"paused", "paused", false};
    }
    void stop() override { running = false; }
    util::Result<void> cont() override {
        if (refuse_cont) {
            return util::fail("the guest cannot go on from here; system_reset starts it again");
        }
        running = true;
        return {};
    }
    void quit() override { asked += "quit "; }
    void reset() override { asked += "reset "; }
    void power_button() override { asked += "power "; }
    void nmi() override { asked += "nmi "; }
    void with_parked_vcpus(const std::function<void()>& body) override {
        const core::MachineLockGuard lock;
        body();
    }
    std::vector<CpuThread> cpu_threads() override { return {{4242, true}}; }
    std::vector<CharDevice> char_devices() override { return {{"serial0", "pty:/dev/pts/3"}}; }
    util::Result<std::string> ringbuf_read(const std::string& id, std::size_t size) override {
        return std::string("abc").substr(0, id == "r" ? size : 0);
    }
    util::Result<void> ringbuf_write(const std::string&, const std::string& data) override {
        asked += data;
        return {};
    }
    std::string version() const override { return "0.1"; }

    bool running = true, refuse_cont = false;
    std::string asked;

  private:
    NoRequests requests_;
    IdleAccelerator accelerator_;
    std::unique_ptr<core::Machine> machine_;
};

}  // namespace rhea::monitor
