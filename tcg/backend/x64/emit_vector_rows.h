// Vector rows whose host code is more than one VEX instruction, by row name (vector_ops.def); emit_vector.cc has the rest.
#pragma once
#include "tcg/backend/x64/compiler.h"

namespace rhea::tcg::x64 {

/// emit_vector_sse4.cc: instructions with implicit registers, and SHA.
struct ImplicitRegisterRows {
    static void pcmpistri(BlockCompiler &c, ValueId i);
    static void pcmpestri(BlockCompiler &c, ValueId i);
    static void pcmpistrm(BlockCompiler &c, ValueId i);
    static void pcmpestrm(BlockCompiler &c, ValueId i);
    static void sha1nexte(BlockCompiler &c, ValueId i);
    static void sha1msg1(BlockCompiler &c, ValueId i);
    static void sha1msg2(BlockCompiler &c, ValueId i);
    static void sha1rnds4(BlockCompiler &c, ValueId i);
    static void sha256msg1(BlockCompiler &c, ValueId i);
    static void sha256msg2(BlockCompiler &c, ValueId i);
    static void sha256rnds2(BlockCompiler &c, ValueId i);

private:
    static void string_index(BlockCompiler &c, ValueId i, bool lengths);
    static void string_mask(BlockCompiler &c, ValueId i, bool lengths);
    static void load_lengths(BlockCompiler &c, Gpr from);
    static void sha(BlockCompiler &c, ValueId i, ShaOp op);
};

} // namespace rhea::tcg::x64
