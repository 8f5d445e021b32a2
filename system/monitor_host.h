// monitor::Host on the running emulator.
#pragma once
#include "drives.h"
#include "rhea/chardev/chardev_set.h"
#include "rhea/monitor/host.h"
#include "vm.h"

namespace rhea::system {

class MonitorHost final : public monitor::Host {
  public:
    MonitorHost(Vm& vm, chardev::ChardevSet& chardevs, Drives& drives)
        : vm_(vm), chardevs_(chardevs), drives_(drives) {}

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

    util::Result<std::string> add_device(const std::string& text) override;
    util::Result<void> remove_device(const std::string& id) override;

    std::vector<block::BlockBackend*> drives() override { return drives_.all(); }
    util::Result<block::BlockBackend*> find_drive(const std::string& id) override { return drives_.find(id); }
    std::vector<std::pair<std::string, std::int64_t>> iothreads() override { return drives_.iothreads(); }
    util::Result<void> eject(const std::string& id, bool force) override { return drives_.eject(id, force); }
    util::Result<void> change_medium(const std::string& id, const std::string& filename, const std::string& format,
                                     const std::string& read_only_mode) override {
        return drives_.change(id, {filename, format, read_only_mode});
    }
    util::Result<void> commit(const std::string& id) override { return drives_.commit(id); }
    util::Result<void> add_drive(const std::string& text, bool is_node) override {
        return drives_.add_drive_at_run_time(text, is_node);
    }
    util::Result<void> remove_drive(const std::string& id) override { return drives_.remove_drive(id); }
    util::Result<void> snapshot_drive(const std::string& id, const std::string& filename, const std::string& format,
                                      bool reuse) override {
        return drives_.snapshot(id, filename, format, reuse);
    }

  private:
    Vm& vm_;
    chardev::ChardevSet& chardevs_;
    Drives& drives_;
};

}  // namespace rhea::system
