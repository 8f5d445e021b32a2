// Masked moves and gathers: elements whose mask is clear are not accessed at all (SDM volume 2, VMASKMOV, VPGATHERDD).
#include "target/x86/cpu.h"
#include "target/x86/fault.h"
#include "target/x86/fpu/avx_access.h"
#include "target/x86/helpers.h"
#include "target/x86/linear_memory.h"

#include <algorithm>
#include <cstring>

namespace rhea::target::x86 {
namespace {

/// A YMM register as elements.
class Elements {
public:
    Elements(CpuState &s, unsigned reg, unsigned size)
        : bytes_(reinterpret_cast<std::uint8_t *>(s.xmm[reg & 15].lane)), size_(size) {}
    std::uint64_t get(unsigned n) const {
        std::uint64_t value = 0;
        std::memcpy(&value, bytes_ + n * size_, size_);
        return value;
    }
    std::int64_t get_signed(unsigned n) const {
        const unsigned shift = 64 - 8 * size_;
        return static_cast<std::int64_t>(get(n) << shift) >> shift;
    }
    bool negative(unsigned n) const { return get_signed(n) < 0; }
    void set(unsigned n, std::uint64_t value) { std::memcpy(bytes_ + n * size_, &value, size_); }
    void clear_from(unsigned n) { std::memset(bytes_ + n * size_, 0, 32 - n * size_); }

private:
    std::uint8_t *bytes_;
    unsigned size_;
};

std::uint64_t wrapped(const Cpu &cpu, std::uint64_t linear) { return cpu.code64() ? linear : linear & 0xffffffff; }

unsigned count_of(const AvxAccess &access) { return (access.wide != 0 ? 32u : 16u) / access.element; }

/// The whole gather, where the window's TLB has the pages of all elements: nothing has changed when it says no.
template <class Element, class Index>
bool gather_known(CpuState &state, const AvxAccess &access, std::uint64_t base) {
    constexpr unsigned kWidest = std::max(sizeof(Element), sizeof(Index));
    const unsigned count = (access.wide != 0 ? 32u : 16u) / kWidest;
    if (state.cold.window == 0) {
        return false;
    }
    auto *data = reinterpret_cast<std::uint8_t *>(state.xmm[access.data & 15].lane);
    auto *mask = reinterpret_cast<std::uint8_t *>(state.xmm[access.mask & 15].lane);
    const auto *index = reinterpret_cast<const std::uint8_t *>(state.xmm[access.index & 15].lane);
    Element found[32 / sizeof(Element)] = {};
    std::memcpy(found, data, count * sizeof(Element));
    for (unsigned n = 0; n < count; n++) {
        Element wanted;
        Index i;
        std::memcpy(&wanted, mask + n * sizeof(Element), sizeof wanted);
        std::memcpy(&i, index + n * sizeof(Index), sizeof i);
        if (wanted >= 0) {
            continue;
        }
        const std::uint64_t linear = base + (static_cast<std::uint64_t>(std::int64_t{i}) << access.scale);
        const std::uint8_t *host = window_read_pointer(state, linear, sizeof(Element));
        if (host == nullptr) {
            return false;
        }
        std::memcpy(&found[n], host, sizeof(Element));
    }
    std::memcpy(data, found, 32);
    std::memset(mask, 0, 32);
    return true;
}

bool gather_known(CpuState &state, const AvxAccess &access, std::uint64_t base) {
    if (access.element == 4) {
        return access.index_size == 4 ? gather_known<std::int32_t, std::int32_t>(state, access, base)
                                      : gather_known<std::int32_t, std::int64_t>(state, access, base);
    }
    return access.index_size == 4 ? gather_known<std::int64_t, std::int32_t>(state, access, base)
                                  : gather_known<std::int64_t, std::int64_t>(state, access, base);
}

} // namespace

std::uint64_t helper_avx_mask_load(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        const AvxAccess access = AvxAccess::unpack(b);
        const unsigned count = count_of(access), size = access.element;
        const Elements mask(*state, access.mask, size);
        // A load that is masked out hits a data breakpoint, too, as on AMD's CPUs; a store does not.
        check_watched(cpu, wrapped(cpu, a), count * size, false);
        std::uint64_t loaded[8] = {};
        for (unsigned n = 0; n < count; n++) {
            loaded[n] = mask.negative(n) ? read_linear(cpu, wrapped(cpu, a + n * size), size, cpu.as_current()) : 0;
        }
        Elements data(*state, access.data, size);
        for (unsigned n = 0; n < count; n++) {
            data.set(n, loaded[n]);
        }
        data.clear_from(count);
        return 0;
    });
}

std::uint64_t helper_avx_mask_store(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        const AvxAccess access = AvxAccess::unpack(b);
        const unsigned count = count_of(access), size = access.element;
        const Elements mask(*state, access.mask, size), data(*state, access.data, size);
        for (unsigned n = 0; n < count; n++) {
            if (mask.negative(n)) {
                probe_write_linear(cpu, wrapped(cpu, a + n * size), size, cpu.as_current());
            }
        }
        for (unsigned n = 0; n < count; n++) {
            if (mask.negative(n)) {
                write_linear(cpu, wrapped(cpu, a + n * size), data.get(n), size, cpu.as_current());
            }
        }
        return 0;
    });
}

std::uint64_t helper_avx_gather(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    const AvxAccess what = AvxAccess::unpack(b);
    if (Cpu::of(state).code64() && (what.address & 15) == 8 && gather_known(*state, what, a + c)) {
        return 0;
    }
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        const AvxAccess access = AvxAccess::unpack(b);
        const unsigned size = access.element;
        const unsigned widest = access.element > access.index_size ? access.element : access.index_size;
        const unsigned count = (access.wide != 0 ? 32u : 16u) / widest;
        Elements mask(*state, access.mask, size), data(*state, access.data, size);
        const Elements index(*state, access.index, access.index_size);
        for (unsigned n = 0; n < count; n++) {
            if (!mask.negative(n)) {
                mask.set(n, 0); // as AMD's CPUs show it when a later element faults
                continue;
            }
            std::uint64_t offset = a + (static_cast<std::uint64_t>(index.get_signed(n)) << access.scale);
            offset = (access.address & 15) == 8 ? offset : offset & 0xffffffff;
            if (!cpu.code64() && (cpu.mode & (kModeSegChecks | kModeFsNull | kModeGsNull)) != 0) {
                helper_seg_check(state, access.address >> 4, offset, size);
                if (state->head.exception_pending != 0) {
                    return 0;
                }
            }
            data.set(n, read_linear(cpu, wrapped(cpu, c + offset), size, cpu.as_current()));
            mask.set(n, 0);
        }
        data.clear_from(count);
        mask.clear_from(0);
        return 0;
    });
}

} // namespace rhea::target::x86
