#include "accel/kvm/kvm_vcpu.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

namespace rhea::accel {
namespace {

class KvmAccelerator final : public core::Accelerator {
public:
    KvmAccelerator(std::unique_ptr<KvmVm> vm, KvmArchFactory make_arch) : vm_(std::move(vm)), make_arch_(std::move(make_arch)) {}

    std::string_view name() const override { return "kvm"; }

    util::Result<void> attach(core::AddressSpace &memory, core::AddressSpace &io) override {
        memory_ = &memory;
        io_ = &io;
        vm_->attach(memory, io);
        return vm_->slot_status();
    }

    util::Result<std::unique_ptr<core::Vcpu>> create_vcpu(unsigned index, core::Clocks &clocks, core::MachineRequests &requests) override {
        auto vcpu = KvmVcpu::create(*vm_, index, make_arch_(index, clocks), *memory_, *io_, requests);
        if (!vcpu)
            return util::fail(vcpu.error());
        return std::unique_ptr<core::Vcpu>(std::move(*vcpu));
    }

    core::IrqSink *kernel_interrupts() override { return vm_->irqchip() == KernelIrqchip::kOn ? vm_.get() : nullptr; }
    core::KernelIrqchip *kernel_irqchip() override { return vm_->chips(); }

    std::string describe(std::string_view what) const override { return what == "kvm" ? vm_->describe() : std::string{}; }

private:
    std::unique_ptr<KvmVm> vm_;
    KvmArchFactory make_arch_;
    core::AddressSpace *memory_ = nullptr;
    core::AddressSpace *io_ = nullptr;
};

} // namespace

util::Result<std::unique_ptr<core::Accelerator>> make_kvm_accelerator(const KvmOptions &options, KvmArchFactory make_arch) {
    auto vm = KvmVm::create(options);
    if (!vm)
        return util::fail(vm.error());
    return std::unique_ptr<core::Accelerator>(std::make_unique<KvmAccelerator>(std::move(*vm), std::move(make_arch)));
}

util::Result<double> measure_kvm_speed(const std::string &device) {
    auto vm = KvmVm::create({.irqchip = KernelIrqchip::kOff, .device = device});
    if (!vm)
        return util::fail(vm.error());
    // mov cx, 20000; 1: dec cx; jnz 1b; hlt  in real mode at 0.
    static constexpr std::uint32_t kLoops = 20000;
    static constexpr std::uint8_t kCode[] = {0xb9, kLoops & 0xff, kLoops >> 8, 0x49, 0x75, 0xfd, 0xf4};
    void *memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return util::fail("could not allocate a page: {}", std::strerror(errno));
    std::memcpy(memory, kCode, sizeof kCode);
    kvm_userspace_memory_region region{};
    region.memory_size = 4096;
    region.userspace_addr = reinterpret_cast<std::uint64_t>(memory);
    double result = -1;
    if (::ioctl((*vm)->vm_fd(), KVM_SET_USER_MEMORY_REGION, &region) == 0) {
        const Fd vcpu(::ioctl((*vm)->vm_fd(), KVM_CREATE_VCPU, 0ul));
        void *run = vcpu.get() < 0 ? MAP_FAILED : ::mmap(nullptr, (*vm)->run_size(), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.get(), 0);
        if (run != MAP_FAILED) {
            kvm_sregs sregs{};
            kvm_regs regs{};
            ::ioctl(vcpu.get(), KVM_GET_SREGS, &sregs);
            sregs.cs.base = 0;
            sregs.cs.selector = 0;
            ::ioctl(vcpu.get(), KVM_SET_SREGS, &sregs);
            regs.rflags = 2;
            ::ioctl(vcpu.get(), KVM_SET_REGS, &regs);
            const auto start = std::chrono::steady_clock::now();
            const bool ran = ::ioctl(vcpu.get(), KVM_RUN, 0) == 0 && static_cast<kvm_run *>(run)->exit_reason == KVM_EXIT_HLT;
            const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
            if (ran)
                result = elapsed.count() / kLoops;
            ::munmap(run, (*vm)->run_size());
        }
    }
    ::munmap(memory, 4096);
    if (result < 0)
        return util::fail("{} does not run a simple loop", device);
    return result;
}

} // namespace rhea::accel
