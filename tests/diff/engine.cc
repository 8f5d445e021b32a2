#include "tests/diff/engine.h"

namespace rhea::target::x86::diff {
namespace {

class InterpreterEngine final : public Engine {
public:
    InterpreterEngine(const tcg::GuestDescription &guest, std::uint32_t cold_offset, const tcg::MemoryCallbacks &memory)
        : interpreter_(guest, cold_offset, memory) {}
    tcg::CodeExit run(tcg::VcpuHead *state, const tcg::ir::Block &block) override {
        return interpreter_.run(state, block);
    }

private:
    tcg::Interpreter interpreter_;
};

} // namespace

std::unique_ptr<Engine> make_engine(EngineKind, const tcg::GuestDescription &guest, std::uint32_t cold_offset,
                                    const tcg::MemoryCallbacks &memory) {
    return std::make_unique<InterpreterEngine>(guest, cold_offset, memory);
}

} // namespace rhea::target::x86::diff
