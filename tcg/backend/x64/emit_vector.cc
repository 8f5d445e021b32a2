// Vector rows: most are one VEX instruction named in vector_ops.def; the rest have an emitter of their own here.
#include "tcg/backend/x64/emit_vector_rows.h"
#include "tcg/backend/x64/vex_ops.h"

namespace rhea::tcg::x64 {
namespace {

enum class Form : std::uint8_t {
    kOwn,      ///< emit_<row>
    kOne, kTwo, kThree, kOneImm, kTwoImm, kShift, kFromInt, kFromIntImm, kToInt, kToIntImm, kFlags
};

/// Can the instruction take its last vector operand from memory (16 bytes or fewer at its start)?
namespace foldable {
#define RHEA_VEX_OP(name, pp, map, opcode, w, operands, bytes, bytes256) inline constexpr bool name = (bytes) != 0;
#define RHEA_VEX_GROUP(name, pp, opcode, digit)
#include "tcg/backend/x64/vex_ops.def"
#undef RHEA_VEX_OP
#undef RHEA_VEX_GROUP
} // namespace foldable

struct VectorRow {
    Form form = Form::kOwn;
    VexOp op;
    std::uint8_t digit = 0;
    bool folds = false;
};

constexpr VectorRow kRows[] = {
#define RHEA_IR_OP(name, result, args, flags, meaning) VectorRow{},
#define RHEA_IR_VOP1(name, vex_name, flags, meaning) VectorRow{Form::kOne, vex::vex_name, 0, foldable::vex_name},
#define RHEA_IR_VOP2(name, vex_name, flags, meaning) VectorRow{Form::kTwo, vex::vex_name, 0, foldable::vex_name},
#define RHEA_IR_VOP3(name, vex_name, flags, meaning) VectorRow{Form::kThree, vex::vex_name, 0, false},
#define RHEA_IR_VOP1I(name, vex_name, flags, meaning) VectorRow{Form::kOneImm, vex::vex_name, 0, foldable::vex_name},
#define RHEA_IR_VOP2I(name, vex_name, flags, meaning) VectorRow{Form::kTwoImm, vex::vex_name, 0, foldable::vex_name},
#define RHEA_IR_VSHIFT(name, group, flags, meaning) VectorRow{Form::kShift, vex::group.op, vex::group.digit, false},
#define RHEA_IR_VFROMG(name, vex_name, letter, flags, meaning) VectorRow{Form::kFromInt, vex::vex_name, 0, false},
#define RHEA_IR_VFROMGI(name, vex_name, letter, flags, meaning) VectorRow{Form::kFromIntImm, vex::vex_name, 0, false},
#define RHEA_IR_VTOG(name, vex_name, letter, flags, meaning) VectorRow{Form::kToInt, vex::vex_name, 0, false},
#define RHEA_IR_VTOGI(name, vex_name, letter, flags, meaning) VectorRow{Form::kToIntImm, vex::vex_name, 0, false},
#define RHEA_IR_VFLAGS(name, vex_name, flags, meaning) VectorRow{Form::kFlags, vex::vex_name, 0, false},
#include "rhea/tcg/vector_ops.def"
#undef RHEA_IR_OP
};

} // namespace

/// Rows with code of their own, by name: a missing one does not compile.
struct VectorEmitters : ImplicitRegisterRows {
    static void v_zero(BlockCompiler &c, ValueId i) {
        const Xmm d = c.dest_xmm(i);
        c.a().vex_rrr(vex::vpxor, d, d, d);
        c.bind_xmm(i, d);
    }
    static void from_int(BlockCompiler &c, ValueId i, unsigned bytes) {
        const Gpr x = c.use_gpr(c.inst(i).args[0]);
        const Xmm d = c.dest_xmm(i);
        if (bytes == 8)
            c.a().vmovq(d, x);
        else
            c.a().vmovd(d, x);
        c.bind_xmm(i, d);
    }
    static void to_int(BlockCompiler &c, ValueId i, unsigned bytes) {
        Mem m;
        const bool memory = c.xmm_mem(c.inst(i).args[0], m);
        const Xmm x = memory ? Xmm::xmm0 : c.use_xmm(c.inst(i).args[0]);
        const Gpr d = c.dest(i);
        if (memory)
            c.a().mov(bytes, d, m);
        else if (bytes == 8)
            c.a().vmovq(d, x);
        else
            c.a().vmovd(d, x);
        c.finish(i, d);
    }
    static void v_from_i32(BlockCompiler &c, ValueId i) { from_int(c, i, 4); }
    static void v_from_i64(BlockCompiler &c, ValueId i) { from_int(c, i, 8); }
    static void v_to_i32(BlockCompiler &c, ValueId i) { to_int(c, i, 4); }
    static void v_to_i64(BlockCompiler &c, ValueId i) { to_int(c, i, 8); }

    using Emit = void (*)(BlockCompiler &, ValueId);
    static Emit own(unsigned row) {
        static constexpr Emit kOwn[] = {
#define RHEA_IR_OP(name, result, args, flags, meaning) &VectorEmitters::name,
#define RHEA_IR_VOP1(...) nullptr,
#define RHEA_IR_VOP2(...) nullptr,
#define RHEA_IR_VOP3(...) nullptr,
#define RHEA_IR_VOP1I(...) nullptr,
#define RHEA_IR_VOP2I(...) nullptr,
#define RHEA_IR_VSHIFT(...) nullptr,
#define RHEA_IR_VFROMG(...) nullptr,
#define RHEA_IR_VFROMGI(...) nullptr,
#define RHEA_IR_VTOG(...) nullptr,
#define RHEA_IR_VTOGI(...) nullptr,
#define RHEA_IR_VFLAGS(...) nullptr,
#include "rhea/tcg/vector_ops.def"
#undef RHEA_IR_OP
        };
        return kOwn[row];
    }

    /// v = op(v...), one instruction.
    static void packed(BlockCompiler &c, ValueId i, const VectorRow &row) {
        const Inst &inst = c.inst(i);
        const auto imm = static_cast<unsigned>(inst.imm & 0xff);
        Assembler &a = c.a();
        const bool two = row.form == Form::kTwo || row.form == Form::kTwoImm;
        const Xmm x = two || row.form == Form::kThree ? c.use_xmm(inst.args[0]) : Xmm::xmm0;
        const ValueId last = inst.args[two ? 1 : row.form == Form::kThree ? 2 : 0];
        Mem m;
        // INSERTPS from memory takes that one lane, whatever imm[7:6] says.
        const bool memory = row.folds && inst.op != Op::insertps && c.xmm_mem(last, m);
        const Xmm y = memory ? Xmm::xmm0 : c.use_xmm(last);
        const Xmm middle = row.form == Form::kThree ? c.use_xmm(inst.args[1]) : Xmm::xmm0;
        const Xmm d = c.dest_xmm(i);
        switch (row.form) {
        case Form::kOne: memory ? a.vex_rm(row.op, d, m) : a.vex_rr(row.op, d, y); break;
        case Form::kTwo: memory ? a.vex_rrm(row.op, d, x, m) : a.vex_rrr(row.op, d, x, y); break;
        case Form::kThree: a.vex_rrrr(row.op, d, x, middle, y); break;
        case Form::kOneImm: memory ? a.vex_rmi(row.op, d, m, imm) : a.vex_rri(row.op, d, y, imm); break;
        case Form::kTwoImm: memory ? a.vex_rrmi(row.op, d, x, m, imm) : a.vex_rrri(row.op, d, x, y, imm); break;
        default: a.vex_group_rri(row.op, row.digit, d, y, imm); break;
        }
        c.bind_xmm(i, d);
    }

    static void with_integer(BlockCompiler &c, ValueId i, const VectorRow &row) {
        const Inst &inst = c.inst(i);
        const auto imm = static_cast<unsigned>(inst.imm & 0xff);
        Assembler &a = c.a();
        const Xmm x = c.use_xmm(inst.args[0]);
        if (row.form == Form::kFromInt || row.form == Form::kFromIntImm) {
            const Gpr y = c.use_gpr(inst.args[1]);
            const Xmm d = c.dest_xmm(i);
            if (row.form == Form::kFromInt)
                a.vex_rrr(row.op, d, x, y);
            else
                a.vex_rrri(row.op, d, x, y, imm);
            c.bind_xmm(i, d);
            return;
        }
        if (row.form == Form::kFlags) {
            const Xmm y = c.use_xmm(inst.args[1]);
            c.clobber();
            const Gpr d = c.temp();
            a.mov(8, d, Gpr::rax);
            a.vex_rr(row.op, x, y);
            a.lahf();
            a.movzx8(Gpr::rax, HighByte::ah);
            a.and_(4, Gpr::rax, static_cast<std::int32_t>(kZF | kPF | kCF));
            a.xchg(8, d, Gpr::rax);
            c.low_part_ = false;
            c.finish(i, d);
            return;
        }
        const Gpr d = c.dest(i);
        if (row.form == Form::kToInt)
            a.vex_rr(row.op, d, x);
        else
            a.vex_rri_store(row.op, d, x, imm);
        c.finish(i, d);
    }
};

void BlockCompiler::emit_vector(ValueId i) {
    const unsigned n = static_cast<unsigned>(inst(i).op) - static_cast<unsigned>(Op::v_zero);
    const VectorRow &row = kRows[n];
    switch (row.form) {
    case Form::kOwn: VectorEmitters::own(n)(*this, i); break;
    case Form::kFromInt:
    case Form::kFromIntImm:
    case Form::kToInt:
    case Form::kToIntImm:
    case Form::kFlags: VectorEmitters::with_integer(*this, i, row); break;
    default: VectorEmitters::packed(*this, i, row); break;
    }
}

} // namespace rhea::tcg::x64
