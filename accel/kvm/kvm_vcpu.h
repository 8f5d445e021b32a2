// A vCPU run by KVM: the KVM_RUN loop, exits, kicks, interrupt injection for user-space controllers.
//
// Registers live in KVM; the ArchState is a copy that synchronize() fetches and that goes back before the next KVM_RUN when
// something changed it. A PIO or MMIO exit completes only at the next KVM_RUN: complete_io() re-enters with immediate_exit.
#pragma once
#include "accel/kvm/kvm_vm.h"
#include "rhea/core/machine.h"
#include "rhea/core/vcpu.h"

#include <atomic>
#include <optional>
#include <pthread.h>

struct kvm_run;

namespace rhea::accel {

class KvmVcpu final : public core::Vcpu {
public:
    static util::Result<std::unique_ptr<KvmVcpu>> create(KvmVm &vm, unsigned index, std::unique_ptr<core::KvmArchState> arch,
                                                         core::AddressSpace &memory, core::AddressSpace &io,
                                                         core::MachineRequests &requests);
    /// For tests: no KVM behind it, exits come from a fabricated kvm_run.
    KvmVcpu(KvmVm *vm, unsigned index, std::unique_ptr<core::KvmArchState> arch, core::AddressSpace &memory, core::AddressSpace &io,
            core::MachineRequests &requests, kvm_run *run);
    ~KvmVcpu() override;

    core::VcpuExit run() override;
    void request(std::uint32_t bits) override;
    void clear_request(std::uint32_t bits) override { requests_.fetch_and(~bits, std::memory_order_acq_rel); }
    bool has_work() override;
    void reset() override;
    void synchronize() override;
    void serialize(core::Archive &archive) override;
    std::string describe_registers() override;
    std::optional<std::uint64_t> debug_translate(std::uint64_t linear) override;
    void connect_apic(core::LocalApicPort *apic) override { apic_ = apic; }
    core::TscPort *tsc_port() override { return nullptr; }
    void set_boot_state(const core::X86BootState &state) override;

    /// What the exit in kvm_run means; nothing: go on.
    std::optional<core::VcpuExit> handle_exit();

private:
    void prepare_interrupts();
    void complete_io();
    void handle_io();
    void handle_mmio();
    core::VcpuExit internal_error(const std::string &what);
    core::VcpuExit handle_internal_error();

    KvmVm *vm_;
    Fd fd_;
    kvm_run *run_ = nullptr;
    bool owns_run_ = false;
    std::unique_ptr<core::KvmArchState> arch_;
    core::AddressSpace &memory_;
    core::AddressSpace &io_;
    core::MachineRequests &machine_requests_;
    core::LocalApicPort *apic_ = nullptr;
    std::atomic<std::uint32_t> requests_{0};
    std::atomic<pthread_t> thread_{};
    std::atomic<bool> in_run_{false};
    bool to_kvm_ = true;     ///< arch_ is newer than KVM's registers
    bool io_pending_ = false;///< the last exit completes at the next KVM_RUN
    bool halted_ = false;
};

} // namespace rhea::accel
