// Gathers outside 64-bit code where the mode wants each element's segment limit checked (SDM volume 2, VPGATHERDD): elements whose
// mask is clear are not accessed at all. All others are generated code.
#include "target/x86/cpu.h"
#include "target/x86/fault.h"
#include "target/x86/fpu/avx_gather.h"
#include "target/x86/helpers.h"
#include "target/x86/linear_memory.h"

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

} // namespace

std::uint64_t helper_avx_gather(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        const AvxGather access = AvxGather::unpack(b);
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
            const std::uint64_t offset = (a + (static_cast<std::uint64_t>(index.get_signed(n)) << access.scale)) & 0xffffffff;
            helper_seg_check(state, access.segment, offset, size);
            if (state->head.exception_pending != 0) {
                return 0;
            }
            data.set(n, read_linear(cpu, (c + offset) & 0xffffffff, size, cpu.as_current()));
            mask.set(n, 0);
        }
        data.clear_from(count);
        mask.clear_from(0);
        return 0;
    });
}

} // namespace rhea::target::x86
