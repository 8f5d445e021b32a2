// REPE/REPNE CMPS and SCAS.
#include <cstring>

#include "helpers.h"
#include "string_cursor.h"

namespace rhea::target::x86 {
namespace {

std::uint64_t load(const std::uint8_t* from, unsigned size) {
    std::uint64_t value = 0;
    std::memcpy(&value, from, size);
    return value;
}

/// Flags of a - b as the lazy triple.
void set_compare_flags(CpuState& s, std::uint64_t a, std::uint64_t b, unsigned size) {
    s.head.cc_op = tcg::cc_op(tcg::FlagsKind::kCmp, size);
    s.head.cc_dst = a;
    s.head.cc_src = b;
}

/// A comparison in progress: the last pair compared, and whether the prefix's condition ended it.
struct Scan {
    std::uint64_t a = 0, b = 0;
    bool any = false, ended = false;
    bool stop_on_equal, repeated;

    explicit Scan(const StringInfo& info)
        : stop_on_equal(info.rep == RepKind::kRepne), repeated(info.rep != RepKind::kNone) {}
    void compare(std::uint64_t left, std::uint64_t right) {
        a = left;
        b = right;
        any = true;
        ended = repeated && (left == right) == stop_on_equal;
    }
};

/// Compares up to `n` elements by pointer; returns how many were looked at. `step_b` 0: always the
/// same right side.
std::uint64_t scan_host(Scan& scan, const std::uint8_t* left, const std::uint8_t* right,
                        std::uint64_t n, unsigned size, bool backward) {
    std::uint64_t i = 0;
    if (!backward && !scan.stop_on_equal) {  // skip equal stretches eight bytes at a time
        const std::uint64_t per_word = 8 / size;
        while (i + per_word < n && load(left + i * size, 8) == load(right + i * size, 8))
            i += per_word;
    }
    for (; i < n; ++i) {
        const auto at = static_cast<std::int64_t>(i * size) * (backward ? -1 : 1);
        scan.compare(load(left + at, size), load(right + at, size));
        if (scan.ended)
            return i + 1;
    }
    return n;
}

std::uint64_t scan_host_value(Scan& scan, std::uint64_t value, const std::uint8_t* right,
                              std::uint64_t n, unsigned size, bool backward) {
    std::uint64_t i = 0;
    if (size == 1 && !backward && scan.stop_on_equal) {
        const void* found = std::memchr(right, static_cast<int>(value), n);
        i = found != nullptr
                ? static_cast<std::uint64_t>(static_cast<const std::uint8_t*>(found) - right)
                : n - 1;
    }
    for (; i < n; ++i) {
        scan.compare(value,
                     load(right + static_cast<std::int64_t>(i * size) * (backward ? -1 : 1), size));
        if (scan.ended)
            return i + 1;
    }
    return n;
}

std::uint64_t finish(CpuState& s, const Scan& scan, const StringInfo& info, bool early) {
    if (scan.any)
        set_compare_flags(s, scan.a, scan.b, info.size);
    return early ? 1 : 0;
}

}  // namespace

std::uint64_t helper_rep_cmps(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const StringInfo info = StringInfo::unpack(a);
        StringCursor left(cpu, info, kRsi, static_cast<Seg>(info.segment)),
            right(cpu, info, kRdi, kEs);
        RepeatCount count(cpu, info);
        Scan scan(info);
        const As as = cpu.as_current();
        while (const std::uint64_t wanted = count.left()) {
            Fault fault;
            if (!left.check(false, fault) || !right.check(false, fault)) {
                raise(*state, fault);
                return 0;
            }
            std::uint64_t n = right.run_length(left.run_length(wanted));
            if (n == 0) {
                const std::uint64_t y = read_linear(cpu, right.linear(), info.size, as);
                scan.compare(read_linear(cpu, left.linear(), info.size, as), y);
                n = 1;
            } else {
                LinearTarget x, y;
                // When both fault, RDI's comes first (as on AMD CPUs).
                if (!try_resolve(cpu, right.linear(), tcg::Access::kRead, as, y, fault) ||
                    !try_resolve(cpu, left.linear(), tcg::Access::kRead, as, x, fault)) {
                    raise(*state, fault);
                    return 0;
                }
                if (x.host != nullptr && y.host != nullptr) {
                    n = scan_host(scan, x.host, y.host, n, info.size, left.backward());
                } else {
                    n = 1;
                    const std::uint64_t value = load_target(cpu, x, info.size);
                    scan.compare(value, load_target(cpu, y, info.size));
                }
            }
            left.advance(n);
            right.advance(n);
            count.done(n);
            if (scan.ended)
                break;
            if (count.pauses())
                return finish(*state, scan, info, true);
        }
        return finish(*state, scan, info, false);
    });
}

std::uint64_t helper_rep_scas(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const StringInfo info = StringInfo::unpack(a);
        StringCursor right(cpu, info, kRdi, kEs);
        RepeatCount count(cpu, info);
        Scan scan(info);
        const As as = cpu.as_current();
        const std::uint64_t value =
            info.size == 8 ? state->gpr[kRax] : state->gpr[kRax] & ((1ull << info.size * 8) - 1);
        while (const std::uint64_t wanted = count.left()) {
            Fault fault;
            if (!right.check(false, fault)) {
                raise(*state, fault);
                return 0;
            }
            std::uint64_t n = right.run_length(wanted);
            if (n == 0) {
                scan.compare(value, read_linear(cpu, right.linear(), info.size, as));
                n = 1;
            } else {
                LinearTarget y;
                if (!try_resolve(cpu, right.linear(), tcg::Access::kRead, as, y, fault)) {
                    raise(*state, fault);
                    return 0;
                }
                if (y.host != nullptr) {
                    n = scan_host_value(scan, value, y.host, n, info.size, right.backward());
                } else {
                    n = 1;
                    scan.compare(value, load_target(cpu, y, info.size));
                }
            }
            right.advance(n);
            count.done(n);
            if (scan.ended)
                break;
            if (count.pauses())
                return finish(*state, scan, info, true);
        }
        return finish(*state, scan, info, false);
    });
}

}  // namespace rhea::target::x86
