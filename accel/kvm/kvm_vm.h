// The VM: descriptors, memory slots, ioeventfds, interrupt lines, counters.
//
// Slots follow the memory view under the machine lock. Counters are written by vCPU threads (one each) and read by anyone.
#pragma once
#include "accel/kvm/kvm_irqchip.h"
#include "rhea/accel/kvm.h"
#include "rhea/core/irq.h"
#include "rhea/core/memory.h"

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <vector>

namespace rhea::accel {

/// A file descriptor that closes itself.
class Fd {
public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd &&other) noexcept : fd_(other.release()) {}
    Fd &operator=(Fd &&other) noexcept;
    ~Fd();
    int get() const { return fd_; }
    int release() {
        const int fd = fd_;
        fd_ = -1;
        return fd;
    }

private:
    int fd_ = -1;
};

/// Counts of KVM_RUN by exit reason.
struct KvmCounters {
    static constexpr unsigned kReasons = 64;
    std::atomic<std::uint64_t> runs{0}, kicks{0}, interrupted{0};
    std::array<std::atomic<std::uint64_t>, kReasons> by_reason{};
};

class KvmVcpu;

class KvmVm final : public core::MemoryListener, public core::IrqSink {
public:
    static util::Result<std::unique_ptr<KvmVm>> create(const KvmOptions &options);
    ~KvmVm() override = default;

    int system_fd() const { return system_.get(); }
    int vm_fd() const { return vm_.get(); }
    std::size_t run_size() const { return run_size_; }
    KernelIrqchip irqchip() const { return irqchip_; }
    bool has(int capability) const;

    /// Memory slots follow this address space.
    void attach(core::AddressSpace &memory, core::AddressSpace &io);
    /// The first slot that KVM refused, or success.
    const util::Result<void> &slot_status() const { return slot_status_; }

    // MemoryListener
    void view_changed(const core::FlatView &old_view, const core::FlatView &new_view) override;
    void ioeventfd_added(const core::IoEventFd &binding) override { bind_ioeventfd(binding, false, false); }
    void ioeventfd_removed(const core::IoEventFd &binding) override { bind_ioeventfd(binding, false, true); }

    /// In-kernel interrupt controllers: GSI lines.
    void set_irq(int gsi, bool level) override;
    /// irqfd: writes to the event descriptor pulse the GSI.
    util::Result<void> bind_irqfd(int event_fd, unsigned gsi, bool remove);

    /// The chips in the kernel; null with kernel-irqchip=off.
    core::KernelIrqchip *chips() { return chips_.get(); }
    /// KVM_EXIT_IOAPIC_EOI, from a vCPU's thread.
    void end_of_interrupt(std::uint8_t vector);

    /// A vCPU's counters; they outlive it.
    KvmCounters &add_vcpu(unsigned index, KvmVcpu &vcpu);
    void remove_vcpu(const KvmVcpu &vcpu);
    KvmVcpu *vcpu(unsigned index) const { return index < vcpus_.size() ? vcpus_[index] : nullptr; }
    std::string describe() const;

private:
    struct Slot {
        std::uint64_t size = 0;
        std::uint64_t host = 0;
        bool readonly = false;
        std::uint32_t number = 0;
        bool operator==(const Slot &other) const { return size == other.size && host == other.host && readonly == other.readonly; }
    };
    /// Port I/O space has its own ioeventfds.
    class IoListener final : public core::MemoryListener {
    public:
        explicit IoListener(KvmVm &vm) : vm_(vm) {}
        void view_changed(const core::FlatView &, const core::FlatView &) override {}
        void ioeventfd_added(const core::IoEventFd &binding) override { vm_.bind_ioeventfd(binding, true, false); }
        void ioeventfd_removed(const core::IoEventFd &binding) override { vm_.bind_ioeventfd(binding, true, true); }

    private:
        KvmVm &vm_;
    };

    KvmVm() : io_listener_(*this) {}
    void set_slot(std::uint64_t address, const Slot &slot, bool remove);
    void bind_ioeventfd(const core::IoEventFd &binding, bool pio, bool remove);

    Fd system_, vm_;
    std::size_t run_size_ = 0;
    KernelIrqchip irqchip_ = KernelIrqchip::kOff;
    std::uint32_t max_slots_ = 32;
    std::map<std::uint64_t, Slot> slots_; ///< by guest physical address
    std::vector<std::uint32_t> free_slots_;
    std::uint32_t next_slot_ = 0;
    util::Result<void> slot_status_;
    IoListener io_listener_;
    std::unique_ptr<KvmIrqchip> chips_;
    std::vector<std::unique_ptr<KvmCounters>> counters_; ///< by vCPU index
    std::vector<KvmVcpu *> vcpus_;                       ///< by index; null when gone
};

} // namespace rhea::accel
