// CMPXCHG8B and CMPXCHG16B.
#include "helpers.h"
#include "linear_memory.h"
#include "rhea/tcg/backend.h"

namespace rhea::target::x86 {
namespace {

void set_zf(CpuState& s, bool on) {
    const std::uint32_t flags = tcg::compute_flags(s.head);
    s.head.cc_op = tcg::cc_op(tcg::FlagsKind::kRaw, 4);
    s.head.cc_dst = on ? flags | tcg::kZF : flags & ~tcg::kZF;
}

struct Pair {
    std::uint64_t low, high;
};

/// The host's own instruction: atomic at any address, like the guest's.
bool host_cmpxchg16(std::uint8_t* at, Pair& expected, Pair desired) {
    bool done;
    asm volatile("lock cmpxchg16b %1"
                 : "=@ccz"(done), "+m"(*reinterpret_cast<unsigned __int128*>(at)),
                   "+a"(expected.low), "+d"(expected.high)
                 : "b"(desired.low), "c"(desired.high)
                 : "memory");
    return done;
}

bool host_cmpxchg8(std::uint8_t* at, std::uint64_t& expected, std::uint64_t desired) {
    bool done;
    asm volatile("lock cmpxchgq %3, %1"
                 : "=@ccz"(done), "+m"(*reinterpret_cast<std::uint64_t*>(at)), "+a"(expected)
                 : "r"(desired)
                 : "memory");
    return done;
}

}  // namespace

std::uint64_t helper_cmpxchg8b(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        CpuState& s = cpu.s;
        const As as = cpu.as_current();
        std::uint64_t expected = (s.gpr[kRax] & 0xffffffff) | s.gpr[kRdx] << 32;
        const std::uint64_t desired = (s.gpr[kRbx] & 0xffffffff) | s.gpr[kRcx] << 32;
        bool equal;
        LinearTarget target;
        if ((a & 0xfff) <= 0xff8)
            target = resolve(cpu, a, tcg::Access::kWrite, as);
        if (target.host != nullptr) {
            equal = host_cmpxchg8(target.host, expected, desired);
        } else {  // device, translated code, or two pages: always a write, as hardware does it
            if (!cpu.host.alone())
                return 0;
            probe_write_linear(cpu, a, 8, as);
            const std::uint64_t now = read_linear(cpu, a, 8, as);
            equal = now == expected;
            write_linear(cpu, a, equal ? desired : now, 8, as);
            expected = now;
        }
        if (!equal) {
            s.gpr[kRax] = expected & 0xffffffff;
            s.gpr[kRdx] = expected >> 32;
        }
        set_zf(s, equal);
        return 0;
    });
}

std::uint64_t helper_cmpxchg16b(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        CpuState& s = cpu.s;
        const As as = cpu.as_current();
        if (a & 15)
            throw_gp(0);
        Pair expected{s.gpr[kRax], s.gpr[kRdx]};
        const Pair desired{s.gpr[kRbx], s.gpr[kRcx]};
        bool equal;
        const LinearTarget target = resolve(cpu, a, tcg::Access::kWrite, as);
        if (target.host != nullptr) {
            equal = host_cmpxchg16(target.host, expected, desired);
        } else {
            if (!cpu.host.alone())
                return 0;
            const Pair now{read_linear(cpu, a, 8, as), read_linear(cpu, a + 8, 8, as)};
            equal = now.low == expected.low && now.high == expected.high;
            write_linear(cpu, a, equal ? desired.low : now.low, 8, as);
            write_linear(cpu, a + 8, equal ? desired.high : now.high, 8, as);
            expected = now;
        }
        if (!equal) {
            s.gpr[kRax] = expected.low;
            s.gpr[kRdx] = expected.high;
        }
        set_zf(s, equal);
        return 0;
    });
}

}  // namespace rhea::target::x86
