#include "accel/kvm/kvm_vm.h"

#include "accel/kvm/exit_names.h"
#include "rhea/util/log.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace rhea::accel {

Fd &Fd::operator=(Fd &&other) noexcept {
    if (this != &other) {
        if (fd_ >= 0)
            ::close(fd_);
        fd_ = other.release();
    }
    return *this;
}

Fd::~Fd() {
    if (fd_ >= 0)
        ::close(fd_);
}

util::Result<std::unique_ptr<KvmVm>> KvmVm::create(const KvmOptions &options) {
    std::unique_ptr<KvmVm> vm(new KvmVm);
    vm->system_ = Fd(::open(options.device.c_str(), O_RDWR | O_CLOEXEC));
    if (vm->system_.get() < 0) {
        const int error = errno;
        return util::fail("could not access {}: {}; use -accel tcg", options.device, std::strerror(error));
    }
    const int version = ::ioctl(vm->system_.get(), KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION)
        return util::fail("{} speaks KVM API version {}, {} is needed: use -accel tcg", options.device, version, KVM_API_VERSION);
    int fd;
    do {
        fd = ::ioctl(vm->system_.get(), KVM_CREATE_VM, 0);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return util::fail("{}: could not create a VM: {}: use -accel tcg", options.device, std::strerror(errno));
    vm->vm_ = Fd(fd);
    for (const auto &[capability, name] : {std::pair{KVM_CAP_USER_MEMORY, "user memory slots"}, {KVM_CAP_IMMEDIATE_EXIT, "immediate_exit"},
                                           {KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR"}}) {
        if (!vm->has(capability))
            return util::fail("the host's KVM lacks {}: use a newer kernel, or -accel tcg", name);
    }
    const int run_size = ::ioctl(vm->system_.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
    if (run_size < static_cast<int>(sizeof(kvm_run)))
        return util::fail("{}: KVM_GET_VCPU_MMAP_SIZE gave {}", options.device, run_size);
    vm->run_size_ = static_cast<std::size_t>(run_size);
    const int slots = ::ioctl(vm->vm_.get(), KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
    vm->max_slots_ = slots > 0 ? static_cast<std::uint32_t>(slots) : 32;
    // Three pages that VT-x needs for real mode, out of everybody's way below the firmware (KVM API, 4.36 and 4.40).
    ::ioctl(vm->vm_.get(), KVM_SET_TSS_ADDR, 0xfeffd000ul);
    std::uint64_t identity_map = 0xfeffc000;
    ::ioctl(vm->vm_.get(), KVM_SET_IDENTITY_MAP_ADDR, &identity_map);

    vm->irqchip_ = options.irqchip;
    if (options.irqchip != KernelIrqchip::kOff)
        vm->chips_ = std::make_unique<KvmIrqchip>(*vm, options.irqchip == KernelIrqchip::kSplit);
    if (options.irqchip == KernelIrqchip::kOn) {
        if (::ioctl(vm->vm_.get(), KVM_CREATE_IRQCHIP, 0) < 0)
            return util::fail("kernel-irqchip=on: KVM_CREATE_IRQCHIP: {}: use kernel-irqchip=off", std::strerror(errno));
        kvm_pit_config pit{};
        pit.flags = KVM_PIT_SPEAKER_DUMMY;
        if (::ioctl(vm->vm_.get(), KVM_CREATE_PIT2, &pit) < 0)
            return util::fail("kernel-irqchip=on: KVM_CREATE_PIT2: {}: use kernel-irqchip=off", std::strerror(errno));
        vm->chips_->route_pc_interrupts();
    } else if (options.irqchip == KernelIrqchip::kSplit) {
        kvm_enable_cap split{};
        split.cap = KVM_CAP_SPLIT_IRQCHIP;
        split.args[0] = KvmIrqchip::kPins;
        if (::ioctl(vm->vm_.get(), KVM_ENABLE_CAP, &split) < 0)
            return util::fail("kernel-irqchip=split: KVM_CAP_SPLIT_IRQCHIP: {}: use kernel-irqchip=on or off", std::strerror(errno));
    }
    return vm;
}

bool KvmVm::has(int capability) const { return ::ioctl(vm_.get(), KVM_CHECK_EXTENSION, static_cast<unsigned long>(capability)) > 0; }

void KvmVm::attach(core::AddressSpace &memory, core::AddressSpace &io) {
    memory.add_listener(*this);
    io.add_listener(io_listener_);
}

void KvmVm::set_slot(std::uint64_t address, const Slot &slot, bool remove) {
    kvm_userspace_memory_region region{};
    region.slot = slot.number;
    region.flags = slot.readonly ? KVM_MEM_READONLY : 0u;
    region.guest_phys_addr = address;
    region.memory_size = remove ? 0 : slot.size;
    region.userspace_addr = slot.host;
    if (::ioctl(vm_.get(), KVM_SET_USER_MEMORY_REGION, &region) < 0 && slot_status_)
        slot_status_ = util::fail("KVM refused memory slot {} ({:#x}, {} KiB): {}", slot.number, address, slot.size / 1024, std::strerror(errno));
}

void KvmVm::view_changed(const core::FlatView &, const core::FlatView &new_view) {
    std::map<std::uint64_t, Slot> wanted;
    for (const core::FlatRange &range : new_view.ranges) {
        // A slot is made of whole pages; what is smaller is reached through exits.
        if (!range.host || (range.start | range.size | reinterpret_cast<std::uint64_t>(range.host)) & ~core::kPageMask)
            continue;
        wanted[range.start] = {range.size, reinterpret_cast<std::uint64_t>(range.host), range.readonly, 0};
    }
    // Removals first: slots may not overlap at any time.
    for (auto it = slots_.begin(); it != slots_.end();) {
        auto same = wanted.find(it->first);
        if (same != wanted.end() && same->second == it->second) {
            wanted.erase(same);
            ++it;
            continue;
        }
        set_slot(it->first, it->second, true);
        free_slots_.push_back(it->second.number);
        it = slots_.erase(it);
    }
    for (auto &[address, slot] : wanted) {
        if (free_slots_.empty()) {
            if (next_slot_ == max_slots_) {
                if (slot_status_)
                    slot_status_ = util::fail("KVM has no more than {} memory slots", max_slots_);
                return;
            }
            free_slots_.push_back(next_slot_++);
        }
        slot.number = free_slots_.back();
        free_slots_.pop_back();
        set_slot(address, slot, false);
        slots_[address] = slot;
    }
}

void KvmVm::bind_ioeventfd(const core::IoEventFd &binding, bool pio, bool remove) {
    kvm_ioeventfd request{};
    request.addr = binding.addr;
    request.len = binding.size;
    request.fd = binding.fd;
    request.datamatch = binding.value;
    request.flags = (pio ? KVM_IOEVENTFD_FLAG_PIO : 0u) | (binding.match_value ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0u) |
                    (remove ? KVM_IOEVENTFD_FLAG_DEASSIGN : 0u);
    // Refused: the store exits instead, and AddressSpace::store signals the descriptor.
    if (::ioctl(vm_.get(), KVM_IOEVENTFD, &request) < 0)
        util::log_write(util::kLogUnimp, "kvm: KVM_IOEVENTFD at {:#x}: {}\n", binding.addr, std::strerror(errno));
}

void KvmVm::set_irq(int gsi, bool level) {
    kvm_irq_level line{};
    line.irq = static_cast<std::uint32_t>(gsi);
    line.level = level;
    ::ioctl(vm_.get(), KVM_IRQ_LINE, &line);
}

util::Result<void> KvmVm::bind_irqfd(int event_fd, unsigned gsi, bool remove) {
    kvm_irqfd request{};
    request.fd = static_cast<std::uint32_t>(event_fd);
    request.gsi = gsi;
    request.flags = remove ? KVM_IRQFD_FLAG_DEASSIGN : 0u;
    if (::ioctl(vm_.get(), KVM_IRQFD, &request) < 0)
        return util::fail("KVM_IRQFD for interrupt {}: {}", gsi, std::strerror(errno));
    return {};
}

void KvmVm::end_of_interrupt(std::uint8_t vector) {
    if (chips_)
        chips_->end_of_interrupt(vector);
}

KvmCounters &KvmVm::add_vcpu(unsigned index, KvmVcpu &vcpu) {
    while (counters_.size() <= index)
        counters_.push_back(std::make_unique<KvmCounters>());
    if (vcpus_.size() <= index)
        vcpus_.resize(index + 1);
    vcpus_[index] = &vcpu;
    return *counters_[index];
}

void KvmVm::remove_vcpu(const KvmVcpu &vcpu) {
    for (KvmVcpu *&place : vcpus_) {
        if (place == &vcpu)
            place = nullptr;
    }
}

std::string KvmVm::describe() const {
    std::string text = "kvm support: enabled\n";
    static constexpr const char *kIrqchips[] = {"off", "on", "split"};
    text += fmt::format("kernel irqchip: {}\nmemory slots: {} of {}\n", kIrqchips[static_cast<unsigned>(irqchip_)], slots_.size(), max_slots_);
    if (chips_)
        text += chips_->describe();
    for (std::size_t i = 0; i < counters_.size(); ++i) {
        const KvmCounters &counters = *counters_[i];
        text += fmt::format("vCPU {}: KVM_RUN {}, kicks {}, interrupted {}\n", i, counters.runs.load(), counters.kicks.load(), counters.interrupted.load());
        for (unsigned reason = 0; reason < KvmCounters::kReasons; ++reason) {
            if (const std::uint64_t count = counters.by_reason[reason].load())
                text += fmt::format("  {:<22} {}\n", exit_reason_name(reason), count);
        }
    }
    return text;
}

} // namespace rhea::accel
