#include "accel/kvm/kvm_vcpu.h"

#include "rhea/util/log.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
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

constexpr std::uint32_t kMsrTscDeadline = 0x6e0;
constexpr std::uint32_t kStartupRequests = core::kRequestInit | core::kRequestSipi;

/// kvm_msrs with one entry. The structure of the kernel's header ends in a flexible array, whose C++ form differs between versions.
struct OneMsr {
    std::uint32_t count = 1, padding = 0;
    kvm_msr_entry entry{};
};
constexpr unsigned long kGetMsrs = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x88, 8), kSetMsrs = _IOC(_IOC_WRITE, KVMIO, 0x89, 8);

} // namespace

KvmVcpu::KvmVcpu(KvmVm &vm, unsigned index, std::unique_ptr<core::KvmArchState> arch, core::AddressSpace &memory,
                 core::AddressSpace &io, core::MachineRequests &requests)
    : core::Vcpu(index), vm_(&vm), run_size_(vm.run_size()), irqchip_(vm.irqchip()), arch_(std::move(arch)), memory_(memory), io_(io),
      machine_requests_(requests) {}

KvmVcpu::KvmVcpu(Fabricated fabricated, std::unique_ptr<core::KvmArchState> arch, core::AddressSpace &memory, core::AddressSpace &io,
                 core::MachineRequests &requests)
    : core::Vcpu(0), run_(fabricated.run), run_size_(fabricated.run_size), ioctl_for_test_(std::move(fabricated.ioctl)),
      eoi_for_test_(std::move(fabricated.eoi)), irqchip_(fabricated.irqchip), arch_(std::move(arch)), memory_(memory), io_(io),
      machine_requests_(requests) {
    install_kick_handler();
}

util::Result<std::unique_ptr<KvmVcpu>> KvmVcpu::create(KvmVm &vm, unsigned index, std::unique_ptr<core::KvmArchState> arch,
                                                       core::AddressSpace &memory, core::AddressSpace &io,
                                                       core::MachineRequests &requests) {
    install_kick_handler();
    std::unique_ptr<KvmVcpu> vcpu(new KvmVcpu(vm, index, std::move(arch), memory, io, requests));
    vcpu->fd_ = Fd(::ioctl(vm.vm_fd(), KVM_CREATE_VCPU, static_cast<unsigned long>(index)));
    if (vcpu->fd_.get() < 0)
        return util::fail("KVM could not create vCPU {}: {}", index, std::strerror(errno));
    void *run = ::mmap(nullptr, vm.run_size(), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd_.get(), 0);
    if (run == MAP_FAILED)
        return util::fail("KVM vCPU {}: could not map kvm_run: {}", index, std::strerror(errno));
    vcpu->run_ = static_cast<kvm_run *>(run);
    vcpu->counters_ = &vm.add_vcpu(index, *vcpu);
    if (auto done = vcpu->arch_->setup(vm.system_fd(), vcpu->fd_.get()); !done)
        return util::fail(done.error());
    return vcpu;
}

KvmVcpu::~KvmVcpu() {
    if (!vm_)
        return;
    vm_->remove_vcpu(*this);
    if (run_)
        ::munmap(run_, run_size_);
}

int KvmVcpu::control(unsigned long request, void *argument) {
    return ioctl_for_test_ ? ioctl_for_test_(request, argument) : ::ioctl(fd_.get(), request, argument);
}

void KvmVcpu::request(std::uint32_t bits) {
    requests_.fetch_or(bits, std::memory_order_seq_cst);
    __atomic_store_n(&run_->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (in_run_.load(std::memory_order_seq_cst)) {
        counters_->kicks.fetch_add(1, std::memory_order_relaxed);
        ::pthread_kill(thread_.load(), kKickSignal);
    }
    wake();
}

bool KvmVcpu::has_work() {
    const std::uint32_t requests = requests_.load(std::memory_order_acquire);
    if (requests & (core::kRequestExit | (apic_in_kernel() ? 0u : kStartupRequests)))
        return true;
    if (waits_for_startup_)
        return false;
    if (requests & core::kRequestNmi)
        return true;
    return !halted_ || interrupt_ends_halt();
}

bool KvmVcpu::interrupt_ends_halt() const { return apic_ && run_->if_flag && apic_->interrupt_pending(); }

void KvmVcpu::reset() {
    requests_.store(0, std::memory_order_release);
    io_pending_ = false;
    halted_ = false;
    arch_->reset();
    waits_for_startup_ = !apic_in_kernel() && arch_->waits_for_startup();
    to_kvm_ = true;
}

void KvmVcpu::set_boot_state(const core::X86BootState &state) {
    arch_->set_boot_state(state);
    to_kvm_ = true;
}

void KvmVcpu::complete_io() {
    if (!io_pending_)
        return;
    __atomic_store_n(&run_->immediate_exit, 1, __ATOMIC_SEQ_CST);
    control(KVM_RUN, nullptr); // -EINTR: the access is complete, no guest code ran
    io_pending_ = false;
}

void KvmVcpu::synchronize() {
    complete_io();
    if (to_kvm_)
        return;
    if (arch_->get(fd_.get()) && !apic_in_kernel())
        arch_->set_halted(halted_);
}

void KvmVcpu::serialize(core::Archive &archive) {
    synchronize();
    arch_->serialize(archive);
    if (archive.restoring()) {
        halted_ = arch_->halted() && !apic_in_kernel();
        waits_for_startup_ = arch_->waits_for_startup() && !apic_in_kernel();
        to_kvm_ = true;
    }
}

std::optional<std::uint64_t> KvmVcpu::debug_translate(std::uint64_t linear) {
    if (!vm_)
        return linear;
    kvm_translation translation{};
    translation.linear_address = linear;
    if (control(KVM_TRANSLATE, &translation) != 0 || !translation.valid)
        return std::nullopt;
    return translation.physical_address;
}

std::string KvmVcpu::describe_registers() {
    synchronize();
    return arch_->describe_registers();
}

// ---- the local APIC in the kernel ----------------------------------------------------------------------------------

core::LocalApicState KvmVcpu::local_apic() {
    if (lapic_to_kvm_)
        return *lapic_to_kvm_;
    core::LocalApicState state;
    complete_io();
    kvm_sregs sregs{};
    kvm_lapic_state page{};
    OneMsr deadline;
    deadline.entry.index = kMsrTscDeadline;
    if (control(KVM_GET_SREGS, &sregs) == 0)
        state.apic_base = sregs.apic_base;
    if (control(KVM_GET_LAPIC, &page) == 0) {
        for (std::size_t i = 0; i < state.registers.size(); ++i)
            std::memcpy(&state.registers[i], page.regs + 16 * i, 4);
    }
    if (control(kGetMsrs, &deadline) == 1)
        state.tsc_deadline = deadline.entry.data;
    return state;
}

/// Registers, then the local APIC: its page means what IA32_APIC_BASE (with the special registers) says, and the deadline counts only
/// when the page has the timer in that mode.
util::Result<void> KvmVcpu::put_registers_and_apic() {
    if (to_kvm_) {
        if (auto done = arch_->put(fd_.get()); !done)
            return done;
        to_kvm_ = false;
    }
    if (!lapic_to_kvm_)
        return {};
    const core::LocalApicState state = *lapic_to_kvm_;
    lapic_to_kvm_.reset();
    kvm_sregs sregs{};
    if (control(KVM_GET_SREGS, &sregs) < 0)
        return util::fail("KVM_GET_SREGS: {}", std::strerror(errno));
    if (sregs.apic_base != state.apic_base) {
        sregs.apic_base = state.apic_base;
        if (control(KVM_SET_SREGS, &sregs) < 0)
            return util::fail("KVM refused IA32_APIC_BASE {:#x}: {}", state.apic_base, std::strerror(errno));
    }
    kvm_lapic_state page{};
    for (std::size_t i = 0; i < state.registers.size(); ++i)
        std::memcpy(page.regs + 16 * i, &state.registers[i], 4);
    if (control(KVM_SET_LAPIC, &page) < 0)
        return util::fail("KVM refused the local APIC's state: {}", std::strerror(errno));
    // A tick that came since the 8254 was set has just been overwritten, and the kernel's 8254 sends no other before the guest has
    // had that one. Setting it again makes it forget.
    if (vm_ && irqchip_ == KernelIrqchip::kOn) {
        kvm_pit_state2 pit{};
        if (::ioctl(vm_->vm_fd(), KVM_GET_PIT2, &pit) == 0)
            ::ioctl(vm_->vm_fd(), KVM_SET_PIT2, &pit);
    }
    if (state.tsc_deadline) {
        OneMsr deadline;
        deadline.entry.index = kMsrTscDeadline;
        deadline.entry.data = state.tsc_deadline;
        if (control(kSetMsrs, &deadline) != 1)
            util::log_write(util::kLogUnimp, "kvm: this KVM has no IA32_TSC_DEADLINE\n");
    }
    return {};
}

util::Result<void> KvmVcpu::put_state() {
    if (!to_kvm_ && !lapic_to_kvm_)
        return {};
    if (auto done = put_registers_and_apic(); !done)
        return done;
    // Whether the CPU takes interrupts now is in kvm_run, which an entry that runs no guest code fills. Without it a CPU that halts
    // in the kernel while the 8259s' interrupt waits outside (split) would never be offered that interrupt: no other edge comes.
    if (halted_ || irqchip_ == KernelIrqchip::kSplit) {
        __atomic_store_n(&run_->immediate_exit, 1, __ATOMIC_SEQ_CST);
        control(KVM_RUN, nullptr);
    }
    return {};
}

// ---- the run loop --------------------------------------------------------------------------------------------------

/// With a local APIC in the kernel these messages never come here.
void KvmVcpu::take_startup_requests() {
    const std::uint32_t requests = requests_.load(std::memory_order_acquire) & kStartupRequests;
    if (requests == 0 || apic_in_kernel())
        return;
    clear_request(requests);
    synchronize();
    arch_->take_startup(requests, apic_);
    waits_for_startup_ = arch_->waits_for_startup();
    halted_ = arch_->halted();
    to_kvm_ = true;
}

/// Takes requests that end HLT; false: still halted.
bool KvmVcpu::may_go_on() {
    const std::uint32_t requests = requests_.load(std::memory_order_acquire);
    if (requests & core::kRequestNmi) {
        clear_request(core::kRequestNmi);
        control(KVM_NMI, nullptr);
        halted_ = false;
    }
    if (requests & core::kRequestSmi) {
        clear_request(core::kRequestSmi);
        util::log_write(util::kLogGuestErrors, "kvm: SMI messages of a local APIC outside the kernel are dropped\n");
    }
    if (waits_for_startup_)
        return false;
    if (interrupt_ends_halt())
        halted_ = false;
    return !halted_;
}

void KvmVcpu::prepare_interrupts() {
    if (!apic_ || irqchip_ == KernelIrqchip::kOn)
        return;
    if (!apic_in_kernel())
        run_->cr8 = apic_->cr8();
    if (apic_->interrupt_pending() && run_->ready_for_interrupt_injection && run_->if_flag) {
        const int vector = apic_->acknowledge();
        if (vector >= 0) {
            kvm_interrupt interrupt{};
            interrupt.irq = static_cast<std::uint32_t>(vector);
            control(KVM_INTERRUPT, &interrupt);
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
        take_startup_requests();
        if (auto done = put_state(); !done)
            return core::vcpu_exit::InternalError{done.error().message()};
        __atomic_store_n(&run_->immediate_exit, 0, __ATOMIC_SEQ_CST);
        in_run_.store(true, std::memory_order_seq_cst);
        if (!may_go_on()) {
            in_run_.store(false);
            return core::vcpu_exit::Halted{};
        }
        if (requests_.load(std::memory_order_seq_cst) & (core::kRequestExit | (apic_in_kernel() ? 0u : kStartupRequests)))
            __atomic_store_n(&run_->immediate_exit, 1, __ATOMIC_SEQ_CST); // asked between the test above and here
        prepare_interrupts();
        counters_->runs.fetch_add(1, std::memory_order_relaxed);
        const int result = control(KVM_RUN, nullptr);
        const int error = errno;
        in_run_.store(false, std::memory_order_seq_cst);
        io_pending_ = false;
        core::ViewGuard::quiescent();
        if (apic_ && !apic_in_kernel() && apic_->cr8() != run_->cr8)
            apic_->set_cr8(static_cast<std::uint8_t>(run_->cr8));
        if (result < 0) {
            if (error == EINTR || error == EAGAIN) {
                counters_->interrupted.fetch_add(1, std::memory_order_relaxed);
                continue;
            }
            return internal_error(fmt::format("KVM_RUN: {}", std::strerror(error)));
        }
        counters_->by_reason[std::min<unsigned>(run_->exit_reason, KvmCounters::kReasons - 1)].fetch_add(1, std::memory_order_relaxed);
        if (auto exit = handle_exit())
            return *exit;
    }
}

} // namespace rhea::accel
