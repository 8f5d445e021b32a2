#include "accel/tcg/lockstep.h"

#include "accel/tcg/slow_paths.h"

#include <cstring>
#include <fmt/format.h>

namespace rhea::accel {

using namespace tcg;

Lockstep::Lockstep(TcgVcpu &vcpu) : vcpu_(vcpu) {}

bool Lockstep::comparable(const ir::Block &block) const {
    for (const ir::Inst &inst : block.insts) {
        if (inst.op == ir::Op::call)
            return false;
    }
    return true;
}

void Lockstep::note_store(std::uint8_t *host, unsigned size) {
    Undo undo{host, size, {}, {}};
    std::memcpy(undo.old_bytes, host, size);
    undo_.push_back(undo);
}

CodeExit Lockstep::run(TranslationBlock &block) {
    VcpuHead *head = vcpu_.head_;
    VcpuCold *cold = vcpu_.cold_;
    const auto run_generated = [&] {
        if (!block.entry)
            return vcpu_.interpreter_->run(head, *block.ir);
        // Backward jumps leave at once, so that both engines do the same piece of work.
        std::atomic_ref<std::uint32_t>(head->exit_request).store(1, std::memory_order_relaxed);
        vcpu_.in_generated_code_ = true;
        const CodeExit exit = vcpu_.generator_->enter(head, block.entry);
        vcpu_.in_generated_code_ = false;
        return exit == CodeExit::kChain ? CodeExit::kNext : exit;
    };
    if (!block.ir || !block.entry || !comparable(*block.ir)) {
        ++skipped_;
        return run_generated();
    }

    const std::size_t size = vcpu_.frontend_->state_size();
    auto *state = reinterpret_cast<std::uint8_t *>(head);
    before_.assign(state, state + size);
    undo_.clear();
    gave_up_ = false;
    recording_ = true;
    vcpu_.tlb_->flush_all(false); // every access comes by the slow path, which records it
    const CodeExit interp_exit = vcpu_.interpreter_->run(head, *block.ir);
    recording_ = false;
    const bool restart = head->exception_pending == kRestartSingle;
    after_interp_.assign(state, state + size);
    for (Undo &undo : undo_)
        std::memcpy(undo.interpreted, undo.host, undo.size); // the last of several stores to one place wins for all
    for (auto it = undo_.rbegin(); it != undo_.rend(); ++it)
        std::memcpy(it->host, it->old_bytes, it->size);
    std::memcpy(state, before_.data(), size);
    if (gave_up_ || restart) {
        ++skipped_;
        return run_generated();
    }

    const CodeExit exit = run_generated();
    if (exit == CodeExit::kException && cold->slow_site) {
        if (head->exception_pending == kRestartSingle)
            return exit;
        vcpu_.generator_->restore_state(head, block, cold->slow_site);
        cold->slow_site = 0;
    }
    ++compared_;
    std::string difference;
    const CodeExit expected = interp_exit == CodeExit::kChain ? CodeExit::kNext : interp_exit;
    if (exit != expected)
        difference += fmt::format("  exit: interpreter {}, generated code {}\n", static_cast<int>(expected), static_cast<int>(exit));
    difference += compare_state(after_interp_);
    for (const Undo &undo : undo_) {
        if (std::memcmp(undo.interpreted, undo.host, undo.size) != 0)
            difference += fmt::format("  memory at host {}, {} bytes\n", fmt::ptr(undo.host), undo.size);
    }
    if (!difference.empty()) {
        const std::uint64_t pc = reinterpret_cast<const VcpuHead *>(before_.data())->pc;
        mismatch_ = fmt::format("generated code and interpreter differ at {:#x} (block of {} instructions, mode {:#x}):\n{}\n{}\n{}",
                                pc, block.guest_insns, block.mode, difference,
                                ir::print(*block.ir, vcpu_.frontend_->description()), vcpu_.generator_->disassemble(block));
    }
    return exit;
}

std::string Lockstep::compare_state(const std::vector<std::uint8_t> &interpreted) const {
    std::string text;
    const auto *state = reinterpret_cast<const std::uint8_t *>(vcpu_.head_);
    const auto *theirs = reinterpret_cast<const VcpuHead *>(interpreted.data());
    for (const SlotInfo &slot : vcpu_.frontend_->description().slots) {
        const unsigned bytes = type_bytes(slot.type);
        if (slot.offset + bytes > interpreted.size() ||
            std::memcmp(state + slot.offset, interpreted.data() + slot.offset, bytes) == 0)
            continue;
        std::uint64_t a = 0, b = 0;
        std::memcpy(&a, interpreted.data() + slot.offset, std::min(bytes, 8u));
        std::memcpy(&b, state + slot.offset, std::min(bytes, 8u));
        text += fmt::format("  {}: interpreter {:#x}, generated code {:#x}\n", slot.name, a, b);
    }
    const std::uint32_t flags_a = compute_flags(*theirs), flags_b = compute_flags(*vcpu_.head_);
    if (flags_a != flags_b)
        text += fmt::format("  flags: interpreter {:#x}, generated code {:#x}\n", flags_a, flags_b);
    if (theirs->pc != vcpu_.head_->pc)
        text += fmt::format("  pc: interpreter {:#x}, generated code {:#x}\n", theirs->pc, vcpu_.head_->pc);
    if (theirs->exception_pending != vcpu_.head_->exception_pending)
        text += fmt::format("  exception: interpreter {}, generated code {}\n", theirs->exception_pending, vcpu_.head_->exception_pending);
    return text;
}

} // namespace rhea::accel
