// monitor::Host on the running emulator.
#pragma once
#include "rhea/chardev/chardev_set.h"
#include "rhea/monitor/host.h"
#include "vm.h"

namespace rhea::system {

class MonitorHost final : public monitor::Host {
  public:
    MonitorHost(Vm& vm, chardev::ChardevSet& chardevs) : vm_(vm), chardevs_(chardevs) {}

    core::Machine& machine() override { return vm_.machine(); }
    core::Accelerator& accelerator() override { return vm_.accelerator(); }
    Status status() const override;
    void stop() override;
    util::Result<void> cont() override { return vm_.cont(); }
    void quit() override;
    void reset() override;
    void power_button() override { vm_.power_button(); }
    void nmi() override { vm_.nmi(); }
    void with_parked_vcpus(const std::function<void()>& body) override {
        vm_.with_parked_vcpus(body);
    }
    std::vector<CpuThread> cpu_threads() override;
    std::vector<CharDevice> char_devices() override;
    util::Result<std::string> ringbuf_read(const std::string& id, std::size_t size) override;
    util::Result<void> ringbuf_write(const std::string& id, const std::string& data) override;
    std::string version() const override;

  private:
    Vm& vm_;
    chardev::ChardevSet& chardevs_;
};

}  // namespace rhea::system
