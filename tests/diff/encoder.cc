#include "tests/diff/encoder.h"

#include "tests/diff/arena.h"
#include "tests/diff/vendor.h"

#include <algorithm>
#include <cstring>

namespace rhea::target::x86::diff {
namespace {

class Bytes {
public:
    explicit Bytes(Encoded &out) : out_(out) {}
    void put(unsigned byte) {
        if (count_ < out_.bytes.size()) {
            out_.bytes[count_++] = static_cast<std::uint8_t>(byte);
        }
    }
    void fill(Random &random) {
        while (count_ < out_.bytes.size()) {
            put(static_cast<unsigned>(random.next() & 0xff));
        }
    }

private:
    Encoded &out_;
    std::size_t count_ = 0;
};

bool is_string(const Row &row) { return row.operands[0].kind == OperandKind::kString; }

void put_prefixes(const Row &row, CodeSize size, Random &random, Bytes &bytes) {
    const std::uint32_t prefix = row.selection & sel::prefix_mask;
    if (random.one_in(10)) {
        constexpr unsigned kSegments[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
        bytes.put(kSegments[random.below(6)]);
    }
    // AMD CPUs have two uses of LOCK that manuals hide or call an alias: VERW ignores it, MOV CR0 becomes MOV CR8.
    const bool odd = row.mnemonic == "verw" || row.operands[0].kind == OperandKind::kCr || row.operands[1].kind == OperandKind::kCr;
    if (!odd && random.one_in((row.flags & kRowLock) != 0 ? 5 : 80)) {
        bytes.put(0xf0);
    }
    if (random.one_in(12)) {
        bytes.put(0x67);
    }
    const bool free66 = prefix == sel::any || prefix == sel::npx || prefix == sel::pF3 || prefix == sel::pF2;
    if (prefix == sel::p66 || (free66 && random.one_in(4))) {
        bytes.put(0x66);
    }
    if (prefix == sel::pF3 || prefix == sel::pF2) {
        bytes.put(prefix == sel::pF3 ? 0xf3 : 0xf2);
    } else if (prefix == sel::any && random.one_in(is_string(row) ? 2 : 20)) {
        bytes.put(random.one_in(2) ? 0xf3 : 0xf2);
    }
    if (size == CodeSize::k64 && random.one_in(2)) {
        bytes.put(0x40 | random.below(16));
    }
}

void put_vex(const Row &row, CodeSize size, Random &random, Bytes &bytes) {
    const std::uint32_t prefix = row.selection & sel::prefix_mask;
    const unsigned pp = prefix == sel::p66 ? 1 : prefix == sel::pF3 ? 2 : prefix == sel::pF2 ? 3 : 0;
    const std::uint32_t length = row.selection & sel::l_mask, wide = row.selection & sel::w_mask;
    const unsigned l = length == 0 ? random.below(2) : length == sel::l1 ? 1 : 0;
    const unsigned w = wide == 0 ? random.below(2) : wide == sel::w1 ? 1 : 0;
    bool second = false;
    for (const OperandSpec &operand : row.operands) {
        second = second || operand.kind == OperandKind::kVecVex || operand.kind == OperandKind::kVexReg;
    }
    const unsigned vvvv = second || random.one_in(30) ? random.below(16) : 15;
    const unsigned extended = size == CodeSize::k64 ? random.below(8) : random.below(2);
    bytes.put(0xc4);
    bytes.put((0xe0 & ~(extended << 5)) | static_cast<unsigned>(row.map));
    bytes.put(w << 7 | vvvv << 3 | l << 2 | pp);
}

void put_opcode(const Row &row, Random &random, Bytes &bytes) {
    const unsigned add = (row.selection & sel::plus_cc) != 0 ? random.below(16)
                         : (row.selection & sel::plus_r) != 0 ? random.below(8)
                                                              : 0;
    if ((row.selection & sel::vex) == 0) {
        if (row.map != OpcodeMap::kOneByte) {
            bytes.put(0x0f);
        }
        if (row.map == OpcodeMap::k0F38 || row.map == OpcodeMap::k0F3A) {
            bytes.put(row.map == OpcodeMap::k0F38 ? 0x38 : 0x3a);
        }
    }
    bytes.put(row.opcode + add);
    if (needs_modrm(row.map, row.opcode)) {
        const std::uint32_t mod = row.selection & sel::mod_mask;
        const auto field = [&](std::uint32_t mask, unsigned shift) {
            const std::uint32_t value = row.selection & mask;
            return value != 0 ? (value >> shift) - 1 : random.below(8);
        };
        const bool memory = mod != 0 ? mod == sel::mem : random.one_in(2);
        bytes.put((memory ? random.below(3) : 3u) << 6 | field(sel::ext_mask, sel::ext_shift) << 3 |
                  field(sel::rm_mask, sel::rm_shift));
    }
}

/// An address for an access of up to 32 bytes: mostly inside, now and then across a boundary or outside.
std::uint64_t pick_address(Random &random) {
    switch (random.below(20)) {
    case 0: return kDataAddress + 0x1000 - 1 - random.below(31);
    case 1: return kReadOnlyAddress - 8 + random.below(0x1000);
    case 2: return kReadOnlyAddress + kReadOnlySize - random.below(20);
    case 3: return kDataAddress + random.below(0x1800);
    default: return kDataAddress + 64 + (random.below(0x1800) & (random.one_in(2) ? ~15u : ~31u));
    }
}

std::uint64_t segment_base(const Snapshot &s, const MemRef &m, CodeSize size) {
    if (size == CodeSize::k64) {
        return m.segment == kFs ? s.fs_base : m.segment == kGs ? s.gs_base : 0;
    }
    return size == CodeSize::k32 ? 0 : m.segment == kCs ? kCodeAddress : kDataAddress;
}

/// Changes registers (or the displacement in the code) so that the operand lies at `target`.
void aim(Encoded &e, Snapshot &s, CodeSize size, std::uint64_t target) {
    const MemRef &m = e.insn.mem;
    const std::uint64_t offset = target - segment_base(s, m, size) - static_cast<std::uint64_t>(m.disp);
    if (m.base != kNoReg && m.base != m.index) {
        const std::uint64_t scaled = m.index == kNoReg ? 0 : s.gpr[m.index] << m.scale;
        s.gpr[m.base] = offset - scaled;
    } else if (m.index != kNoReg && m.base == kNoReg) {
        s.gpr[m.index] = offset >> m.scale;
    } else if (m.index != kNoReg) {
        s.gpr[m.index] = offset / (1 + (1u << m.scale));
    }
}

/// A gather's: mostly small indices off a base in the arena, some elements masked.
void aim_gather(const Encoded &e, Snapshot &s, Random &random) {
    const MemRef &m = e.insn.mem;
    if (m.base != kNoReg) {
        s.gpr[m.base] = kDataAddress + 0x800 - static_cast<std::uint64_t>(m.disp);
    }
    const bool far = random.one_in(10);
    for (auto *lanes : {&s.fp.xmm[m.index], &s.fp.ymm_high[m.index]}) {
        for (std::uint64_t &lane : *lanes) {
            const std::uint64_t index = random.below(128) - 64ull;
            const bool wide = e.insn.opcode == 0x91 || e.insn.opcode == 0x93;
            lane = far ? lane : wide ? index : (index & 0xffffffff) | (random.below(128) - 64ull) << 32;
        }
    }
}

/// Absolute and RIP-relative operands are aimed by their displacement: the last four bytes equal to it.
bool patch_displacement(Encoded &e, std::uint64_t target, CodeSize size, FeatureSet features,
                        std::uint64_t code_address) {
    const MemRef &m = e.insn.mem;
    if (m.base != kNoReg || m.index != kNoReg || e.insn.address_size == 2 || e.insn.length < 6) {
        return true;
    }
    const std::uint64_t from = m.rip_relative ? code_address + e.insn.length : 0;
    const auto value = static_cast<std::uint32_t>(target - from);
    const auto old = static_cast<std::uint32_t>(m.disp);
    for (unsigned at = e.insn.length - 4u; at > 0; at--) {
        if (std::memcmp(&e.bytes[at], &old, 4) == 0) {
            std::memcpy(&e.bytes[at], &value, 4);
            break;
        }
    }
    const RowId row = e.insn.row_id;
    return decode(e.bytes.data(), kMaxInsnLength, decode_mode(size, features), e.insn) == DecodeStatus::kOk &&
           e.insn.row_id == row;
}

/// INT 80h would be a system call of the traced process.
bool enters_the_kernel(const Insn &insn) {
    return insn.map == OpcodeMap::kOneByte && insn.opcode == 0xcd && (insn.imm & 0xff) == 0x80;
}

/// The 80-bit registers: numbers, and now and then what is none (SDM volume 1, table 8-3).
void random_x87(FloatState &f, Random &random, bool common) {
    for (unsigned n = 0; n < 8; n++) {
        f.mantissa[n] = random.next() | 1ull << 63;
        f.sign_exponent[n] = static_cast<std::uint16_t>((0x3fff - 32 + random.below(80)) | random.below(2) << 15);
        switch (random.below(12)) {
        case 0: f.mantissa[n] = 0, f.sign_exponent[n] &= 0x8000; break;
        case 1: f.mantissa[n] = 1ull << 63, f.sign_exponent[n] |= 0x7fff; break;  // infinity
        case 2: f.mantissa[n] |= 3ull << 62, f.sign_exponent[n] |= 0x7fff; break; // QNaN
        case 3: f.mantissa[n] &= ~(1ull << 62), f.sign_exponent[n] |= 0x7fff; break; // SNaN
        case 4: f.mantissa[n] &= ~(1ull << 63), f.sign_exponent[n] &= 0x8000; break; // denormal
        case 5: f.mantissa[n] &= ~(1ull << 63); break;                              // unsupported
        case 6: f.sign_exponent[n] = static_cast<std::uint16_t>(random.next()); break;
        case 7: f.mantissa[n] = 1ull << 63, f.sign_exponent[n] = 0x3fff; break;
        case 8: f.mantissa[n] = random.interesting() | 1ull << 63; break;
        default: break;
        }
    }
    f.fcw = static_cast<std::uint16_t>(0x7f | (random.one_in(2) ? 3 : random.below(4)) << 8 | random.below(4) << 10);
    f.fsw = static_cast<std::uint16_t>(random.next() & (common ? 0x7f00 : 0x7f7f));
    f.tags = static_cast<std::uint8_t>(common ? 0xff : random.next());
    if (!common && random.one_in(2)) {
        f.fcw &= static_cast<std::uint16_t>(~(random.next() & 0x3f));
        f.fsw &= random.one_in(3) ? std::uint16_t{0xffff} : std::uint16_t{0xffc0};
    }
    if ((f.fsw & ~f.fcw & 0x3f) != 0) {
        f.fsw |= 0x8080;
    }
}

} // namespace

std::uint64_t interesting_float(Random &random) {
    constexpr std::uint32_t kSingles[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000,
                                          0x7fc00000, 0xffc12345, 0x7f812345, 1,          0x807fffff, 0x00800000,
                                          0x7f7fffff, 0x4f000000, 0xcf000000, 0x5f000000, 0x3effffff, 0x4effffff};
    constexpr std::uint64_t kDoubles[] = {0, 1ull << 63, 0x3ff0000000000000, 0xbff8000000000000, 0x7ff0000000000000,
                                          0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000001234,
                                          0x7ff0000000001234, 1, 0x800fffffffffffff, 0x0010000000000000,
                                          0x7fefffffffffffff, 0x41e0000000000000, 0xc1e0000000200000,
                                          0x43e0000000000000, 0x36a0000000000000, 0x47f0000000000000};
    const auto single = [&] {
        return random.one_in(2) ? kSingles[random.below(std::size(kSingles))]
                                : static_cast<std::uint32_t>(random.next() >> 32);
    };
    switch (random.below(4)) {
    case 0: return kDoubles[random.below(std::size(kDoubles))];
    case 1: return random.interesting();
    // A double near one, so that sums and products stay in range.
    case 2: return (random.next() & 0x800fffffffffffff) | (0x3e0ull + random.below(64)) << 52;
    default: return std::uint64_t{single()} << 32 | single();
    }
}

void random_float_state(FloatState &f, Random &random) {
    f.used = true;
    for (auto &lanes : f.xmm) {
        for (std::uint64_t &lane : lanes) {
            lane = interesting_float(random);
        }
    }
    const bool zero = random.one_in(8);
    for (auto &lanes : f.ymm_high) {
        for (std::uint64_t &lane : lanes) {
            lane = zero ? 0 : interesting_float(random);
        }
    }
    random_x87(f, random, random.one_in(2));
    f.mxcsr = 0x1f80 | (random.below(4) << 13) | (random.next() & 0x3f);
    if (random.one_in(3)) {
        f.mxcsr |= static_cast<std::uint32_t>(random.next() & 0x8040); // FTZ, DAZ
    }
    if (random.one_in(6)) {
        // Not underflow (bit 11): an exact denormal result raises it only where it is unmasked, and the translation runs masked.
        f.mxcsr &= ~static_cast<std::uint32_t>(random.next() & 0x1780);
    }
}

DecodeMode decode_mode(CodeSize size, FeatureSet features) {
    DecodeMode mode;
    mode.code64 = size == CodeSize::k64;
    mode.code32 = size == CodeSize::k32;
    mode.features = features;
    return mode;
}

std::optional<Encoded> encode_row(RowId id, CodeSize size, FeatureSet features, Random &random,
                                 std::uint64_t at) {
    const Row &row = kRows[id];
    const std::uint32_t mode = row.selection & sel::mode_mask;
    if (mode != 0 && (mode == sel::o64) != (size == CodeSize::k64)) {
        return std::nullopt;
    }
    for (unsigned attempt = 0; attempt < 20; attempt++) {
        Encoded e;
        Bytes bytes(e);
        if ((row.selection & sel::vex) != 0) {
            put_vex(row, size, random, bytes);
        } else {
            put_prefixes(row, size, random, bytes);
        }
        put_opcode(row, random, bytes);
        bytes.fill(random);
        if (decode(e.bytes.data(), kMaxInsnLength, decode_mode(size, features), e.insn) == DecodeStatus::kOk &&
            e.insn.row_id == id && !enters_the_kernel(e.insn)) {
            const bool aimed = !e.insn.mem_form() || random.one_in(30) ||
                               patch_displacement(e, pick_address(random), size, features, at);
            if (aimed) {
                return e;
            }
        }
    }
    return std::nullopt;
}

bool checks_alignment(std::uint64_t seed) {
    constexpr std::uint64_t kOther = 0x5851f42d4c957f2d; // a stream of its own: the rest of a case is the same with and without
    return !host_is_intel() && Random(seed * kOther).one_in(16);
}

Snapshot random_state(Encoded &e, CodeSize size, Random &random) {
    Snapshot s;
    for (std::uint64_t &value : s.gpr) {
        value = random.interesting();
    }
    s.flags = static_cast<std::uint32_t>(random.next()) & kComparedFlags;
    s.rip = kStart;
    s.fs_base = random.one_in(2) ? 0 : random.next() & 0x7fff0000;
    s.gs_base = random.one_in(2) ? 0 : random.next() & 0x7fff0000;
    const Row &row = e.insn.row();
    const std::uint64_t data_base = size == CodeSize::k16 ? kDataAddress : 0;
    const auto local = [&](std::uint64_t address) { return address - data_base; };
    // Counts and bit numbers are mostly small; far bit numbers leave the arena.
    if (is_string(row)) {
        s.gpr[kRcx] = random.below(20);
        s.gpr[kRsi] = local(pick_address(random));
        s.gpr[kRdi] = local(pick_address(random));
    } else if (random.one_in(2)) {
        s.gpr[kRcx] &= 0x3f;
    }
    const bool bit_test = row.mnemonic == "bt" || row.mnemonic == "bts" || row.mnemonic == "btr" || row.mnemonic == "btc";
    if (bit_test && e.insn.operands[1].is_reg()) {
        s.gpr[e.insn.operands[1].reg] = random.next() & 0x7ff;
    }
    if (row.mnemonic == "xlat") {
        s.gpr[kRbx] = local(kDataAddress + 64 + random.below(0x1000));
    }
    if (row.mnemonic == "div" || row.mnemonic == "idiv") {
        if (!random.one_in(3)) {
            s.gpr[kRdx] = random.one_in(2) ? 0 : ~0ull;
        }
    }
    constexpr unsigned kFloating = kRowX87 | kRowMmx | kRowSse | kRowFpuSave | kRowAvx;
    if ((row.flags & kFloating) != 0 || row.mnemonic == "wait") {
        random_float_state(s.fp, random);
    }
    if (row.mnemonic.ends_with("dpps") || row.mnemonic.ends_with("dppd")) {
        s.fp.mxcsr |= 0x1f80; // an unmasked exception stops them between multiplication and addition: see docs/translator.md
    }
    if (row.mnemonic.starts_with("pcmpestr")) {
        for (const Reg length : {kRax, kRdx}) {
            s.gpr[length] = random.one_in(4) ? s.gpr[length] : random.below(40) - 20ull;
        }
    }
    if (row.mnemonic == "maskmovq" || row.mnemonic == "maskmovdqu" || row.mnemonic == "vmaskmovdqu") {
        s.gpr[kRdi] = local(pick_address(random));
    }
    s.gpr[kRbp] = local(kDataAddress + 0x400 + (random.below(0x1000) & ~7u));
    s.gpr[kRsp] = local(kDataAddress + 0x400 + (random.below(0x1000) & ~7u));
    if (row.operands[1].kind == OperandKind::kVsib) {
        aim_gather(e, s, random);
    } else if (e.insn.mem_form() && !random.one_in(40)) {
        // AMD CPUs take the memory operands of SHA at any address, Intel's want them aligned.
        const std::uint64_t aligned = row.mnemonic.starts_with("sha") ? ~std::uint64_t{15} : ~std::uint64_t{0};
        aim(e, s, size, pick_address(random) & aligned);
    }
    if (size == CodeSize::k64) {
        // Jumps to what is no address at all are another matter (which CPU faults where).
        if (row.mnemonic == "jmp" || row.mnemonic == "call") {
            if (e.insn.operands[0].is_reg()) {
                s.gpr[e.insn.operands[0].reg] &= 0x7fffffffffff;
            }
        }
    } else {
        for (unsigned n = 0; n < 16; n++) {
            s.gpr[n] = n < 8 ? s.gpr[n] & 0xffffffff : 0;
        }
    }
    return s;
}

} // namespace rhea::target::x86::diff
