// INS and OUTS, with and without REP.
#include <array>
#include <cstring>

#include "helpers.h"
#include "port_io.h"
#include "string_cursor.h"

namespace rhea::target::x86 {
namespace {

/// Elements that INS reads before it looks whether somebody asks for the vCPU, or for the machine lock.
constexpr std::size_t kInputsAtOnce = 64;

/// Several elements of REP INS into one page of plain RAM; how many, 0 where that cannot be. The port is read only when the values can
/// be stored; but reading waits for the machine lock, and meanwhile another vCPU may have translated code from that page.
std::uint64_t input_run(Cpu& cpu, const StringCursor& to, std::uint64_t left, std::uint16_t port, unsigned size, As as) {
    const std::uint64_t count = std::min<std::uint64_t>(to.run_length(left), kInputsAtOnce);
    if (count <= 1 || to.backward() || cpu.watch.port_count != 0)
        return 0;
    if (resolve(cpu, to.linear(), tcg::Access::kWrite, as).host == nullptr)
        return 0;
    std::array<std::uint8_t, kInputsAtOnce * 4> values;
    cpu.host.io().load_repeatedly(port, size, values.data(), count);
    LinearTarget target = resolve(cpu, to.linear(), tcg::Access::kWrite, as);
    if (target.host != nullptr) {
        std::memcpy(target.host, values.data(), count * size);
        return count;
    }
    for (std::uint64_t i = 0; i < count; ++i, target.physical += size) {
        std::uint64_t value = 0;
        std::memcpy(&value, &values[i * size], size);
        store_target(cpu, target, value, size);
    }
    return count;
}

}  // namespace

std::uint64_t helper_ins(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const StringInfo info = StringInfo::unpack(a);
        const auto port = static_cast<std::uint16_t>(state->gpr[kRdx]);
        StringCursor to(cpu, info, kRdi, kEs);
        RepeatCount count(cpu, info);
        const As as = cpu.as_current();
        check_io_permission(cpu, port, info.size);  // also when the count is 0
        while (count.left() != 0) {
            Fault fault;
            if (!to.check(true, fault))
                throw Fault(fault);
            if (const std::uint64_t run = input_run(cpu, to, count.left(), port, info.size, as)) {
                to.advance(run);
                count.done(run);
                if (count.pauses())
                    return 1;
                continue;
            }
            check_watched_port(cpu, port, info.size);
            // The port is read only when the value can be stored.
            if (to.run_length(1) == 0) {
                probe_write_linear(cpu, to.linear(), info.size, as);
                write_linear(cpu, to.linear(), read_port(cpu, port, info.size), info.size, as);
            } else {
                const LinearTarget target = resolve(cpu, to.linear(), tcg::Access::kWrite, as);
                target.check(cpu, info.size, true);
                store_target(cpu, target, read_port(cpu, port, info.size), info.size);
            }
            to.advance(1);
            count.done(1);
            if (count.pauses())
                return 1;
        }
        return 0;
    });
}

std::uint64_t helper_outs(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const StringInfo info = StringInfo::unpack(a);
        const auto port = static_cast<std::uint16_t>(state->gpr[kRdx]);
        StringCursor from(cpu, info, kRsi, static_cast<Seg>(info.segment));
        RepeatCount count(cpu, info);
        check_io_permission(cpu, port, info.size);  // also when the count is 0
        while (count.left() != 0) {
            Fault fault;
            if (!from.check(false, fault))
                throw Fault(fault);
            const std::uint64_t value =
                read_linear(cpu, from.linear(), info.size, cpu.as_current());
            check_watched_port(cpu, port, info.size);
            write_port(cpu, port, value, info.size);
            from.advance(1);
            count.done(1);
            if (count.pauses())
                return 1;
        }
        return 0;
    });
}

}  // namespace rhea::target::x86
