#include "accel/kvm/exit_names.h"

#include <fmt/format.h>
#include <linux/kvm.h>
#include <utility>

namespace rhea::accel {

std::string exit_reason_name(unsigned reason) {
    // By number where headers of the oldest supported kernel lack the name.
    static constexpr std::pair<unsigned, const char *> kNames[] = {
        {KVM_EXIT_UNKNOWN, "unknown"},
        {KVM_EXIT_EXCEPTION, "exception"},
        {KVM_EXIT_IO, "io"},
        {KVM_EXIT_HYPERCALL, "hypercall"},
        {KVM_EXIT_DEBUG, "debug"},
        {KVM_EXIT_HLT, "hlt"},
        {KVM_EXIT_MMIO, "mmio"},
        {KVM_EXIT_IRQ_WINDOW_OPEN, "irq_window_open"},
        {KVM_EXIT_SHUTDOWN, "shutdown"},
        {KVM_EXIT_FAIL_ENTRY, "fail_entry"},
        {KVM_EXIT_INTR, "intr"},
        {KVM_EXIT_SET_TPR, "set_tpr"},
        {KVM_EXIT_TPR_ACCESS, "tpr_access"},
        {KVM_EXIT_S390_SIEIC, "s390_sieic"},
        {KVM_EXIT_S390_RESET, "s390_reset"},
        {KVM_EXIT_DCR, "dcr"},
        {KVM_EXIT_NMI, "nmi"},
        {KVM_EXIT_INTERNAL_ERROR, "internal_error"},
        {KVM_EXIT_OSI, "osi"},
        {KVM_EXIT_PAPR_HCALL, "papr_hcall"},
        {KVM_EXIT_S390_UCONTROL, "s390_ucontrol"},
        {KVM_EXIT_WATCHDOG, "watchdog"},
        {KVM_EXIT_S390_TSCH, "s390_tsch"},
        {KVM_EXIT_EPR, "epr"},
        {KVM_EXIT_SYSTEM_EVENT, "system_event"},
        {KVM_EXIT_S390_STSI, "s390_stsi"},
        {KVM_EXIT_IOAPIC_EOI, "ioapic_eoi"},
        {KVM_EXIT_HYPERV, "hyperv"},
        {28, "arm_nisv"},
        {29, "x86_rdmsr"},
        {30, "x86_wrmsr"},
        {31, "dirty_ring_full"},
        {32, "ap_reset_hold"},
        {33, "x86_bus_lock"},
        {34, "xen"},
        {35, "riscv_sbi"},
        {36, "riscv_csr"},
        {37, "notify"},
        {38, "loongarch_iocsr"},
        {39, "memory_fault"},
        {40, "tdx"},
    };
    for (const auto &[value, name] : kNames) {
        if (value == reason)
            return name;
    }
    return fmt::format("reason {}", reason);
}

} // namespace rhea::accel
