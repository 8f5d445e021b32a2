// What each exit reason of KVM_RUN means (KVM API documentation, section 5, "The kvm_run structure"): a table from the reason to a handler.
//
// A reason without a row belongs to another architecture, to a capability that is never switched on, or to a newer kernel: it ends the
// vCPU with an error that names it.
#include "accel/kvm/exit_names.h"
#include "accel/kvm/kvm_vcpu.h"
#include "rhea/core/machine_lock.h"
#include "rhea/util/log.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <linux/kvm.h>
#include <linux/kvm_para.h>

namespace rhea::accel {
namespace {

constexpr unsigned kExitMemoryFault = 39; ///< KVM_EXIT_MEMORY_FAULT, Linux 6.8
constexpr unsigned kMaxInstruction = 15;
constexpr std::uint64_t kHypervInvalidCode = 2; ///< HV_STATUS_INVALID_HYPERCALL_CODE (TLFS, appendix B)

template <typename T> T memory_at(const kvm_run &run, std::size_t offset) {
    T value;
    std::memcpy(&value, reinterpret_cast<const char *>(&run) + offset, sizeof value);
    return value;
}

} // namespace

/// The handlers; nothing: go on.
struct KvmExits {
    using Exit = std::optional<core::VcpuExit>;
    using Handler = Exit (*)(KvmVcpu &vcpu, kvm_run &run);
    struct Row {
        unsigned reason;
        Handler handle;
    };

    static Exit go_on(KvmVcpu &, kvm_run &) { return std::nullopt; }

    static Exit io(KvmVcpu &vcpu, kvm_run &run) {
        const auto exit = run.io;
        const bool legal_size = exit.size == 1 || exit.size == 2 || exit.size == 4;
        if (!legal_size || exit.data_offset > vcpu.run_size_ ||
            (vcpu.run_size_ - exit.data_offset) / exit.size < exit.count)
            return vcpu.internal_error(fmt::format("the data of a port access lie outside kvm_run: {} times {} bytes at {:#x}", exit.count,
                                                   exit.size, exit.data_offset));
        auto *data = reinterpret_cast<std::uint8_t *>(&run) + exit.data_offset;
        for (std::uint32_t i = 0; i < exit.count; ++i, data += exit.size) {
            std::uint64_t value = 0;
            if (exit.direction == KVM_EXIT_IO_IN) {
                value = vcpu.io_.load(exit.port, exit.size);
                std::memcpy(data, &value, exit.size);
            } else {
                std::memcpy(&value, data, exit.size);
                vcpu.io_.store(exit.port, value, exit.size);
            }
        }
        vcpu.io_pending_ = true;
        return std::nullopt;
    }

    static Exit mmio(KvmVcpu &vcpu, kvm_run &run) {
        auto &access = run.mmio;
        const std::size_t length = std::min<std::size_t>(access.len, sizeof access.data);
        if (access.is_write)
            vcpu.memory_.write(access.phys_addr, access.data, length);
        else
            vcpu.memory_.read(access.phys_addr, access.data, length);
        vcpu.io_pending_ = true;
        return std::nullopt;
    }

    static Exit hlt(KvmVcpu &vcpu, kvm_run &) {
        vcpu.halted_ = true;
        return core::vcpu_exit::Halted{};
    }
    static Exit shutdown(KvmVcpu &, kvm_run &) { return core::vcpu_exit::Shutdown{}; }
    static Exit debug(KvmVcpu &, kvm_run &run) { return core::vcpu_exit::Debug{run.debug.arch.pc}; }

    static Exit system_event(KvmVcpu &vcpu, kvm_run &run) {
        switch (run.system_event.type) {
        case KVM_SYSTEM_EVENT_SHUTDOWN:
            vcpu.machine_requests_.request_shutdown(core::ShutdownCause::kGuestShutdown);
            return core::vcpu_exit::Interrupted{};
        case KVM_SYSTEM_EVENT_CRASH:
            vcpu.machine_requests_.request_shutdown(core::ShutdownCause::kGuestPanic);
            return core::vcpu_exit::Interrupted{};
        case KVM_SYSTEM_EVENT_RESET:
            return core::vcpu_exit::Reset{};
        default:
            return vcpu.internal_error(fmt::format("system event {} is not one of this machine", run.system_event.type));
        }
    }

    static Exit set_tpr(KvmVcpu &vcpu, kvm_run &run) {
        if (vcpu.apic_ && !vcpu.apic_in_kernel())
            vcpu.apic_->set_cr8(static_cast<std::uint8_t>(run.cr8 & 0xf));
        return std::nullopt;
    }

    static Exit ioapic_eoi(KvmVcpu &vcpu, kvm_run &run) {
        if (vcpu.vm_)
            vcpu.vm_->end_of_interrupt(run.eoi.vector);
        else if (vcpu.eoi_for_test_)
            vcpu.eoi_for_test_(run.eoi.vector);
        return std::nullopt;
    }

    /// MSRs that KVM leaves to us: none, so the guest gets #GP.
    static Exit read_msr(KvmVcpu &, kvm_run &run) {
        util::log_write(util::kLogGuestErrors, "kvm: RDMSR {:#x}: no such MSR\n", run.msr.index);
        run.msr.error = 1;
        return std::nullopt;
    }
    static Exit write_msr(KvmVcpu &, kvm_run &run) {
        util::log_write(util::kLogGuestErrors, "kvm: WRMSR {:#x} of {:#x}: no such MSR\n", run.msr.index, run.msr.data);
        run.msr.error = 1;
        return std::nullopt;
    }

    static Exit hypercall(KvmVcpu &, kvm_run &run) {
        util::log_write(util::kLogGuestErrors, "kvm: hypercall {} is not one of this machine\n", run.hypercall.nr);
        run.hypercall.ret = static_cast<std::uint64_t>(-KVM_ENOSYS);
        return std::nullopt;
    }
    static Exit hyperv(KvmVcpu &vcpu, kvm_run &run) {
        if (run.hyperv.type == KVM_EXIT_HYPERV_SYNIC)
            return std::nullopt; // a write to registers that we do not look at
        if (run.hyperv.type == KVM_EXIT_HYPERV_HCALL) {
            run.hyperv.u.hcall.result = kHypervInvalidCode;
            return std::nullopt;
        }
        return vcpu.internal_error(fmt::format("Hyper-V exit of type {} is not one that this machine can cause", run.hyperv.type));
    }

    static Exit bus_lock(KvmVcpu &, kvm_run &) {
        util::log_write(util::kLogGuestErrors, "kvm: the guest locked the bus\n");
        return std::nullopt;
    }
    static Exit notify(KvmVcpu &vcpu, kvm_run &run) {
        constexpr std::uint32_t kContextInvalid = 1; // KVM_NOTIFY_CONTEXT_INVALID
        if (memory_at<std::uint32_t>(run, offsetof(kvm_run, padding)) & kContextInvalid)
            return vcpu.internal_error("the guest blocked its CPU's event window, and its context is lost");
        return std::nullopt;
    }

    static Exit unknown_exit(KvmVcpu &vcpu, kvm_run &run) {
        return vcpu.internal_error(fmt::format("unknown hardware exit {:#x}", run.hw.hardware_exit_reason));
    }
    static Exit exception(KvmVcpu &vcpu, kvm_run &run) {
        return vcpu.internal_error(fmt::format("exception {} (error code {:#x}) that KVM does not handle", run.ex.exception, run.ex.error_code));
    }
    static Exit fail_entry(KvmVcpu &vcpu, kvm_run &run) {
        return vcpu.internal_error(fmt::format("the hardware refused to enter the guest on host CPU {} (reason {:#x})", run.fail_entry.cpu,
                                               run.fail_entry.hardware_entry_failure_reason));
    }
    static Exit memory_fault(KvmVcpu &vcpu, kvm_run &run) { // { u64 flags, gpa, size }
        const auto at = offsetof(kvm_run, padding);
        return vcpu.internal_error(fmt::format("memory fault: {:#x} bytes at guest address {:#x} (flags {:#x})",
                                               memory_at<std::uint64_t>(run, at + 16), memory_at<std::uint64_t>(run, at + 8),
                                               memory_at<std::uint64_t>(run, at)));
    }
    static Exit internal_error(KvmVcpu &vcpu, kvm_run &run) {
        const auto &failure = run.emulation_failure;
        if (run.internal.suberror != KVM_INTERNAL_ERROR_EMULATION) {
            std::string what = fmt::format("internal error, suberror {}", run.internal.suberror);
            const std::size_t words = std::min<std::size_t>(run.internal.ndata, std::size(run.internal.data));
            for (std::size_t i = 0; i < words; ++i)
                what += fmt::format("{} {:#x}", i ? "," : ":", run.internal.data[i]);
            return vcpu.internal_error(what);
        }
        std::string what = "KVM could not emulate an instruction";
        if (failure.ndata >= 1 && (failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)) {
            what += "; its bytes, as KVM fetched them:";
            for (unsigned i = 0; i < std::min<unsigned>(failure.insn_size, sizeof failure.insn_bytes); ++i)
                what += fmt::format(" {:02x}", failure.insn_bytes[i]);
        }
        return vcpu.internal_error(what);
    }

    static const Row kRows[];
};

constexpr KvmExits::Row KvmExits::kRows[] = {
    {KVM_EXIT_UNKNOWN, unknown_exit},
    {KVM_EXIT_EXCEPTION, exception},
    {KVM_EXIT_IO, io},
    {KVM_EXIT_HYPERCALL, hypercall},
    {KVM_EXIT_DEBUG, debug},
    {KVM_EXIT_HLT, hlt},
    {KVM_EXIT_MMIO, mmio},
    {KVM_EXIT_IRQ_WINDOW_OPEN, go_on}, // prepare_interrupts() uses it
    {KVM_EXIT_SHUTDOWN, shutdown},
    {KVM_EXIT_FAIL_ENTRY, fail_entry},
    {KVM_EXIT_INTR, go_on},
    {KVM_EXIT_SET_TPR, set_tpr},
    {KVM_EXIT_TPR_ACCESS, go_on}, // a report: KVM does the access
    {KVM_EXIT_NMI, go_on},        // the host's, and already handled
    {KVM_EXIT_INTERNAL_ERROR, internal_error},
    {KVM_EXIT_SYSTEM_EVENT, system_event},
    {KVM_EXIT_IOAPIC_EOI, ioapic_eoi},
    {KVM_EXIT_HYPERV, hyperv},
    {KVM_EXIT_X86_RDMSR, read_msr},
    {KVM_EXIT_X86_WRMSR, write_msr},
    {KVM_EXIT_X86_BUS_LOCK, bus_lock},
    {KVM_EXIT_NOTIFY, notify},
    {kExitMemoryFault, memory_fault},
};

std::optional<core::VcpuExit> KvmVcpu::handle_exit() {
    for (const KvmExits::Row &row : KvmExits::kRows) {
        if (row.reason == run_->exit_reason)
            return row.handle(*this, *run_);
    }
    return internal_error(fmt::format("KVM exit {} ({}) is not one that this machine can cause", run_->exit_reason,
                                      exit_reason_name(run_->exit_reason)));
}

core::VcpuExit KvmVcpu::internal_error(const std::string &what) {
    std::string text = fmt::format("KVM: vCPU {}: {}\n", index(), what);
    if (arch_->get(fd_.get())) {
        text += arch_->describe_registers();
        if (!text.ends_with('\n'))
            text += '\n';
        text += instruction_bytes();
    }
    return core::vcpu_exit::InternalError{text};
}

/// "Code: 0f 0b ..." at the program counter, as far as it lies in RAM or ROM: reading a device could change it.
std::string KvmVcpu::instruction_bytes() {
    std::string text = "Code:";
    const core::FlatView &view = memory_.view();
    for (unsigned i = 0; i < kMaxInstruction; ++i) {
        const auto physical = debug_translate(arch_->pc() + i);
        const core::FlatRange *range = physical ? view.find(*physical) : nullptr;
        if (!range || !range->host)
            return text + (i ? "" : " not in memory");
        text += fmt::format(" {:02x}", range->host[*physical - range->start]);
    }
    return text;
}

} // namespace rhea::accel
