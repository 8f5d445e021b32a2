// A vCPU run by KVM: the KVM_RUN loop, exits, kicks, interrupt injection for user-space controllers.
//
// Registers live in KVM; the ArchState is a copy that synchronize() fetches and that goes back before the next KVM_RUN when
// something changed it. A PIO or MMIO exit completes only at the next KVM_RUN: complete_io() re-enters with immediate_exit.
#pragma once
#include "accel/kvm/kvm_vm.h"
#include "rhea/core/machine.h"
#include "rhea/core/vcpu.h"

#include <atomic>
#include <functional>
#include <optional>
#include <pthread.h>

struct kvm_run;

namespace rhea::accel {

class KvmVcpu final : public core::Vcpu {
public:
    static util::Result<std::unique_ptr<KvmVcpu>> create(KvmVm &vm, unsigned index, std::unique_ptr<core::KvmArchState> arch,
                                                         core::AddressSpace &memory, core::AddressSpace &io,
                                                         core::MachineRequests &requests);
    /// For tests: no KVM behind it. Exits come from a fabricated kvm_run, requests to the kernel go to `ioctl` (which sets errno and
    /// returns -1 where the kernel would), EOIs to `eoi`; linear addresses are physical ones.
    struct Fabricated {
        kvm_run *run = nullptr;
        std::size_t run_size = 0; ///< with the data of port accesses behind the structure
        std::function<int(unsigned long request, void *argument)> ioctl;
        KernelIrqchip irqchip = KernelIrqchip::kOff;
        std::function<void(std::uint8_t)> eoi = {};
    };
    KvmVcpu(Fabricated fabricated, std::unique_ptr<core::KvmArchState> arch, core::AddressSpace &memory, core::AddressSpace &io,
            core::MachineRequests &requests);
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

    /// The in-kernel local APIC, while the vCPU is not inside run(). What is set reaches the kernel before the next KVM_RUN, behind
    /// the registers.
    core::LocalApicState local_apic();
    void set_local_apic(const core::LocalApicState &state) { lapic_to_kvm_ = state; }

    const KvmCounters &counters() const { return *counters_; }

private:
    friend struct KvmExits; ///< kvm_exits.cc

    KvmVcpu(KvmVm &vm, unsigned index, std::unique_ptr<core::KvmArchState> arch, core::AddressSpace &memory, core::AddressSpace &io,
            core::MachineRequests &requests);
    /// An ioctl of the vCPU's descriptor.
    int control(unsigned long request, void *argument);
    bool apic_in_kernel() const { return irqchip_ != KernelIrqchip::kOff; }
    bool may_go_on();
    void take_startup_requests();
    bool interrupt_ends_halt() const;
    util::Result<void> put_state();
    util::Result<void> put_registers_and_apic();
    void prepare_interrupts();
    void complete_io();
    core::VcpuExit internal_error(const std::string &what);
    std::string instruction_bytes();

    KvmVm *vm_ = nullptr; ///< null: fabricated
    Fd fd_;
    kvm_run *run_ = nullptr;
    std::size_t run_size_ = 0;
    std::function<int(unsigned long, void *)> ioctl_for_test_;
    std::function<void(std::uint8_t)> eoi_for_test_;
    KernelIrqchip irqchip_ = KernelIrqchip::kOff;
    std::unique_ptr<core::KvmArchState> arch_;
    core::AddressSpace &memory_;
    core::AddressSpace &io_;
    core::MachineRequests &machine_requests_;
    core::LocalApicPort *apic_ = nullptr; ///< who has maskable interrupts for KVM_INTERRUPT: our local APIC (off), the 8259s (split)
    KvmCounters own_counters_;
    KvmCounters *counters_ = &own_counters_;
    std::atomic<std::uint32_t> requests_{0};
    std::atomic<pthread_t> thread_{};
    std::atomic<bool> in_run_{false};
    bool to_kvm_ = true;      ///< arch_ is newer than KVM's registers
    std::optional<core::LocalApicState> lapic_to_kvm_;
    bool io_pending_ = false; ///< the last exit completes at the next KVM_RUN
    bool waits_for_startup_ = false; ///< likewise, for INIT and start-up messages
    bool halted_ = false;     ///< HLT, when that is ours to keep (no local APIC in the kernel)
};

} // namespace rhea::accel
