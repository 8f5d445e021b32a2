// Prefixes, opcode, ModRM, operands (SDM volume 2, chapter 2).
#include "target/x86/decode/decode.h"

#include "rhea/target/x86/state.h"

#include <algorithm>
#include <cstring>

namespace rhea::target::x86 {
namespace {

/// Reads the bytes of one instruction without looking whether they are there: near the end of what may be read they
/// come from a copy with zeros behind it, and in the end the number of bytes used tells whether the result counts.
class Reader {
public:
    Reader(const std::uint8_t *bytes, std::size_t available) : bytes_(bytes), available_(available) {
        if (available < kWindow) [[unlikely]] {
            std::memcpy(copy_, bytes, available);
            std::memset(copy_ + available, 0, kWindow - available);
            bytes_ = copy_;
        }
    }
    Reader(const Reader &) = delete;
    Reader &operator=(const Reader &) = delete;

    unsigned position() const { return position_; }
    std::uint8_t peek() {
        looked_at_ = position_ + 1;
        return bytes_[position_];
    }
    std::uint8_t u8() { return bytes_[position_++]; }
    std::uint64_t unsigned_value(unsigned size) {
        return size == 8 ? next(size) : next(size) & ((1ull << (8 * size)) - 1);
    }
    std::int64_t signed_value(unsigned size) {
        const unsigned shift = 64 - 8 * size;
        return static_cast<std::int64_t>(next(size) << shift) >> shift;
    }
    /// kOk when all bytes that were read exist and belong to an instruction of a legal length.
    DecodeStatus status() const {
        return std::max(position_, looked_at_) <= limit()    ? DecodeStatus::kOk
               : available_ < std::size_t{kMaxInsnLength} ? DecodeStatus::kMoreBytes
                                                          : DecodeStatus::kTooLong;
    }
    /// Bytes used that exist.
    unsigned length() const { return std::min(position_, limit()); }

private:
    /// 15 prefixes, opcode, ModRM, SIB, displacement and immediates, the last one read as 8 bytes.
    static constexpr std::size_t kWindow = 64;

    unsigned limit() const { return static_cast<unsigned>(std::min<std::size_t>(available_, kMaxInsnLength)); }
    std::uint64_t next(unsigned size) {
        std::uint64_t value;
        std::memcpy(&value, bytes_ + position_, sizeof value);
        position_ += size;
        return value;
    }
    const std::uint8_t *bytes_;
    std::size_t available_;
    unsigned position_ = 0, looked_at_ = 0;
    std::uint8_t copy_[kWindow]; ///< only near the end
};

class Decoder {
public:
    Decoder(const std::uint8_t *bytes, std::size_t available, const DecodeMode &mode, Insn &insn)
        : reader_(bytes, available), mode_(mode), insn_(insn) {}

    DecodeStatus run() {
        insn_ = Insn{};
        prefixes();
        const bool valid = opcode() && select_row() && (sizes(), operands());
        insn_.length = static_cast<std::uint8_t>(reader_.length());
        const DecodeStatus status = reader_.status();
        return status == DecodeStatus::kOk && !valid ? DecodeStatus::kInvalid : status;
    }

private:
    void prefixes() {
        while (reader_.position() < kMaxInsnLength) {
            const std::uint8_t byte = reader_.u8();
            if (mode_.code64 && (byte & 0xf0) == 0x40) {
                insn_.rex = byte;
            } else if (kPrefixBytes[byte >> 6] >> (byte & 63) & 1) {
                legacy_prefix(byte);
                insn_.rex = 0; // counts only directly before the opcode
            } else {
                first_ = byte;
                return;
            }
        }
        first_ = reader_.u8();
    }

    /// A bit for each byte that legacy_prefix knows.
    static constexpr std::uint64_t kPrefixBytes[4] = {1ull << 0x26 | 1ull << 0x2e | 1ull << 0x36 | 1ull << 0x3e,
                                                      15ull << (0x64 - 0x40), 0,
                                                      1ull << (0xf0 - 0xc0) | 3ull << (0xf2 - 0xc0)};

    void legacy_prefix(std::uint8_t byte) {
        switch (byte) {
        case 0x26: segment(kEs); break;
        case 0x2e: segment(kCs); break;
        case 0x36: segment(kSs); break;
        case 0x3e: segment(kDs); break;
        case 0x64: insn_.segment_override = kFs; break;
        case 0x65: insn_.segment_override = kGs; break;
        case 0x66: insn_.prefix66 = true; break;
        case 0x67: prefix67_ = true; break;
        case 0xf0: insn_.lock = true; break;
        case 0xf2: insn_.rep = RepKind::kRepne; break;
        case 0xf3: insn_.rep = RepKind::kRep; break;
        default: break;
        }
    }

    void segment(std::uint8_t which) {
        if (!mode_.code64) {
            insn_.segment_override = which;
        }
    }

    /// False: no such opcode.
    bool opcode() {
        std::uint8_t byte = first_;
        if (byte == 0xc4 || byte == 0xc5 || byte == 0x62) {
            const bool is_vector_prefix = mode_.code64 || (reader_.peek() & 0xc0) == 0xc0;
            if (is_vector_prefix && (mode_.code64 || !mode_.real_or_vm86)) {
                return byte != 0x62 && vex(byte == 0xc4); // EVEX: no row, no such instruction
            }
        }
        insn_.map = OpcodeMap::kOneByte;
        if (byte == 0x0f) {
            byte = reader_.u8();
            insn_.map = OpcodeMap::k0F;
            if (byte == 0x38 || byte == 0x3a) {
                insn_.map = byte == 0x38 ? OpcodeMap::k0F38 : OpcodeMap::k0F3A;
                byte = reader_.u8();
            }
        }
        insn_.opcode = byte;
        return modrm();
    }

    /// VEX prefix (SDM volume 2, 2.3.5): the fields that a REX and a mandatory prefix would give.
    bool vex(bool three_bytes) {
        if (insn_.prefix66 || insn_.rep != RepKind::kNone || insn_.lock || insn_.rex != 0) {
            return false;
        }
        const std::uint8_t first = reader_.u8();
        std::uint8_t second = first;
        unsigned map = 1;
        insn_.rex = (first & 0x80) != 0 ? 0 : 4;
        if (three_bytes) {
            second = reader_.u8();
            map = first & 31;
            insn_.rex |= static_cast<std::uint8_t>(((first & 0x40) != 0 ? 0 : 2) | ((first & 0x20) != 0 ? 0 : 1) |
                                                   ((second & 0x80) != 0 ? 8 : 0));
        }
        if (map < 1 || map > 3) {
            return false;
        }
        insn_.vex = true;
        insn_.vex_w = insn_.rex_w();
        insn_.vex_register = static_cast<std::uint8_t>((~second >> 3) & 15);
        if (!mode_.code64) {
            insn_.rex = 0; // R, X, B select LES/LDS there; W is ignored for general registers
        }
        insn_.vex_length = (second >> 2) & 1;
        constexpr RepKind kRepOf[] = {RepKind::kNone, RepKind::kNone, RepKind::kRep, RepKind::kRepne};
        insn_.prefix66 = (second & 3) == 1;
        insn_.rep = kRepOf[second & 3];
        insn_.map = static_cast<OpcodeMap>(map);
        insn_.opcode = reader_.u8();
        return modrm();
    }

    bool modrm() {
        rows_ = rows_for(insn_.map, insn_.opcode);
        if (rows_.count == 0) {
            return false;
        }
        if (rows_.needs_modrm) {
            insn_.has_modrm = true;
            insn_.modrm = reader_.u8();
        }
        return true;
    }

    bool select_row() {
        std::uint32_t key = match::of_modrm(insn_.modrm) | (insn_.vex ? match::vex : 0) |
                            (insn_.vex_length != 0 ? match::l1 : 0) | ((insn_.vex ? insn_.vex_w : insn_.rex_w()) ? match::w1 : 0) |
                            (mode_.code64 ? match::o64 : 0) | (insn_.prefix66 ? match::p66 : 0);
        if (insn_.rep != RepKind::kNone) {
            key |= insn_.rep == RepKind::kRep ? match::pF3 : match::pF2;
        }
        for (unsigned n = 0; n < rows_.count; n++) {
            const RowMatch &row = rows_.first[n];
            if (((key ^ row.value) & row.mask) == 0 && mode_.features.has(row.feature)) {
                insn_.row_id = row.id;
                if (!row.fallback) {
                    return true;
                }
            }
        }
        return insn_.row_id != kNoRow;
    }

    void sizes() {
        const bool mandatory66 = insn_.vex || (insn_.row().selection & sel::prefix_mask) == sel::p66;
        const bool small = insn_.prefix66 && !mandatory66;
        if (mode_.code64) {
            const bool wide = (insn_.row().flags & kRowD64) != 0;
            insn_.operand_size = insn_.rex_w() ? 8 : small ? 2 : wide ? 8 : 4;
            insn_.address_size = prefix67_ ? 4 : 8;
        } else {
            insn_.operand_size = mode_.code32 != small ? 4 : 2;
            insn_.address_size = mode_.code32 != prefix67_ ? 4 : 2;
        }
    }

    std::uint8_t size_of(OperandSize size) const {
        switch (size) {
        case OperandSize::kZero: return 0;
        case OperandSize::kB: return 1;
        case OperandSize::kW: return 2;
        case OperandSize::kD: return 4;
        case OperandSize::kQ: return 8;
        case OperandSize::kT: return 10;
        case OperandSize::kDq: return 16;
        case OperandSize::kQq: return 32;
        case OperandSize::kX: return static_cast<std::uint8_t>(16 << insn_.vex_length);
        case OperandSize::kXh: return static_cast<std::uint8_t>(8 << insn_.vex_length);
        case OperandSize::kXq: return static_cast<std::uint8_t>(4 << insn_.vex_length);
        case OperandSize::kXe: return static_cast<std::uint8_t>(2 << insn_.vex_length);
        case OperandSize::kV: return insn_.operand_size;
        case OperandSize::kZ: return insn_.operand_size == 8 ? 4 : insn_.operand_size;
        case OperandSize::kY: return mode_.code64 && insn_.rex_w() ? 8 : 4;
        case OperandSize::kMode: return mode_.code64 ? 8 : 4;
        }
        return 0;
    }

    void set_gpr(Operand &op, unsigned number) const {
        op.kind = Operand::Kind::kGpr;
        // Without REX the byte registers 4 to 7 are AH, CH, DH, BH.
        op.high = op.size == 1 && insn_.rex == 0 && !insn_.vex && number >= 4 && number < 8;
        op.reg = static_cast<std::uint8_t>(op.high ? number - 4 : number);
    }

    /// False: not an instruction after all (register where memory is wanted, a control register that is not).
    bool operands() {
        const Row &row = insn_.row();
        for (const OperandSpec &spec : row.operands) {
            vector_index_ = vector_index_ || spec.kind == OperandKind::kVsib;
        }
        if (insn_.has_modrm && insn_.modrm < 0xc0 && !ignores_memory_form()) {
            memory_form();
        }
        bool valid = true, uses_vex_register = false;
        for (unsigned n = 0; n < insn_.operands.size(); n++) {
            const OperandSpec spec = row.operands[n];
            if (spec.kind == OperandKind::kNone) {
                continue;
            }
            insn_.operands[n].size = size_of(spec.size);
            valid = operand(spec.kind, insn_.operands[n], n) && valid;
            uses_vex_register = uses_vex_register || spec.kind == OperandKind::kVexReg || spec.kind == OperandKind::kVecVex;
        }
        return valid && (uses_vex_register || insn_.vex_register == 0); // vvvv is 1111 where it names nothing
    }

    /// MOV to and from control and debug registers takes ModRM.mod as 3 whatever it says.
    bool ignores_memory_form() const {
        return insn_.map == OpcodeMap::k0F && insn_.opcode >= 0x20 && insn_.opcode <= 0x23;
    }

    bool operand(OperandKind kind, Operand &op, unsigned position) {
        using Kind = Operand::Kind;
        const auto rm = [&](Kind register_kind) {
            if (insn_.modrm < 0xc0 && !ignores_memory_form()) {
                op.kind = Kind::kMem;
            } else {
                op.kind = register_kind;
                op.reg = static_cast<std::uint8_t>(insn_.rm_field());
            }
            return true;
        };
        const auto fixed = [&](Kind register_kind, unsigned number) {
            op.kind = register_kind;
            op.reg = static_cast<std::uint8_t>(number);
            return true;
        };
        const auto immediate = [&](std::uint64_t value) {
            op.kind = Kind::kImm;
            // ENTER is the one instruction with two immediates; its level is the second.
            (position == 1 && insn_.operands[0].kind == Kind::kImm ? insn_.imm2 : insn_.imm) = value;
            return true;
        };
        switch (kind) {
        case OperandKind::kNone: return true;
        case OperandKind::kRmByteMem:
        case OperandKind::kRmWordMem:
            op.size = insn_.modrm >= 0xc0 ? op.size : kind == OperandKind::kRmByteMem ? std::uint8_t{1} : std::uint8_t{2};
            [[fallthrough]];
        case OperandKind::kRm:
            if (insn_.modrm >= 0xc0 || ignores_memory_form()) {
                set_gpr(op, insn_.rm_field());
                return true;
            }
            op.kind = Kind::kMem;
            return true;
        case OperandKind::kMem: op.kind = Kind::kMem; return insn_.modrm < 0xc0;
        case OperandKind::kReg: set_gpr(op, insn_.reg_field()); return true;
        case OperandKind::kVexReg: return fixed(Kind::kGpr, insn_.vex_register & (mode_.code64 ? 15u : 7u));
        case OperandKind::kOpcodeReg: set_gpr(op, (insn_.opcode & 7) | ((insn_.rex & 1) << 3)); return true;
        case OperandKind::kFixedRax: return fixed(Kind::kGpr, kRax);
        case OperandKind::kFixedRcx: return fixed(Kind::kGpr, kRcx);
        case OperandKind::kFixedRdx: return fixed(Kind::kGpr, kRdx);
        case OperandKind::kOne: op.kind = Kind::kImm; insn_.imm = 1; return true;
        case OperandKind::kSeg: fixed(Kind::kSeg, (insn_.modrm >> 3) & 7); return op.reg < kSegCount;
        case OperandKind::kFixedEs: return fixed(Kind::kSeg, kEs);
        case OperandKind::kFixedCs: return fixed(Kind::kSeg, kCs);
        case OperandKind::kFixedSs: return fixed(Kind::kSeg, kSs);
        case OperandKind::kFixedDs: return fixed(Kind::kSeg, kDs);
        case OperandKind::kFixedFs: return fixed(Kind::kSeg, kFs);
        case OperandKind::kFixedGs: return fixed(Kind::kSeg, kGs);
        case OperandKind::kCr: fixed(Kind::kCr, insn_.reg_field()); return control_register_exists(op.reg);
        case OperandKind::kDr: fixed(Kind::kDr, insn_.reg_field()); return op.reg < 8;
        case OperandKind::kImm: return immediate(reader_.unsigned_value(op.size));
        case OperandKind::kImmSigned8: return immediate(static_cast<std::uint64_t>(reader_.signed_value(1)));
        case OperandKind::kImmZ:
            return immediate(static_cast<std::uint64_t>(reader_.signed_value(op.size == 8 ? 4 : op.size)));
        case OperandKind::kImmV: return immediate(reader_.unsigned_value(op.size));
        case OperandKind::kRel8:
        case OperandKind::kRelZ:
            op.kind = Kind::kRel;
            insn_.imm = static_cast<std::uint64_t>(
                reader_.signed_value(kind == OperandKind::kRel8 ? 1 : op.size == 8 ? 4 : op.size));
            return true;
        case OperandKind::kFarImm:
            op.kind = Kind::kFar;
            insn_.imm = reader_.unsigned_value(op.size);
            insn_.imm2 = reader_.unsigned_value(2);
            return true;
        case OperandKind::kMoffs:
            op.kind = Kind::kMem;
            insn_.mem.disp = static_cast<std::int64_t>(reader_.unsigned_value(insn_.address_size));
            insn_.mem.segment = insn_.segment_override != kNoReg ? insn_.segment_override : std::uint8_t{kDs};
            return true;
        case OperandKind::kString: op.kind = Kind::kString; return true;
        case OperandKind::kVecReg: return fixed(Kind::kXmm, insn_.reg_field());
        case OperandKind::kVecRm: return rm(Kind::kXmm);
        case OperandKind::kVecImm:
            insn_.imm = reader_.unsigned_value(1);
            return fixed(Kind::kXmm, (insn_.imm >> 4) & (mode_.code64 ? 15u : 7u));
        case OperandKind::kVsib: op.kind = Kind::kMem; return insn_.mem.index != kNoReg;
        case OperandKind::kVecVex: return fixed(Kind::kXmm, insn_.vex_register & (mode_.code64 ? 15u : 7u));
        case OperandKind::kMmxReg: return fixed(Kind::kMmx, (insn_.modrm >> 3) & 7);
        case OperandKind::kMmxRm:
            rm(Kind::kMmx);
            op.reg &= 7;
            return true;
        case OperandKind::kFixedSt0: return fixed(Kind::kSt, 0);
        case OperandKind::kStRm: return fixed(Kind::kSt, insn_.modrm & 7);
        }
        return false;
    }

    static bool control_register_exists(unsigned number) {
        return number == 0 || (number >= 2 && number <= 4) || number == 8; // 8 needs REX.R
    }

    void memory_form() {
        MemRef &m = insn_.mem;
        if (insn_.address_size == 2) {
            memory_form16();
            m.index = vector_index_ ? kNoReg : m.index;
            return;
        }
        const unsigned mod = insn_.modrm >> 6;
        unsigned base = insn_.modrm & 7;
        if (base == 4) {
            const std::uint8_t sib = reader_.u8();
            const unsigned index = ((sib >> 3) & 7) | ((insn_.rex & 2) << 2);
            m.index = index == 4 && !vector_index_ ? kNoReg : static_cast<std::uint8_t>(index);
            m.scale = sib >> 6;
            base = sib & 7;
            if (base == 5 && mod == 0) {
                m.disp = reader_.signed_value(4);
            } else {
                m.base = static_cast<std::uint8_t>(base | ((insn_.rex & 1) << 3));
            }
        } else if (base == 5 && mod == 0) {
            m.disp = reader_.signed_value(4);
            m.rip_relative = mode_.code64;
        } else {
            m.base = static_cast<std::uint8_t>(base | ((insn_.rex & 1) << 3));
        }
        if (mod == 1 || mod == 2) {
            m.disp = reader_.signed_value(mod == 1 ? 1 : 4);
        }
        choose_segment(m.base == kRsp || m.base == kRbp);
    }

    void memory_form16() {
        struct Form {
            std::uint8_t base, index;
        };
        constexpr Form kForms[] = {{kRbx, kRsi}, {kRbx, kRdi}, {kRbp, kRsi}, {kRbp, kRdi},
                                   {kRsi, kNoReg}, {kRdi, kNoReg}, {kRbp, kNoReg}, {kRbx, kNoReg}};
        MemRef &m = insn_.mem;
        const unsigned mod = insn_.modrm >> 6, rm = insn_.modrm & 7;
        if (mod == 0 && rm == 6) {
            m.disp = reader_.signed_value(2);
        } else {
            m.base = kForms[rm].base;
            m.index = kForms[rm].index;
            if (mod != 0) {
                m.disp = reader_.signed_value(mod);
            }
        }
        choose_segment(m.base == kRbp);
    }

    void choose_segment(bool stack) {
        insn_.mem.segment = insn_.segment_override != kNoReg ? insn_.segment_override
                            : stack                          ? std::uint8_t{kSs}
                                                             : std::uint8_t{kDs};
    }

    Reader reader_;
    const DecodeMode &mode_;
    Insn &insn_;
    RowRange rows_{};
    std::uint8_t first_ = 0; ///< behind the prefixes
    bool prefix67_ = false, vector_index_ = false;
};

} // namespace

DecodeStatus decode(const std::uint8_t *bytes, std::size_t available, const DecodeMode &mode, Insn &out) {
    return Decoder(bytes, available, mode, out).run();
}

} // namespace rhea::target::x86
