// The emitters in the order of the decoder's rows.
#include "target/x86/translate/emitters.h"
#include "target/x86/translate/emitters_fpu.h"

namespace rhea::target::x86 {

Emitter emitter_of(RowId row) {
    using namespace emit;
    static constexpr Emitter kEmitters[] = {
#define RHEA_X86_ROW(map, opcode, selection, mnemonic, o1, o2, o3, flags, feature, emitter) emitter,
#include "target/x86/decode/all_rows.def"
#undef RHEA_X86_ROW
    };
    return kEmitters[row];
}

} // namespace rhea::target::x86
