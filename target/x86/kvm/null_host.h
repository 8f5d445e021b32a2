// A VcpuHost for a frontend that executes nothing: under KVM it only keeps, resets, saves and prints registers.
#pragma once
#include "rhea/core/clock.h"
#include "rhea/core/memory.h"
#include "rhea/tcg/frontend.h"

#include <memory>

namespace rhea::target::x86 {

class NullHost final : public tcg::VcpuHost {
public:
    explicit NullHost(const core::Clocks &clocks) : clocks_(clocks) {}
    core::AddressSpace &memory() override { return space_; }
    core::AddressSpace &io() override { return space_; }
    void flush_tlb(bool) override {}
    void flush_tlb_page(std::uint64_t) override {}
    void switch_address_space(std::uint64_t, std::uint32_t, bool) override {}
    void flush_pcid(std::uint32_t, bool, bool) override {}
    void flush_pcid_page(std::uint32_t, std::uint64_t) override {}
    void mode_changed() override {}
    std::uint32_t requests() const override { return requests_; }
    void clear_request(std::uint32_t bits) override { requests_ &= ~bits; }
    core::LocalApicPort *apic() override { return apic_; }
    /// What the frontend's check_requests() shall find.
    void set_requests(std::uint32_t bits, core::LocalApicPort *apic) {
        requests_ = bits;
        apic_ = apic;
    }
    void request_machine_reset() override {}
    unsigned index() const override { return 0; }
    std::int64_t guest_ns() const override { return clocks_.virtual_ns(); }

private:
    const core::Clocks &clocks_;
    std::uint32_t requests_ = 0;
    core::LocalApicPort *apic_ = nullptr;
    std::unique_ptr<core::MemoryRegion> root_ = core::MemoryRegion::container("nothing", 0);
    core::AddressSpace space_{"nothing", *root_};
};

} // namespace rhea::target::x86
