// What executes IR: the interpreter, or generated code.
#pragma once
#include "rhea/tcg/backend.h"

#include <cstdint>
#include <memory>

namespace rhea::target::x86::diff {

enum class EngineKind : std::uint8_t { kInterpreter, kGenerated };

class Engine {
public:
    virtual ~Engine() = default;
    /// Runs the block; on kException pc and flags are those of the instruction that faulted.
    virtual tcg::CodeExit run(tcg::VcpuHead *state, const tcg::ir::Block &block) = 0;
    /// What find_block returns when generated code asks for another block.
    virtual void *exit_next_entry() const { return nullptr; }
};

std::unique_ptr<Engine> make_engine(EngineKind kind, const tcg::GuestDescription &guest, std::uint32_t cold_offset,
                                    const tcg::MemoryCallbacks &memory);

} // namespace rhea::target::x86::diff
