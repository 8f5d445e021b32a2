// XSAVE and its family, XRSTOR: calls, since they move hundreds of bytes.
#include "target/x86/translate/emitters_fpu.h"

namespace rhea::target::x86::emit {
namespace {

/// EDX:EAX.
ValueId component_mask(Translator &t) {
    const ValueId low = t.b.zext(t.reg(kRax, 4), Type::kI64);
    return t.b.or_(t.b.shl_imm(t.gpr(kRdx), 32), low);
}

} // namespace

template <XsaveKind kKind>
void xsave(Translator &t) {
    const ValueId address = t.mem_address(255, true);
    t.call(HelperId::xsave, Type::kNone,
           {address, component_mask(t), t.k(xsave_argument(static_cast<unsigned>(kKind), t.insn.rex_w()))});
}
template void xsave<XsaveKind::kXsave>(Translator &);
template void xsave<XsaveKind::kXsaveopt>(Translator &);
template void xsave<XsaveKind::kXsavec>(Translator &);

/// MXCSR may change, and with it the mode word.
void xrstor(Translator &t) {
    const ValueId address = t.mem_address(255, false);
    t.call(HelperId::xrstor, Type::kNone,
           {address, component_mask(t), t.k(xsave_argument(static_cast<unsigned>(t.length()), t.insn.rex_w()))});
    t.leave_state();
}

} // namespace rhea::target::x86::emit
