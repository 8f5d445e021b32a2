// Stand-ins for what devices are connected to: an interrupt sink that remembers, a vCPU that only
// collects requests, an interrupt message port, port and memory spaces.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "rhea/core/irq.h"
#include "rhea/core/machine.h"
#include "rhea/core/memory.h"
#include "rhea/core/vcpu.h"

namespace rhea::test {

class FakeIrqSink final : public core::IrqSink {
  public:
    void set_irq(int input, bool level) override {
        if (level && !levels[input]) {
            ++rises[input];
        }
        levels[input] = level;
    }
    core::IrqLine line(int input = 0) { return {*this, input}; }
    bool level(int input = 0) { return levels[input]; }

    std::map<int, bool> levels;
    std::map<int, int> rises;
};

class FakeVcpu final : public core::Vcpu {
  public:
    explicit FakeVcpu(unsigned index = 0) : Vcpu(index) {}
    core::VcpuExit run() override { return core::vcpu_exit::Halted{}; }
    void request(std::uint32_t bits) override { requests |= bits; }
    void clear_request(std::uint32_t bits) override { requests &= ~bits; }
    bool has_work() override { return requests != 0; }
    void reset() override {}
    void synchronize() override {}
    void serialize(core::Archive&) override {}
    void connect_apic(core::LocalApicPort* port) override { apic = port; }
    core::TscPort* tsc_port() override { return tsc; }
    void set_boot_state(const core::X86BootState&) override {}
    std::string describe_registers() override { return {}; }

    std::uint32_t requests = 0;
    core::LocalApicPort* apic = nullptr;
    core::TscPort* tsc = nullptr;
};

class FakeRequests final : public core::MachineRequests {
  public:
    void request_shutdown(core::ShutdownCause cause, int) override { shutdowns.push_back(cause); }
    void request_reset(core::ShutdownCause cause) override { resets.push_back(cause); }

    void request_work(std::function<void()> work) override { works.push_back(std::move(work)); }
    /// What the main loop would do now.
    void run_works() {
        for (const auto& work : std::exchange(works, {})) {
            work();
        }
    }

    std::vector<core::ShutdownCause> shutdowns, resets;
    std::vector<std::function<void()>> works;
};

/// An empty space of `size` bytes to place devices in.
class FakeSpace {
  public:
    FakeSpace(std::string name, std::uint64_t size)
        : root(core::MemoryRegion::container(name, size)), space(std::move(name), *root) {}

    std::uint64_t load(core::hwaddr at, unsigned size = 1) { return space.load(at, size); }
    void store(core::hwaddr at, std::uint64_t value, unsigned size = 1) {
        space.store(at, value, size);
    }

    std::unique_ptr<core::MemoryRegion> root;
    core::AddressSpace space;
};

}  // namespace rhea::test
