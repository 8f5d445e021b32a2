// Moves without the stack: MOV, extensions, LEA, XLAT, CMOV, SETcc.
#include "target/x86/translate/emitters.h"

namespace rhea::target::x86::emit {

void mov(Translator &t) { t.write(0, t.read(1)); }

void movzx(Translator &t) { t.write(0, t.b.zext(t.read(1), t.optype())); }

/// Also MOVSXD, which reads 32 bits even when it moves 16.
void movsx(Translator &t) {
    const ValueId source = t.read(1);
    t.write(0, t.op(1).size > t.opsize() ? t.b.trunc(source, t.optype()) : t.b.sext(source, t.optype()));
}

void lea(Translator &t) { t.write(0, t.b.trunc(t.effective_offset(), t.optype())); }

void xlat(Translator &t) {
    const ValueId index = t.b.zext(t.reg(kRax, 1), Type::kI64);
    const ValueId offset = t.masked(t.b.add(t.gpr(kRbx), index), t.insn.address_size);
    const unsigned segment = t.insn.segment_override != kNoReg ? t.insn.segment_override : unsigned{kDs};
    t.set_reg(kRax, 1, t.load_at(t.access(segment, offset, 1, false), 1));
}

/// CBW, CWDE, CDQE.
void cbw(Translator &t) {
    const unsigned size = t.opsize();
    t.set_reg(kRax, size, t.b.sext(t.reg(kRax, size / 2), t.optype()));
}

/// CWD, CDQ, CQO.
void cwd(Translator &t) {
    const ValueId sign = t.b.konst(Type::kI8, t.opsize() * 8 - 1);
    t.set_reg(kRdx, t.opsize(), t.b.emit(Op::sar, t.optype(), {t.reg(kRax, t.opsize()), sign}));
}

void cmov(Translator &t) {
    const ValueId source = t.read(1);
    t.write(0, t.b.emit(Op::select_cc, t.optype(), {t.b.flags(), source, t.read(0)}, t.insn.opcode & 15));
}

void setcc(Translator &t) { t.write(0, t.b.cond(static_cast<Cond>(t.insn.opcode & 15))); }

} // namespace rhea::target::x86::emit
