#include "accel/kvm/kvm_vcpu.h"

#include "accel/kvm/exit_names.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fmt/format.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

namespace rhea::accel {
namespace {

/// The signal that takes a thread out of KVM_RUN; its handler does nothing, immediate_exit does the rest.
constexpr int kKickSignal = SIGUSR1;

void install_kick_handler() {
    static const bool installed = [] {
        struct sigaction action {};
        action.sa_handler = [](int) {};
        ::sigaction(kKickSignal, &action, nullptr);
        return true;
    }();
    (void)installed;
}

} // namespace

KvmVcpu::KvmVcpu(KvmVm *vm, unsigned index, std::unique_ptr<core::KvmArchState> arch, core::AddressSpace &memory,
                 core::AddressSpace &io, core::MachineRequests &requests, kvm_run *run)
    : core::Vcpu(index), vm_(vm), run_(run), arch_(std::move(arch)), memory_(memory), io_(io), machine_requests_(requests) {}

util::Result<std::unique_ptr<KvmVcpu>> KvmVcpu::create(KvmVm &vm, unsigned index, std::unique_ptr<core::KvmArchState> arch,
                                                       core::AddressSpace &memory, core::AddressSpace &io,
                                                       core::MachineRequests &requests) {
    install_kick_handler();
    auto vcpu = std::make_unique<KvmVcpu>(&vm, index, std::move(arch), memory, io, requests, nullptr);
    vcpu->fd_ = Fd(::ioctl(vm.vm_fd(), KVM_CREATE_VCPU, static_cast<unsigned long>(index)));
    if (vcpu->fd_.get() < 0)
        return util::fail("KVM could not create vCPU {}: {}", index, std::strerror(errno));
    void *run = ::mmap(nullptr, vm.run_size(), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd_.get(), 0);
    if (run == MAP_FAILED)
        return util::fail("KVM vCPU {}: could not map kvm_run: {}", index, std::strerror(errno));
    vcpu->run_ = static_cast<kvm_run *>(run);
    vcpu->owns_run_ = true;
    vm.add_vcpu();
    if (auto done = vcpu->arch_->setup(vm.system_fd(), vcpu->fd_.get()); !done)
        return util::fail(done.error());
    return vcpu;
}

KvmVcpu::~KvmVcpu() {
    if (owns_run_)
        ::munmap(run_, vm_->run_size());
}

void KvmVcpu::request(std::uint32_t bits) {
    requests_.fetch_or(bits, std::memory_order_seq_cst);
    __atomic_store_n(&run_->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (in_run_.load(std::memory_order_seq_cst)) {
        if (vm_)
            vm_->counters(index()).kicks.fetch_add(1, std::memory_order_relaxed);
        ::pthread_kill(thread_.load(), kKickSignal);
    }
    wake();
}

bool KvmVcpu::has_work() {
    if (requests_.load(std::memory_order_acquire) & (core::kRequestExit | core::kRequestNmi | core::kRequestInit | core::kRequestSipi))
        return true;
    return apic_ && apic_->interrupt_pending();
}

void KvmVcpu::reset() {
    requests_.store(0, std::memory_order_release);
    io_pending_ = false;
    halted_ = false;
    arch_->reset();
    to_kvm_ = true;
}

void KvmVcpu::set_boot_state(const core::X86BootState &state) {
    arch_->set_boot_state(state);
    to_kvm_ = true;
}

void KvmVcpu::complete_io() {
    if (!io_pending_ || fd_.get() < 0)
        return;
    __atomic_store_n(&run_->immediate_exit, 1, __ATOMIC_SEQ_CST);
    ::ioctl(fd_.get(), KVM_RUN, 0); // -EINTR: the access is complete, no guest code ran
    io_pending_ = false;
}

void KvmVcpu::synchronize() {
    complete_io();
    if (!to_kvm_ && fd_.get() >= 0)
        (void)arch_->get(fd_.get());
}

void KvmVcpu::serialize(core::Archive &archive) {
    synchronize();
    arch_->serialize(archive);
    archive.field("halted", halted_);
    if (archive.restoring())
        to_kvm_ = true;
}

std::optional<std::uint64_t> KvmVcpu::debug_translate(std::uint64_t linear) {
    kvm_translation translation{};
    translation.linear_address = linear;
    if (fd_.get() < 0 || ::ioctl(fd_.get(), KVM_TRANSLATE, &translation) != 0 || !translation.valid)
        return std::nullopt;
    return translation.physical_address;
}

std::string KvmVcpu::describe_registers() {
    synchronize();
    return arch_->describe_registers();
}

void KvmVcpu::prepare_interrupts() {
    if (!vm_ || vm_->irqchip() == KernelIrqchip::kOn)
        return; // all in the kernel
    if (requests_.load(std::memory_order_acquire) & core::kRequestNmi) {
        clear_request(core::kRequestNmi);
        ::ioctl(fd_.get(), KVM_NMI, 0);
    }
    if (!apic_)
        return;
    run_->cr8 = apic_->cr8();
    if (apic_->interrupt_pending() && run_->ready_for_interrupt_injection && run_->if_flag) {
        const int vector = apic_->acknowledge();
        if (vector >= 0) {
            kvm_interrupt interrupt{};
            interrupt.irq = static_cast<std::uint32_t>(vector);
            ::ioctl(fd_.get(), KVM_INTERRUPT, &interrupt);
            run_->ready_for_interrupt_injection = 0;
        }
    }
    run_->request_interrupt_window = apic_->interrupt_pending();
}

core::VcpuExit KvmVcpu::run() {
    core::ViewGuard guard;
    set_current(this);
    thread_.store(::pthread_self());
    for (;;) {
        if (requests_.load(std::memory_order_seq_cst) & core::kRequestExit) {
            complete_io();
            clear_request(core::kRequestExit);
            __atomic_store_n(&run_->immediate_exit, 0, __ATOMIC_SEQ_CST);
            return core::vcpu_exit::Interrupted{};
        }
        if (to_kvm_) {
            if (auto done = arch_->put(fd_.get()); !done)
                return core::vcpu_exit::InternalError{done.error().message()};
            to_kvm_ = false;
        }
        __atomic_store_n(&run_->immediate_exit, 0, __ATOMIC_SEQ_CST);
        in_run_.store(true, std::memory_order_seq_cst);
        if (halted_ && (!apic_ || !apic_->interrupt_pending())) {
            in_run_.store(false);
            return core::vcpu_exit::Halted{};
        }
        halted_ = false;
        if (requests_.load(std::memory_order_seq_cst) & core::kRequestExit)
            __atomic_store_n(&run_->immediate_exit, 1, __ATOMIC_SEQ_CST); // asked between the test above and here
        prepare_interrupts();
        KvmCounters &counters = vm_->counters(index());
        counters.runs.fetch_add(1, std::memory_order_relaxed);
        const int result = ::ioctl(fd_.get(), KVM_RUN, 0);
        const int error = errno;
        in_run_.store(false, std::memory_order_seq_cst);
        io_pending_ = false;
        core::ViewGuard::quiescent();
        if (vm_->irqchip() != KernelIrqchip::kOn && apic_ && apic_->cr8() != run_->cr8)
            apic_->set_cr8(static_cast<std::uint8_t>(run_->cr8));
        if (result < 0) {
            if (error == EINTR || error == EAGAIN) {
                counters.interrupted.fetch_add(1, std::memory_order_relaxed);
                continue;
            }
            return internal_error(fmt::format("KVM_RUN: {}", std::strerror(error)));
        }
        counters.by_reason[std::min<unsigned>(run_->exit_reason, KvmCounters::kReasons - 1)].fetch_add(1, std::memory_order_relaxed);
        if (auto exit = handle_exit())
            return *exit;
    }
}

std::optional<core::VcpuExit> KvmVcpu::handle_exit() {
    switch (run_->exit_reason) {
    case KVM_EXIT_IO:
        handle_io();
        return std::nullopt;
    case KVM_EXIT_MMIO:
        handle_mmio();
        return std::nullopt;
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_INTR:
    case KVM_EXIT_SET_TPR:
        return std::nullopt;
    case KVM_EXIT_HLT:
        halted_ = true;
        return core::vcpu_exit::Halted{};
    case KVM_EXIT_SHUTDOWN:
        return core::vcpu_exit::Shutdown{};
    case KVM_EXIT_DEBUG:
        return core::vcpu_exit::Debug{run_->debug.arch.pc};
    case KVM_EXIT_SYSTEM_EVENT:
        if (run_->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN) {
            machine_requests_.request_shutdown(core::ShutdownCause::kGuestShutdown);
            return core::vcpu_exit::Interrupted{};
        }
        if (run_->system_event.type == KVM_SYSTEM_EVENT_CRASH) {
            machine_requests_.request_shutdown(core::ShutdownCause::kGuestPanic);
            return core::vcpu_exit::Interrupted{};
        }
        return core::vcpu_exit::Reset{};
    case KVM_EXIT_FAIL_ENTRY:
        return internal_error(fmt::format("the hardware refused to enter the guest (reason {:#x})", run_->fail_entry.hardware_entry_failure_reason));
    case KVM_EXIT_INTERNAL_ERROR:
        return handle_internal_error();
    case KVM_EXIT_UNKNOWN:
        return internal_error(fmt::format("unknown hardware exit {:#x}", run_->hw.hardware_exit_reason));
    default:
        return internal_error(fmt::format("KVM exit '{}' is not one that this machine can cause", exit_reason_name(run_->exit_reason)));
    }
}

void KvmVcpu::handle_io() {
    const auto &io = run_->io;
    auto *data = reinterpret_cast<std::uint8_t *>(run_) + io.data_offset;
    for (std::uint32_t i = 0; i < io.count; ++i, data += io.size) {
        if (io.direction == KVM_EXIT_IO_IN) {
            const std::uint64_t value = io_.load(io.port, io.size);
            std::memcpy(data, &value, std::min<unsigned>(io.size, 8));
        } else {
            std::uint64_t value = 0;
            std::memcpy(&value, data, std::min<unsigned>(io.size, 8));
            io_.store(io.port, value, io.size);
        }
    }
    io_pending_ = true;
}

void KvmVcpu::handle_mmio() {
    const auto &mmio = run_->mmio;
    const std::size_t length = std::min<std::size_t>(mmio.len, sizeof mmio.data);
    if (mmio.is_write)
        memory_.write(mmio.phys_addr, mmio.data, length);
    else
        memory_.read(mmio.phys_addr, run_->mmio.data, length);
    io_pending_ = true;
}

core::VcpuExit KvmVcpu::internal_error(const std::string &what) {
    std::string text = fmt::format("KVM: vCPU {}: {}\n", index(), what);
    if (fd_.get() >= 0 && arch_->get(fd_.get()))
        text += arch_->describe_registers();
    return core::vcpu_exit::InternalError{text};
}

core::VcpuExit KvmVcpu::handle_internal_error() {
    std::string what = fmt::format("internal error, suberror {}", run_->internal.suberror);
    if (run_->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
        what = "KVM could not emulate an instruction";
        const auto &failure = run_->emulation_failure;
        if (failure.ndata >= 1 && (failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)) {
            what += "; bytes at the instruction:";
            for (unsigned i = 0; i < std::min<unsigned>(failure.insn_size, sizeof failure.insn_bytes); ++i)
                what += fmt::format(" {:02x}", failure.insn_bytes[i]);
        }
    }
    return internal_error(what);
}

} // namespace rhea::accel
