// VMASKMOV and gathers: calls, since which elements are accessed is known only when they run.
#include "target/x86/fpu/avx_access.h"
#include "target/x86/translate/emitters_fpu.h"

namespace rhea::target::x86::emit {

/// Load: register, mask, memory; store: memory, mask, register.
template <unsigned kElement>
void avx_mask_move(Translator &t) {
    const bool store = t.op(0).is_mem();
    AvxAccess access;
    access.data = t.op(store ? 2 : 0).reg;
    access.mask = t.op(1).reg;
    access.element = kElement;
    access.wide = t.insn.vex_length;
    const unsigned size = access.wide != 0 ? 32 : 16;
    t.call(store ? HelperId::avx_mask_store : HelperId::avx_mask_load, Type::kNone,
           {t.mem_address(size, store), t.k(access.pack())});
}
template void avx_mask_move<4>(Translator &);
template void avx_mask_move<8>(Translator &);

/// Register, memory with a vector index, mask. The three registers differ.
template <unsigned kElement, unsigned kIndex>
void avx_gather(Translator &t) {
    const MemRef &m = t.insn.mem;
    AvxAccess access;
    access.data = t.op(0).reg;
    access.mask = t.op(2).reg;
    access.index = m.index;
    if (access.data == access.mask || access.data == access.index || access.mask == access.index) {
        t.undefined();
        return;
    }
    access.element = kElement;
    access.index_size = kIndex;
    access.scale = m.scale;
    access.wide = t.insn.vex_length;
    access.address = static_cast<std::uint8_t>(t.insn.address_size | m.segment << 4);
    const ValueId base = m.base == kNoReg ? t.k(static_cast<std::uint64_t>(m.disp)) : t.b.add_imm(t.gpr(m.base), m.disp);
    t.call(HelperId::avx_gather, Type::kNone, {base, t.k(access.pack()), t.linear(m.segment, t.k(0))});
}
template void avx_gather<4, 4>(Translator &);
template void avx_gather<4, 8>(Translator &);
template void avx_gather<8, 4>(Translator &);
template void avx_gather<8, 8>(Translator &);

} // namespace rhea::target::x86::emit
