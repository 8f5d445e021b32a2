#include "target/x86/fpu/x87_image.h"

#include <cstring>

namespace rhea::target::x86 {
namespace {

constexpr unsigned kTagValid = 0, kTagZero = 1, kTagSpecial = 2, kTagEmpty = 3;
constexpr std::uint64_t kIntegerBit = 1ull << 63;
constexpr std::uint16_t kExponent = 0x7fff;
constexpr std::uint16_t kFcwReserved = 0x40;

X87Register &st(CpuState &s, unsigned i) { return s.fpr[(s.fpu_top + i) & 7]; }
const X87Register &st(const CpuState &s, unsigned i) { return s.fpr[(s.fpu_top + i) & 7]; }

unsigned tag_of(const CpuState &s, unsigned physical) {
    if ((s.ftw >> physical) & 1) {
        return kTagEmpty;
    }
    const X87Register &r = s.fpr[physical];
    const std::uint16_t exponent = r.sign_exponent & kExponent;
    if (exponent == 0 && r.mantissa == 0) {
        return kTagZero;
    }
    return exponent == 0 || exponent == kExponent || (r.mantissa & kIntegerBit) == 0 ? kTagSpecial : kTagValid;
}

/// Writes and reads fields of 2 or 4 bytes one after another.
class Fields {
public:
    Fields(std::uint8_t *at, bool wide) : at_(at), size_(wide ? 4 : 2) {}
    /// Narrow fields that a wide image holds have ones above (what hardware leaves in reserved halves).
    void put(std::uint32_t value) {
        std::memcpy(at_, &value, size_);
        at_ += size_;
    }
    void put_word(std::uint32_t value) { put(size_ == 4 ? value | 0xffff0000u : value); }

private:
    std::uint8_t *at_;
    std::size_t size_;
};

std::uint32_t field(const std::uint8_t *in, bool wide, unsigned n) {
    std::uint32_t value = 0;
    std::memcpy(&value, in + n * (wide ? 4 : 2), wide ? 4 : 2);
    return value;
}

} // namespace

void set_fpu_status(CpuState &s, std::uint16_t value) {
    s.fpu_top = (value >> 11) & 7;
    s.fsw = static_cast<std::uint16_t>(value & ~(kFpuTop | kFpuSummary));
    update_fpu_summary(s);
}

void init_fpu(CpuState &s) {
    s.fcw = 0x37f;
    s.fsw = 0;
    s.fpu_top = 0;
    s.ftw = 0xff;
    s.fcs = s.fds = 0;
    s.fdp = 0;
    set_fpu_place(s, 0, 0);
}

void fill_registers(const CpuState &s, FxImage &image) {
    image.fcw = s.fcw;
    image.fsw = fpu_status(s);
    image.tags = static_cast<std::uint8_t>(~s.ftw);
    image.reserved = 0;
    for (unsigned i = 0; i < 8; i++) {
        const X87Register &r = st(s, i);
        image.st[i] = {r.mantissa, r.sign_exponent, {}};
    }
}

void take_registers(CpuState &s, const FxImage &image) {
    s.fcw = static_cast<std::uint16_t>((image.fcw & 0x1f7f) | kFcwReserved);
    s.ftw = static_cast<std::uint8_t>(~image.tags);
    set_fpu_status(s, image.fsw);
    for (unsigned i = 0; i < 8; i++) {
        st(s, i).mantissa = image.st[i].mantissa;
        st(s, i).sign_exponent = image.st[i].sign_exponent;
    }
}

void make_fxsave(const CpuState &s, bool wide_pointers, bool code64, FxImage &image) {
    fill_registers(s, image);
    image.fop = fpu_opcode(s);
    image.fip = wide_pointers ? fpu_ip(s) : (fpu_ip(s) & 0xffffffff) | std::uint64_t{s.fcs} << 32;
    image.fdp = wide_pointers ? s.fdp : (s.fdp & 0xffffffff) | std::uint64_t{s.fds} << 32;
    image.mxcsr = s.head.guest_mxcsr;
    image.mxcsr_mask = kMxcsrMask;
    for (unsigned n = 0; n < (code64 ? 16u : 8u); n++) {
        image.xmm[n] = {s.xmm[n].lane[0], s.xmm[n].lane[1]};
    }
}

void take_fxsave_x87(CpuState &s, bool wide_pointers, const FxImage &image) {
    take_registers(s, image);
    set_fpu_place(s, wide_pointers ? image.fip : image.fip & 0xffffffff, image.fop);
    s.fdp = wide_pointers ? image.fdp : image.fdp & 0xffffffff;
    s.fcs = wide_pointers ? std::uint16_t{0} : static_cast<std::uint16_t>(image.fip >> 32);
    s.fds = wide_pointers ? std::uint16_t{0} : static_cast<std::uint16_t>(image.fdp >> 32);
}

void take_fxsave(CpuState &s, bool wide_pointers, bool code64, const FxImage &image) {
    take_fxsave_x87(s, wide_pointers, image);
    s.head.guest_mxcsr = image.mxcsr;
    for (unsigned n = 0; n < (code64 ? 16u : 8u); n++) {
        s.xmm[n].lane[0] = image.xmm[n][0];
        s.xmm[n].lane[1] = image.xmm[n][1];
    }
}

void make_environment(const CpuState &s, EnvironmentLayout layout, std::uint8_t *out) {
    std::uint32_t tags = 0;
    for (unsigned n = 0; n < 8; n++) {
        tags |= tag_of(s, n) << (2 * n);
    }
    Fields fields(out, layout.wide);
    fields.put_word(s.fcw);
    fields.put_word(fpu_status(s));
    fields.put_word(tags);
    const auto fip = static_cast<std::uint32_t>(fpu_ip(s)), fdp = static_cast<std::uint32_t>(s.fdp);
    if (layout.protected_mode) {
        fields.put(fip);
        fields.put(layout.wide ? s.fcs | std::uint32_t{fpu_opcode(s)} << 16 : s.fcs);
        fields.put(fdp);
        fields.put_word(s.fds);
        return;
    }
    // Real-address mode: linear addresses in pieces.
    const std::uint32_t code = fip + (std::uint32_t{s.fcs} << 4), data = fdp + (std::uint32_t{s.fds} << 4);
    fields.put_word(code & 0xffff);
    fields.put((layout.wide ? (code >> 16) << 12 : (code >> 4) & 0xf000) | fpu_opcode(s));
    fields.put_word(data & 0xffff);
    fields.put(layout.wide ? (data >> 16) << 12 : (data >> 4) & 0xf000);
}

void take_environment_state(CpuState &s, EnvironmentLayout layout, const std::uint8_t *in) {
    s.fcw = static_cast<std::uint16_t>((field(in, layout.wide, 0) & 0x1f7f) | kFcwReserved);
    set_fpu_status(s, static_cast<std::uint16_t>(field(in, layout.wide, 1)));
    const std::uint32_t tags = field(in, layout.wide, 2), empty = tags & (tags >> 1); // kTagEmpty: both bits
    s.ftw = 0;
    for (unsigned n = 0; n < 8; n++) {
        s.ftw = static_cast<std::uint16_t>(s.ftw | ((empty >> n) & (1u << n)));
    }
}

void take_environment(CpuState &s, EnvironmentLayout layout, const std::uint8_t *in) {
    const auto get = [&](unsigned n) { return field(in, layout.wide, n); };
    take_environment_state(s, layout, in);
    if (layout.protected_mode) {
        set_fpu_place(s, get(3), layout.wide ? get(4) >> 16 : fpu_opcode(s));
        s.fcs = static_cast<std::uint16_t>(get(4));
        s.fdp = get(5);
        s.fds = static_cast<std::uint16_t>(get(6));
        return;
    }
    const auto high = [&](unsigned n) {
        return layout.wide ? (get(n) & 0x0ffff000) << 4 : (get(n) & 0xf000) << 4;
    };
    set_fpu_place(s, (get(3) & 0xffff) | high(4), get(4));
    s.fdp = (get(5) & 0xffff) | high(6);
    s.fcs = s.fds = 0;
}

void make_register_dump(const CpuState &s, std::uint8_t *out) {
    for (unsigned i = 0; i < 8; i++, out += 10) {
        std::memcpy(out, &st(s, i).mantissa, 8);
        std::memcpy(out + 8, &st(s, i).sign_exponent, 2);
    }
}

void take_register_dump(CpuState &s, const std::uint8_t *in) {
    for (unsigned i = 0; i < 8; i++, in += 10) {
        std::memcpy(&st(s, i).mantissa, in, 8);
        std::memcpy(&st(s, i).sign_exponent, in + 8, 2);
    }
}

} // namespace rhea::target::x86
