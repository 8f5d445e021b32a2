#include "tests/diff/engine.h"

#include "rhea/tcg/passes.h"

#include <cstdio>
#include <new>
#include <stdexcept>
#include <sys/mman.h>
#include <vector>

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

/// Passes and host code, one block at a time.
class GeneratedEngine final : public Engine {
public:
    GeneratedEngine(const tcg::GuestDescription &guest, std::uint32_t cold_offset, const tcg::MemoryCallbacks &memory)
        : guest_(guest), cold_offset_(cold_offset), generator_(tcg::make_x64_generator(guest, cold_offset, memory)),
          interpreter_(guest, cold_offset, memory) {
        void *space = mmap(nullptr, kCodeBytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (space == MAP_FAILED || !generator_) {
            throw std::bad_alloc();
        }
        memory_ = static_cast<std::uint8_t *>(space);
        thunk_bytes_ = generator_->emit_thunks({memory_, memory_, kCodeBytes});
    }
    ~GeneratedEngine() override {
        if (refused_ != 0) {
            std::printf("blocks that the code generator left to the interpreter: %u\n", refused_);
        }
        munmap(memory_, kCodeBytes);
    }

    tcg::CodeExit run(tcg::VcpuHead *state, const tcg::ir::Block &block) override {
        ++runs_;
        block_ = block;
        tcg::passes::run(block_, guest_);
        code_ = {};
        tcg::TranslationBlock tb;
        std::uint8_t *free = memory_ + thunk_bytes_;
        if (!generator_->compile(block_, {free, free, kCodeBytes - thunk_bytes_}, code_)) {
            // As the run loop does: what the generator cannot place is interpreted. Rare, or something is wrong.
            if (++refused_ > kMaxRefused + runs_ / 20000) {
                throw std::runtime_error("the code generator refuses too many blocks; the last one:\n" +
                                         tcg::ir::print(block_, guest_));
            }
            return interpreter_.run(state, block);
        }
        tb.entry = code_.entry;
        tb.code_size = code_.size;
        tb.exits = code_.exits;
        tb.side_table = code_.side_table.bytes;
        for (tcg::ExitSlot &slot : tb.exits) {
            slot.source = &tb;
        }
        auto &cold = *reinterpret_cast<tcg::VcpuCold *>(reinterpret_cast<std::uint8_t *>(state) + cold_offset_);
        cold.slow_site = 0;
        const tcg::CodeExit exit = generator_->enter(state, tb.entry);
        if (exit == tcg::CodeExit::kException && cold.slow_site != 0) {
            generator_->restore_state(state, tb, cold.slow_site);
        }
        return exit;
    }
    void *exit_next_entry() const override { return generator_->exit_next_entry(); }

private:
    static constexpr std::size_t kCodeBytes = 1u << 20;
    /// Known: one block with a carry chain across x87 helper calls.
    static constexpr unsigned kMaxRefused = 4;
    const tcg::GuestDescription &guest_;
    std::uint32_t cold_offset_;
    std::unique_ptr<tcg::CodeGenerator> generator_;
    tcg::Interpreter interpreter_;
    unsigned refused_ = 0;
    std::uint64_t runs_ = 0;
    std::uint8_t *memory_ = nullptr;
    std::size_t thunk_bytes_ = 0;
    tcg::ir::Block block_;
    tcg::CompiledCode code_;
};

} // namespace

std::unique_ptr<Engine> make_engine(EngineKind kind, const tcg::GuestDescription &guest, std::uint32_t cold_offset,
                                    const tcg::MemoryCallbacks &memory) {
    if (kind == EngineKind::kGenerated) {
        return std::make_unique<GeneratedEngine>(guest, cold_offset, memory);
    }
    return std::make_unique<InterpreterEngine>(guest, cold_offset, memory);
}

} // namespace rhea::target::x86::diff
