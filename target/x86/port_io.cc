#include "port_io.h"

#include "helpers.h"
#include "linear_memory.h"

namespace rhea::target::x86 {

void check_io_permission(Cpu& cpu, std::uint16_t port, unsigned size) {
    const CpuState& s = cpu.s;
    if (!cpu.protected_mode() || (!cpu.vm86() && s.cpl <= cpu.iopl()))
        return;
    // The bitmap lies in a 32-bit (or 64-bit) TSS, at the offset that its last word gives.
    if (!(s.tr.attr & kAttrPresent) || (s.tr.attr & 0xd) != 9 || s.tr.limit < 0x67)
        throw_gp(0);
    const auto map =
        static_cast<std::uint32_t>(read_linear(cpu, s.tr_base + 0x66, 2, As::kSupervisor));
    const std::uint32_t at = map + port / 8;
    if (at + 1 > s.tr.limit)
        throw_gp(0);
    const std::uint64_t bits = read_linear(cpu, s.tr_base + at, 2, As::kSupervisor);
    if ((bits >> (port & 7)) & ((1u << size) - 1))
        throw_gp(0);
}

std::uint64_t read_port(Cpu& cpu, std::uint16_t port, unsigned size) {
    return cpu.host.io().load(port, size);
}

void write_port(Cpu& cpu, std::uint16_t port, std::uint64_t value, unsigned size) {
    cpu.host.io().store(port, value, size);
}

std::uint64_t helper_in(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const auto port = static_cast<std::uint16_t>(a);
        const auto size = static_cast<unsigned>(b);
        check_io_permission(cpu, port, size);
        check_watched_port(cpu, port, size);
        return read_port(cpu, port, size);
    });
}

std::uint64_t helper_out(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const auto port = static_cast<std::uint16_t>(a);
        const auto size = static_cast<unsigned>(c);
        check_io_permission(cpu, port, size);
        check_watched_port(cpu, port, size);
        write_port(cpu, port, b, size);
        return 0;
    });
}

}  // namespace rhea::target::x86
