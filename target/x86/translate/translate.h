// Translation of x86 code to IR: the entry point that the frontend calls, and disassembly for -d in_asm.
//
// Any thread that owns the ir::Block; no state of its own.
#pragma once
#include "rhea/tcg/frontend.h"
#include "rhea/tcg/ir.h"
#include "target/x86/decode/features.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace rhea::target::x86 {

/// What translation needs besides the mode word: constant for a CPU.
struct TranslateContext {
    FeatureSet features;
    const tcg::GuestDescription *guest = nullptr;
    bool several_cpus = false; ///< PAUSE is told to the host
};

/// Translates from fetch.page_offset on into `block`, whose mode and page_offset the caller has set and whose lists are
/// empty. See tcg::GuestFrontend::translate.
tcg::TranslateStatus translate_block(tcg::ir::Block &block, const tcg::FetchWindow &fetch, unsigned max_insns,
                                     const TranslateContext &context);

/// One line an instruction, as an assembler would have it; `mode` is the mode word.
std::string disassemble(std::uint32_t mode, std::uint64_t pc, const std::uint8_t *bytes, std::size_t length);

} // namespace rhea::target::x86
