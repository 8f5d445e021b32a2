// REP MOVS, STOS and LODS, by the host's own string instructions: the same overlap semantics,
// element by element.
#include <cstring>

#include "helpers.h"
#include "string_cursor.h"

namespace rhea::target::x86 {
namespace {

/// Runs up to this many bytes are done without REP.
constexpr std::uint64_t kShort = 256;

/// Copies `n` elements with the direction flag as given; a backward copy starts at the highest
/// element.
void host_movs(std::uint8_t* to, const std::uint8_t* from, std::uint64_t n, unsigned size,
               bool backward) {
    if (backward) {
        if (size == 1)
            asm volatile("std; rep movsb; cld" : "+D"(to), "+S"(from), "+c"(n)::"memory", "cc");
        else if (size == 2)
            asm volatile("std; rep movsw; cld" : "+D"(to), "+S"(from), "+c"(n)::"memory", "cc");
        else if (size == 4)
            asm volatile("std; rep movsl; cld" : "+D"(to), "+S"(from), "+c"(n)::"memory", "cc");
        else
            asm volatile("std; rep movsq; cld" : "+D"(to), "+S"(from), "+c"(n)::"memory", "cc");
        return;
    }
    // Far enough apart, the element size makes no difference. The host's REP pays from some hundred
    // bytes on.
    const bool apart = to + n * size <= from || from + n * size <= to;
    if (apart && n * size <= kShort) {
        std::memcpy(to, from, n * size);
    } else if (size == 1 || apart) {
        std::uint64_t bytes = n * size;
        asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes)::"memory");
    } else if (size == 2) {
        asm volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(n)::"memory");
    } else if (size == 4) {
        asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n)::"memory");
    } else {
        asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n)::"memory");
    }
}

/// `to` is the first element stored; backward, the run starts `n - 1` elements below it. The order
/// cannot be seen.
void host_stos(std::uint8_t* to, std::uint64_t value, std::uint64_t n, unsigned size,
               bool backward) {
    if (backward)
        to -= (n - 1) * size;
    if (n * size <= kShort && size == 1)
        std::memset(to, static_cast<int>(value), n);
    else if (n * size <= kShort && size == 8)
        for (; n != 0; --n, to += 8)
            std::memcpy(to, &value, 8);
    else if (size == 1)
        asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
    else if (size == 2)
        asm volatile("rep stosw" : "+D"(to), "+c"(n) : "a"(value) : "memory");
    else if (size == 4)
        asm volatile("rep stosl" : "+D"(to), "+c"(n) : "a"(value) : "memory");
    else
        asm volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(value) : "memory");
}

}  // namespace

std::uint64_t helper_rep_movs(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const StringInfo info = StringInfo::unpack(a);
        StringCursor from(cpu, info, kRsi, static_cast<Seg>(info.segment)),
            to(cpu, info, kRdi, kEs);
        RepeatCount count(cpu, info);
        const As as = cpu.as_current();
        while (const std::uint64_t left = count.left()) {
            Fault fault;
            if (!check_movs(cpu, from, to, fault)) {
                raise(*state, fault);
                return 0;
            }
            std::uint64_t n = to.run_length(from.run_length(left));
            if (n == 0) {  // one element across a page boundary
                write_linear(cpu, to.linear(), read_linear(cpu, from.linear(), info.size, as),
                             info.size, as);
                n = 1;
            } else {
                LinearTarget source, target;
                if (!try_resolve(cpu, from.linear(), tcg::Access::kRead, as, source, fault) ||
                    !try_resolve(cpu, to.linear(), tcg::Access::kWrite, as, target, fault)) {
                    raise(*state, fault);
                    return 0;
                }
                if (source.host != nullptr && target.host != nullptr) {
                    host_movs(target.host, source.host, n, info.size, from.backward());
                } else {
                    n = 1;
                    store_target(cpu, target, load_target(cpu, source, info.size), info.size);
                }
            }
            from.advance(n);
            to.advance(n);
            count.done(n);
            if (count.pauses())
                return 1;
        }
        return 0;
    });
}

std::uint64_t helper_rep_stos(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const StringInfo info = StringInfo::unpack(a);
        StringCursor to(cpu, info, kRdi, kEs);
        RepeatCount count(cpu, info);
        const As as = cpu.as_current();
        const std::uint64_t value = state->gpr[kRax];
        while (const std::uint64_t left = count.left()) {
            Fault fault;
            if (!to.check(true, fault)) {
                raise(*state, fault);
                return 0;
            }
            std::uint64_t n = to.run_length(left);
            if (n == 0) {
                write_linear(cpu, to.linear(), value, info.size, as);
                n = 1;
            } else {
                LinearTarget target;
                if (!try_resolve(cpu, to.linear(), tcg::Access::kWrite, as, target, fault)) {
                    raise(*state, fault);
                    return 0;
                }
                if (target.host != nullptr) {
                    host_stos(target.host, value, n, info.size, to.backward());
                } else {
                    n = 1;
                    store_target(cpu, target, value, info.size);
                }
            }
            to.advance(n);
            count.done(n);
            if (count.pauses())
                return 1;
        }
        return 0;
    });
}

std::uint64_t helper_rep_lods(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const StringInfo info = StringInfo::unpack(a);
        StringCursor from(cpu, info, kRsi, static_cast<Seg>(info.segment));
        RepeatCount count(cpu, info);
        const As as = cpu.as_current();
        const std::uint64_t keep = info.size >= 4 ? 0 : ~0ull << (info.size * 8);
        while (const std::uint64_t left = count.left()) {
            Fault fault;
            if (!from.check(false, fault)) {
                raise(*state, fault);
                return 0;
            }
            std::uint64_t n = from.run_length(left), value;
            if (n == 0) {
                value = read_linear(cpu, from.linear(), info.size, as);
                n = 1;
            } else {
                LinearTarget source;
                if (!try_resolve(cpu, from.linear(), tcg::Access::kRead, as, source, fault)) {
                    raise(*state, fault);
                    return 0;
                }
                if (source.host != nullptr) {  // of RAM only the last element matters
                    const auto skip = static_cast<std::int64_t>((n - 1) * info.size);
                    source.host += from.backward() ? -skip : skip;
                } else {
                    n = 1;
                }
                value = load_target(cpu, source, info.size);
            }
            state->gpr[kRax] = (state->gpr[kRax] & keep) | value;
            from.advance(n);
            count.done(n);
            if (count.pauses())
                return 1;
        }
        return 0;
    });
}

}  // namespace rhea::target::x86
