#include "requests.h"

#include "control.h"
#include "interrupt.h"
#include "reset.h"
#include "segment.h"
#include "smm.h"

namespace rhea::target::x86 {
namespace {

using Outcome = tcg::GuestFrontend::Outcome;

void update_a20(Cpu& cpu, std::uint32_t requests) {
    const std::uint8_t masked = (requests & core::kRequestA20) != 0;
    if (masked == cpu.s.a20_masked)
        return;
    cpu.s.a20_masked = masked;
    cpu.flush_tlb(false);
}

void take_init(Cpu& cpu) {
    cpu.host.clear_request(core::kRequestInit);
    if (core::LocalApicPort* apic = cpu.host.apic())
        apic->init_reset();
    init_state(cpu);
}

/// Start-up IPI: real mode at vector << 12.
void take_sipi(Cpu& cpu) {
    cpu.host.clear_request(core::kRequestSipi);
    CpuState& s = cpu.s;
    const std::uint8_t vector = cpu.host.apic() != nullptr ? cpu.host.apic()->sipi_vector() : 0;
    s.wait_for_sipi = s.halted = 0;
    install_real(cpu, kCs, static_cast<std::uint16_t>(vector << 8));
    s.head.pc = s.seg_base[kCs];
    update_mode(cpu);
}

Outcome take_interrupt(Cpu& cpu) {
    core::LocalApicPort* apic = cpu.host.apic();
    const int vector = apic != nullptr ? apic->acknowledge() : -1;
    if (vector < 0) {
        if (apic == nullptr)
            cpu.host.clear_request(core::kRequestIntr);
        return Outcome::kRun;
    }
    cpu.s.halted = 0;
    return deliver_event(cpu,
                         {static_cast<std::uint8_t>(vector), EventKind::kExternal, false, 0, 0});
}

}  // namespace

Outcome check_requests(Cpu& cpu) {
    CpuState& s = cpu.s;
    if (cpu.shutdown) {
        cpu.shutdown = false;
        return Outcome::kShutdown;
    }
    const std::uint32_t requests = cpu.host.requests();
    update_a20(cpu, requests);
    if (requests & core::kRequestTlbFlush) {
        cpu.host.clear_request(core::kRequestTlbFlush);
        cpu.flush_tlb(false);
    }
    if ((requests & core::kRequestInit) && !s.smm)
        take_init(cpu);
    if (s.wait_for_sipi) {
        if (!(cpu.host.requests() & core::kRequestSipi))
            return Outcome::kHalt;
        take_sipi(cpu);
    } else if (requests & core::kRequestSipi) {
        cpu.host.clear_request(core::kRequestSipi);  // ignored by a running processor
    }
    if ((requests & core::kRequestSmi) && !s.smm) {
        cpu.host.clear_request(core::kRequestSmi);
        enter_smm(cpu);
        return Outcome::kRun;
    }
    if ((requests & core::kRequestNmi) && !s.nmi_blocked && !s.interrupt_shadow) {
        cpu.host.clear_request(core::kRequestNmi);
        s.nmi_blocked = 1;
        s.halted = 0;
        return deliver_event(cpu, {kVectorNMI, EventKind::kExternal, false, 0, 0});
    }
    if ((requests & core::kRequestIntr) && (s.rflags & kFlagIF) && !s.interrupt_shadow) {
        const Outcome outcome = take_interrupt(cpu);
        if (outcome != Outcome::kRun)
            return outcome;
    }
    return s.halted ? Outcome::kHalt : Outcome::kRun;
}

bool has_work(const Cpu& cpu) {
    const CpuState& s = cpu.s;
    const std::uint32_t requests = cpu.host.requests();
    if ((requests & core::kRequestInit) && !s.smm)
        return true;
    if (s.wait_for_sipi)
        return (requests & core::kRequestSipi) != 0;
    if ((requests & core::kRequestSmi) && !s.smm)
        return true;
    if ((requests & core::kRequestNmi) && !s.nmi_blocked)
        return true;
    if ((requests & core::kRequestIntr) && (s.rflags & kFlagIF))
        return true;
    return !s.halted;
}

}  // namespace rhea::target::x86
