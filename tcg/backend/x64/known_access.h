// What the thunk of a load or store does before it calls C++.
#pragma once
#include "tcg/backend/x64/assembler.h"
#include "tcg/backend/x64/layout.h"

namespace rhea::tcg::x64 {

/// Emits the start of a load's or store's thunk: address at kArgSpill, data at kDataSpill. Where the window's tables tell, it does the
/// access and returns; else it goes on behind, with all registers as they were.
class KnownAccess {
public:
    /// `flags`: MemFlags.
    KnownAccess(Assembler &assembler, const Layout &layout, unsigned bytes, bool store, unsigned flags);
    void emit();

private:
    Mem spill_mem(unsigned n) const { return state_mem(layout_.spill(n)); }
    void move_data();
    void emit_first_level();
    void emit_beside_code();
    void emit_known_store(Label &found);
    void emit_victim();

    Assembler &a_;
    const Layout &layout_;
    const unsigned bytes_;
    const bool store_, write_, aligned_;
    Label here_;  ///< do it: the addend is in r10
    Label miss_;
};

} // namespace rhea::tcg::x64
