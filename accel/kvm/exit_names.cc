#include "accel/kvm/exit_names.h"

#include <fmt/format.h>
#include <linux/kvm.h>
#include <utility>

namespace rhea::accel {

std::string exit_reason_name(unsigned reason) {
    static constexpr std::pair<unsigned, const char *> kNames[] = {
        {KVM_EXIT_UNKNOWN, "unknown"},         {KVM_EXIT_EXCEPTION, "exception"},
        {KVM_EXIT_IO, "io"},                   {KVM_EXIT_HYPERCALL, "hypercall"},
        {KVM_EXIT_DEBUG, "debug"},             {KVM_EXIT_HLT, "hlt"},
        {KVM_EXIT_MMIO, "mmio"},               {KVM_EXIT_IRQ_WINDOW_OPEN, "irq_window_open"},
        {KVM_EXIT_SHUTDOWN, "shutdown"},       {KVM_EXIT_FAIL_ENTRY, "fail_entry"},
        {KVM_EXIT_INTR, "intr"},               {KVM_EXIT_SET_TPR, "set_tpr"},
        {KVM_EXIT_TPR_ACCESS, "tpr_access"},   {KVM_EXIT_NMI, "nmi"},
        {KVM_EXIT_INTERNAL_ERROR, "internal_error"}, {KVM_EXIT_SYSTEM_EVENT, "system_event"},
        {KVM_EXIT_IOAPIC_EOI, "ioapic_eoi"},   {KVM_EXIT_HYPERV, "hyperv"},
        {KVM_EXIT_X86_RDMSR, "x86_rdmsr"},     {KVM_EXIT_X86_WRMSR, "x86_wrmsr"},
        {KVM_EXIT_DIRTY_RING_FULL, "dirty_ring_full"}, {KVM_EXIT_X86_BUS_LOCK, "x86_bus_lock"},
    };
    for (const auto &[value, name] : kNames) {
        if (value == reason)
            return name;
    }
    return fmt::format("reason {}", reason);
}

} // namespace rhea::accel
