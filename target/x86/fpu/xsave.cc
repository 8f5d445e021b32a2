// XSAVE, XSAVEOPT, XSAVEC, XRSTOR, XGETBV, XSETBV (SDM volume 1, chapter 13) with the components x87, SSE and AVX.
//
// Everything that can fault comes before the first change. XSAVEOPT has the init optimisation and not the modified
// one, which needs memory of what the last XRSTOR read.
#include "target/x86/fpu/xsave.h"

#include "target/x86/cpu.h"
#include "target/x86/fault.h"
#include "target/x86/fpu/image_io.h"
#include "target/x86/fpu/x87_image.h"
#include "target/x86/helpers.h"
#include "target/x86/linear_memory.h"

#include <array>
#include <cstring>

namespace rhea::target::x86 {
namespace {

constexpr std::uint32_t kMxcsrInit = 0x1f80;
constexpr std::size_t kMxcsrAt = offsetof(FxImage, mxcsr), kXmmAt = offsetof(FxImage, xmm),
                      kStAt = offsetof(FxImage, st);

struct Header {
    std::uint64_t xstate_bv = 0, xcomp_bv = 0;
    std::array<std::uint64_t, 6> reserved{};
};
static_assert(sizeof(Header) == 64);

/// Upper halves of YMM0 to YMM15.
using UpperHalves = std::array<std::array<std::uint64_t, 2>, 16>;
static_assert(sizeof(UpperHalves) == kXsaveAvxSize);

unsigned register_count(const Cpu &cpu) { return cpu.code64() ? 16 : 8; }

bool all_zero(const CpuState &s, unsigned first_lane) {
    for (const VectorRegister &r : s.xmm) {
        if ((r.lane[first_lane] | r.lane[first_lane + 1]) != 0) {
            return false;
        }
    }
    return true;
}

bool x87_is_initial(const CpuState &s) {
    if (s.fcw != 0x37f || fpu_status(s) != 0 || s.ftw != 0xff || fpu_opcode(s) != 0 || fpu_ip(s) != 0 || s.fdp != 0 || s.fcs != 0 ||
        s.fds != 0) {
        return false;
    }
    for (const X87Register &r : s.fpr) {
        if ((r.mantissa | r.sign_exponent) != 0) {
            return false;
        }
    }
    return true;
}

void check_area(const CpuState &s, std::uint64_t linear) {
    if ((s.cr4 & kCr4OSXSAVE) == 0) {
        throw_ud();
    }
    if ((linear & 63) != 0) {
        throw_gp(0);
    }
}

/// The area in guest memory, known to be writable.
class Area {
public:
    Area(Cpu &cpu, std::uint64_t linear) : cpu_(cpu), linear_(linear) {}
    void put(std::size_t at, const void *from, std::size_t size) {
        write_image(cpu_, linear_ + at, static_cast<const std::uint8_t *>(from), size);
    }
    void get(std::size_t at, void *to, std::size_t size) {
        read_image(cpu_, linear_ + at, static_cast<std::uint8_t *>(to), size);
    }

private:
    Cpu &cpu_;
    std::uint64_t linear_;
};

void put_legacy(Area &area, Cpu &cpu, bool wide, std::uint64_t components, bool mxcsr) {
    FxImage image;
    make_fxsave(cpu.s, wide, cpu.code64(), image);
    const auto *bytes = reinterpret_cast<const std::uint8_t *>(&image);
    if ((components & kXsaveX87) != 0) {
        area.put(0, bytes, kMxcsrAt);
        area.put(kStAt, bytes + kStAt, kXmmAt - kStAt);
    }
    if (mxcsr) {
        area.put(kMxcsrAt, bytes + kMxcsrAt, 8);
    }
    if ((components & kXsaveSse) != 0) {
        area.put(kXmmAt, bytes + kXmmAt, 16 * std::size_t{register_count(cpu)});
    }
}

void put_upper_halves(Area &area, const Cpu &cpu) {
    UpperHalves halves;
    const unsigned count = register_count(cpu);
    for (unsigned n = 0; n < count; n++) {
        halves[n] = {cpu.s.xmm[n].lane[2], cpu.s.xmm[n].lane[3]};
    }
    area.put(kXsaveAvxOffset, &halves, 16 * std::size_t{count});
}

void save(Cpu &cpu, std::uint64_t linear, std::uint64_t mask, XsaveKind kind, bool wide) {
    const CpuState &s = cpu.s;
    check_area(s, linear);
    const std::uint64_t rfbm = s.xcr0 & mask;
    const std::size_t size = (rfbm & kXsaveAvx) != 0 ? kXsaveAvxOffset + kXsaveAvxSize : kXsaveAvxOffset;
    check_writable_linear(cpu, linear, size, cpu.as_current());
    Area area(cpu, linear);
    std::uint64_t in_use = xsave_in_use(s);
    if (kind == XsaveKind::kXsavec && s.head.guest_mxcsr != kMxcsrInit) {
        in_use |= kXsaveSse; // 13.10: MXCSR belongs to the component there
    }
    const std::uint64_t saved = kind == XsaveKind::kXsave ? rfbm : rfbm & in_use;
    const bool mxcsr = kind == XsaveKind::kXsavec ? (saved & kXsaveSse) != 0 : (rfbm & (kXsaveSse | kXsaveAvx)) != 0;
    put_legacy(area, cpu, wide, saved, mxcsr);
    if ((saved & kXsaveAvx) != 0) {
        put_upper_halves(area, cpu);
    }
    std::array<std::uint64_t, 2> header{};
    if (kind == XsaveKind::kXsavec) {
        header = {rfbm & in_use, rfbm | kXsaveCompacted};
        area.put(kXsaveHeader, header.data(), 16);
    } else {
        area.get(kXsaveHeader, header.data(), 8);
        header[0] = (header[0] & ~rfbm) | (rfbm & in_use);
        area.put(kXsaveHeader, header.data(), 8);
    }
}

/// 13.8: what a header may say. True: the compacted form.
bool check_header(const Cpu &cpu, const Header &header) {
    const std::uint64_t xcr0 = cpu.s.xcr0;
    const bool compacted = (header.xcomp_bv & kXsaveCompacted) != 0;
    std::uint64_t reserved = compacted ? 0 : header.xcomp_bv | header.reserved[0];
    for (const std::uint64_t word : header.reserved) {
        reserved |= compacted ? word : 0;
    }
    const std::uint64_t known = compacted ? header.xcomp_bv & ~kXsaveCompacted : xcr0;
    if (reserved != 0 || (known & ~xcr0) != 0 || (header.xstate_bv & ~known) != 0 ||
        (compacted && !cpu.model.has(CpuFeature::k_xsavec))) {
        throw_gp(0);
    }
    return compacted;
}

void initialize_x87(CpuState &s) {
    init_fpu(s);
    for (X87Register &r : s.fpr) {
        r = {};
    }
}

/// The components of rfbm: from the area where XSTATE_BV has them, else their initial configuration.
void take(Cpu &cpu, const FxImage &image, const UpperHalves &halves, std::uint64_t rfbm, std::uint64_t xstate_bv,
          bool wide) {
    CpuState &s = cpu.s;
    if ((rfbm & kXsaveX87) != 0) {
        if ((xstate_bv & kXsaveX87) != 0) {
            take_fxsave_x87(s, wide, image);
        } else {
            initialize_x87(s);
        }
    }
    const unsigned count = register_count(cpu);
    for (unsigned n = 0; n < count; n++) {
        std::uint64_t *lane = s.xmm[n].lane;
        if ((rfbm & kXsaveSse) != 0) {
            const bool load = (xstate_bv & kXsaveSse) != 0;
            lane[0] = load ? image.xmm[n][0] : 0;
            lane[1] = load ? image.xmm[n][1] : 0;
        }
        if ((rfbm & kXsaveAvx) != 0) {
            const bool load = (xstate_bv & kXsaveAvx) != 0;
            lane[2] = load ? halves[n][0] : 0;
            lane[3] = load ? halves[n][1] : 0;
        }
    }
}

void restore(Cpu &cpu, std::uint64_t linear, std::uint64_t mask, bool wide) {
    CpuState &s = cpu.s;
    check_area(s, linear);
    const std::uint64_t rfbm = s.xcr0 & mask;
    Area area(cpu, linear);
    Header header;
    area.get(kXsaveHeader, &header, sizeof header);
    const bool compacted = check_header(cpu, header);
    FxImage image{};
    area.get(0, &image, offsetof(FxImage, unused));
    UpperHalves halves{};
    if ((rfbm & header.xstate_bv & kXsaveAvx) != 0) {
        area.get(kXsaveAvxOffset, &halves, 16 * std::size_t{register_count(cpu)});
    }
    // MXCSR is SSE's in the compacted form, and in the standard form always loaded (13.8.1, 13.8.2).
    const bool touches_mxcsr = compacted ? (rfbm & kXsaveSse) != 0 : (rfbm & (kXsaveSse | kXsaveAvx)) != 0;
    const bool loads_mxcsr = touches_mxcsr && (!compacted || (header.xstate_bv & kXsaveSse) != 0);
    if (loads_mxcsr && (image.mxcsr & ~kMxcsrMask) != 0) {
        throw_gp(0);
    }
    if (touches_mxcsr) {
        s.head.guest_mxcsr = loads_mxcsr ? image.mxcsr : kMxcsrInit;
    }
    take(cpu, image, halves, rfbm, header.xstate_bv, wide);
}

} // namespace

std::uint64_t xsave_in_use(const CpuState &s) {
    return (x87_is_initial(s) ? 0 : kXsaveX87) | (all_zero(s, 0) ? 0 : kXsaveSse) | (all_zero(s, 2) ? 0 : kXsaveAvx);
}

std::uint64_t helper_xsave(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        save(cpu, a, b, static_cast<XsaveKind>(c & 0xff), (c & 0x100) != 0);
        return 0;
    });
}

std::uint64_t helper_xrstor(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        restore(cpu, a, b, (c & 0x100) != 0);
        state->head.pc += c & 0xff;
        update_mode(cpu);
        return 0;
    });
}

std::uint64_t helper_xgetbv(CpuState *state, std::uint64_t, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        const auto index = static_cast<std::uint32_t>(state->gpr[kRcx]);
        if ((state->cr4 & kCr4OSXSAVE) == 0) {
            throw_ud();
        }
        if (index > 1 || (index == 1 && !cpu.model.has(CpuFeature::k_xgetbv1))) {
            throw_gp(0);
        }
        return index == 0 ? state->xcr0 : state->xcr0 & xsave_in_use(*state);
    });
}

std::uint64_t helper_xsetbv(CpuState *state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        if ((state->cr4 & kCr4OSXSAVE) == 0) {
            throw_ud();
        }
        const std::uint64_t value = (state->gpr[kRax] & 0xffffffff) | state->gpr[kRdx] << 32;
        const std::uint64_t supported =
            cpu.model.has(CpuFeature::k_avx) ? kXsaveX87 | kXsaveSse | kXsaveAvx : kXsaveX87 | kXsaveSse;
        if (state->cpl != 0 || static_cast<std::uint32_t>(state->gpr[kRcx]) != 0 || (value & kXsaveX87) == 0 ||
            (value & ~supported) != 0 || (value & (kXsaveSse | kXsaveAvx)) == kXsaveAvx) {
            throw_gp(0);
        }
        state->xcr0 = value;
        state->head.pc += a;
        update_mode(cpu);
        return 0;
    });
}

} // namespace rhea::target::x86
