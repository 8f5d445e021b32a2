// Vector rows: most are one VEX instruction named in vector_ops.def; the rest have an emitter of their own here.
#include "tcg/backend/x64/emit_vector_rows.h"
#include "tcg/backend/x64/vex_ops.h"

#include <string_view>

namespace rhea::tcg::x64 {
namespace {

enum class Form : std::uint8_t {
    kOwn,      ///< emit_<row>
    kOne, kTwo, kThree, kOneImm, kTwoImm, kShift, kFromInt, kFromIntImm, kToInt, kToIntImm, kFlags, kFma
};

/// Can the instruction take its last vector operand from memory (16 bytes or fewer at its start)? Has it a 256-bit form?
namespace foldable {
#define RHEA_VEX_OP(name, pp, map, opcode, w, operands, bytes, bytes256) inline constexpr bool name = (bytes) != 0;
#define RHEA_VEX_GROUP(name, pp, opcode, digit)
#include "tcg/backend/x64/vex_ops.def"
#undef RHEA_VEX_OP
#undef RHEA_VEX_GROUP
} // namespace foldable
namespace widens {
#define RHEA_VEX_OP(name, pp, map, opcode, w, operands, bytes, bytes256) \
    inline constexpr bool name = (bytes256) != 0;
#define RHEA_VEX_GROUP(name, pp, opcode, digit)
#include "tcg/backend/x64/vex_ops.def"
#undef RHEA_VEX_OP
#undef RHEA_VEX_GROUP
} // namespace widens

struct VectorRow {
    Form form = Form::kOwn;
    VexOp op;
    std::uint8_t digit = 0;
    bool folds = false;
    bool wide = false; ///< has a form for v256
};

template <class Op>
constexpr VectorRow plain(Form form, Op op, bool folds, bool wide) {
    return {form, op, 0, folds, wide};
}

constexpr VectorRow kRows[] = {
#define RHEA_IR_OP(name, result, args, flags, meaning) VectorRow{},
#define RHEA_IR_VOP1(name, n, flags, meaning) plain(Form::kOne, vex::n, foldable::n, widens::n),
#define RHEA_IR_VOP2(name, n, flags, meaning) plain(Form::kTwo, vex::n, foldable::n, widens::n),
#define RHEA_IR_VOP3(name, n, flags, meaning) plain(Form::kThree, vex::n, false, widens::n),
#define RHEA_IR_VOP1I(name, n, flags, meaning) plain(Form::kOneImm, vex::n, foldable::n, widens::n),
#define RHEA_IR_VOP2I(name, n, flags, meaning) plain(Form::kTwoImm, vex::n, foldable::n, widens::n),
#define RHEA_IR_VCOUNT(name, n, flags, meaning) plain(Form::kTwo, vex::n, foldable::n, true),
#define RHEA_IR_VWIDEN(name, n, bytes, flags, meaning) plain(Form::kOne, vex::n, foldable::n, widens::n),
#define RHEA_IR_VNARROW(name, n, flags, meaning) plain(Form::kOne, vex::n, foldable::n, true),
#define RHEA_IR_VFMA(name, n, flags, meaning) plain(Form::kFma, vex::n, foldable::n, widens::n),
#define RHEA_IR_VCROSS(name, n, flags, meaning) plain(Form::kTwo, vex::n, false, true),
#define RHEA_IR_VCROSS1I(name, n, flags, meaning) plain(Form::kOneImm, vex::n, false, true),
#define RHEA_IR_VCROSS2I(name, n, flags, meaning) plain(Form::kTwoImm, vex::n, false, true),
#define RHEA_IR_VSHIFT(name, group, flags, meaning) VectorRow{Form::kShift, vex::group.op, vex::group.digit, false, true},
#define RHEA_IR_VFROMG(name, vex_name, letter, flags, meaning) plain(Form::kFromInt, vex::vex_name, false, false),
#define RHEA_IR_VFROMGI(name, vex_name, letter, flags, meaning) plain(Form::kFromIntImm, vex::vex_name, false, false),
#define RHEA_IR_VTOG(name, vex_name, letter, flags, meaning) \
    plain(Form::kToInt, vex::vex_name, false, std::string_view(#name).find("movmsk") != std::string_view::npos),
#define RHEA_IR_VTOGI(name, vex_name, letter, flags, meaning) plain(Form::kToIntImm, vex::vex_name, false, false),
#define RHEA_IR_VFLAGS(name, n, flags, meaning) plain(Form::kFlags, vex::n, false, widens::n),
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
    static void v_join(BlockCompiler &c, ValueId i) {
        const Inst &join = c.inst(i);
        const ValueId lower = c.resolve(join.args[0]);
        if (c.joined(lower, c.resolve(join.args[1]))) {
            const Xmm p = xmm(c.val(lower).reg);
            if (!c.live_after(lower)) {
                c.val(lower).place = BlockCompiler::Place::kNone;
                c.own_xmm(i, p);
                return;
            }
            const Xmm d = c.dest_xmm(i, 1u << code(p));
            c.a().vex_rr(vex::vmovdqa.ymm(), d, p);
            c.bind_xmm(i, d);
            return;
        }
        Mem low, high;
        const bool high_memory = c.xmm_mem(join.args[1], high);
        if (c.xmm_mem(join.args[0], low) && high_memory && high.disp == low.disp + 16) {
            const Xmm d = c.dest_xmm(i);
            c.load_vector(true, d, low);
            c.bind_xmm(i, d);
            return;
        }
        const bool zero = c.inst(c.resolve(join.args[1])).op == Op::v_zero;
        if (zero && c.inst(c.resolve(join.args[0])).op == Op::v_zero) {
            const Xmm d = c.dest_xmm(i);
            c.a().vex_rrr(vex::vpxor, d, d, d);
            c.bind_xmm(i, d);
            return;
        }
        const Xmm x = c.use_xmm(join.args[0]);
        const Xmm y = high_memory || zero ? Xmm::xmm0 : c.use_xmm(join.args[1]);
        const Xmm d = c.dest_xmm(i);
        if (zero)
            c.a().vmovdqa(d, x); // clears the upper half
        else if (high_memory)
            c.a().vex_rrmi(vex::vinserti128.ymm(), d, x, high, 1);
        else
            c.a().vex_rrri(vex::vinserti128.ymm(), d, x, y, 1);
        c.bind_xmm(i, d);
    }
    static void v_low(BlockCompiler &, ValueId) {} // a name for its argument
    /// Straight to memory where it is set to a slot next, as upper halves of guest registers are.
    static void v_high(BlockCompiler &c, ValueId i) {
        const Xmm x = c.use_xmm(c.inst(i).args[0]);
        const Inst *next = i + 1 < c.block_->insts.size() ? &c.inst(i + 1) : nullptr;
        if (next && next->op == Op::set && c.resolve(next->args[0]) == i && c.layout_.slots[next->aux].xmm < 0) {
            const Slot slot = next->aux;
            c.evict_vector_slot(slot);
            const int n = c.layout_.slots[slot].upper_of;
            if (n >= 0 && (code(x) == static_cast<unsigned>(n) || c.upper_value_[static_cast<unsigned>(n)] == c.resolve(c.inst(i).args[0]))) {
                c.keep_upper(static_cast<unsigned>(n), i);
            } else {
                c.a().vex_mri(vex::vextracti128.ymm(), state_mem(c.layout_.slots[slot].disp), x, 1);
                if (n >= 0) {
                    c.full_uppers_ &= ~(1u << n);
                    c.dirty_uppers_ &= ~(1u << n);
                }
            }
            c.val(i).place = BlockCompiler::Place::kSlot;
            c.val(i).home = slot;
            c.slot_value_[slot] = i;
            return;
        }
        const Xmm d = c.dest_xmm(i);
        c.a().vex_rri_store(vex::vextracti128.ymm(), d, x, 1);
        c.bind_xmm(i, d);
    }
    static void cvtps2ph(BlockCompiler &c, ValueId i) {
        const Inst &inst = c.inst(i);
        const Xmm x = c.use_xmm(inst.args[0]);
        const Xmm d = c.dest_xmm(i);
        const VexOp op = c.type_of(inst.args[0]) == Type::kV256 ? vex::vcvtps2ph.ymm() : vex::vcvtps2ph;
        c.a().vex_rri_store(op, d, x, static_cast<unsigned>(inst.imm & 0xff));
        c.bind_xmm(i, d);
    }
    static void from_int(BlockCompiler &c, ValueId i, unsigned bytes) {
        if (c.val(c.resolve(c.inst(i).args[0])).through_vector)
            return; // the load has put it here
        const Gpr x = c.use_gpr(c.inst(i).args[0]);
        const Xmm d = c.dest_xmm(i);
        if (bytes == 8)
            c.a().vmovq(d, x);
        else
            c.a().vmovd(d, x);
        c.bind_xmm(i, d);
    }
    static void to_int(BlockCompiler &c, ValueId i, unsigned bytes) {
        if (c.val(i).through_vector)
            return; // its store looks at the vector
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
#define RHEA_IR_VCOUNT(...) nullptr,
#define RHEA_IR_VWIDEN(...) nullptr,
#define RHEA_IR_VNARROW(...) nullptr,
#define RHEA_IR_VFMA(...) nullptr,
#define RHEA_IR_VCROSS(...) nullptr,
#define RHEA_IR_VCROSS1I(...) nullptr,
#define RHEA_IR_VCROSS2I(...) nullptr,
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

    /// Of the result or of the argument that the row looks at.
    static bool wide(BlockCompiler &c, const Inst &inst) {
        return inst.type == Type::kV256 || (inst.arg_count > 0 && c.type_of(inst.args[0]) == Type::kV256);
    }

    /// a := op(a, b, c)
    static void fused(BlockCompiler &c, ValueId i, const VectorRow &row) {
        const Inst &inst = c.inst(i);
        const Xmm x = c.use_xmm(inst.args[0]), y = c.use_xmm(inst.args[1]);
        Mem m;
        const bool memory = row.folds && c.xmm_mem(inst.args[2], m);
        const Xmm z = memory ? y : c.use_xmm(inst.args[2]);
        const bool in_place = y != x && z != x;
        const Xmm d = c.dest_xmm(i, (in_place ? 0 : 1u << code(x)) | 1u << code(y) | 1u << code(z));
        if (d != x)
            c.a().vex_rr(row.op.l != 0 ? vex::vmovdqa.ymm() : vex::vmovdqa, d, x);
        memory ? c.a().vex_rrm(row.op, d, y, m) : c.a().vex_rrr(row.op, d, y, z);
        c.bind_xmm(i, d);
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
    VectorRow row = kRows[n];
    if (row.form != Form::kOwn && VectorEmitters::wide(*this, inst(i))) {
        if (!row.wide) {
            fail();
            return;
        }
        row.op = row.op.ymm();
    }
    switch (row.form) {
    case Form::kOwn: VectorEmitters::own(n)(*this, i); break;
    case Form::kFromInt:
    case Form::kFromIntImm:
    case Form::kToInt:
    case Form::kToIntImm:
    case Form::kFlags: VectorEmitters::with_integer(*this, i, row); break;
    case Form::kFma: VectorEmitters::fused(*this, i, row); break;
    default: VectorEmitters::packed(*this, i, row); break;
    }
}

bool has_wide_form(Op op) { return kRows[static_cast<unsigned>(op) - static_cast<unsigned>(Op::v_zero)].wide; }

} // namespace rhea::tcg::x64
