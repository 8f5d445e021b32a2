// The kernel's interrupt controllers and timer behind core::KernelIrqchip: messages, GSI routes, state.
//
// State goes through KVM_GET/SET_IRQCHIP, KVM_GET/SET_PIT2 and, by way of the vCPUs, KVM_GET/SET_LAPIC. The conversions are functions of
// their own, so that tests reach them without a VM. Under the machine lock.
#pragma once
#include "rhea/core/kernel_irqchip.h"

#include <atomic>
#include <linux/kvm.h>
#include <optional>
#include <string>
#include <vector>

namespace rhea::accel {

class KvmVm;

core::PicState from_kvm(const kvm_pic_state &in);
kvm_pic_state to_kvm(const core::PicState &in, bool master);
core::IoApicState from_kvm(const kvm_ioapic_state &in);
kvm_ioapic_state to_kvm(const core::IoApicState &in);
/// `now_ns` is CLOCK_MONOTONIC's.
core::PitState from_kvm(const kvm_pit_state2 &in, std::int64_t now_ns);
kvm_pit_state2 to_kvm(const core::PitState &in, std::int64_t now_ns);

class KvmIrqchip final : public core::KernelIrqchip {
public:
    KvmIrqchip(KvmVm &vm, bool local_apics_only) : vm_(vm), local_apics_only_(local_apics_only) {}

    bool local_apics_only() const override { return local_apics_only_; }
    bool send_msi(std::uint64_t address, std::uint32_t data) override;
    int add_message_descriptor(int fd, std::uint64_t address, std::uint32_t data) override;
    void change_message_descriptor(int number, std::uint64_t address, std::uint32_t data) override;
    void remove_message_descriptor(int number, int fd) override;
    void set_pin_route(unsigned pin, std::uint64_t address, std::uint32_t data) override;
    void set_eoi_handler(std::function<void(std::uint8_t)> handler) override { eoi_handler_ = std::move(handler); }
    core::LocalApicState local_apic(unsigned cpu) override;
    void set_local_apic(unsigned cpu, const core::LocalApicState &state) override;
    std::array<core::PicState, 2> pics() override;
    void set_pics(const std::array<core::PicState, 2> &state) override;
    core::IoApicState io_apic() override;
    void set_io_apic(const core::IoApicState &state) override;
    core::PitState pit() override;
    void set_pit(const core::PitState &state) override;

    /// local_apics_only(): GSIs that are pins of I/O APICs of the machine's: two at most.
    static constexpr unsigned kPins = 48;

    /// All chips in the kernel: the GSIs of a PC get their wires.
    void route_pc_interrupts() { (void)publish_routes(); }
    /// `info kvm`: how messages reach the local APICs. Takes the machine lock.
    std::string describe() const;
    /// From a vCPU's thread; takes the machine lock.
    void end_of_interrupt(std::uint8_t vector);

private:
    static constexpr unsigned kPcPins = 24; ///< of the kernel's I/O APIC
    struct Route {
        std::uint64_t address = 0;
        std::uint32_t data = 0;
        bool operator==(const Route &) const = default;
    };
    bool publish_routes();
    bool set_irqfd(int fd, int number, bool assign);

    KvmVm &vm_;
    bool local_apics_only_;
    std::function<void(std::uint8_t)> eoi_handler_;
    std::atomic<std::uint64_t> signalled_{0};          ///< messages by KVM_SIGNAL_MSI
    std::array<Route, kPins> routes_{};                ///< local_apics_only(): of the pins
    std::vector<std::optional<Route>> messages_;       ///< of descriptors; number n is GSI kPins + n
};

} // namespace rhea::accel
