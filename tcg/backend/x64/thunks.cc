#include "tcg/backend/x64/thunks.h"

#include "tcg/backend/x64/assembler.h"
#include "tcg/backend/x64/known_access.h"
#include "tcg/backend/x64/runtime.h"
#include "tcg/backend/x64/thunk_carry.h"

#include <algorithm>

namespace rhea::tcg::x64 {
namespace {

constexpr std::array<Gpr, 6> kCalleeSaved = {Gpr::rbx, Gpr::rbp, Gpr::r12, Gpr::r13, Gpr::r14, Gpr::r15};
constexpr std::uint32_t kMxcsrSticky = 0x3f, kMxcsrMasks = 0x1f80;

class ThunkEmitter {
public:
    ThunkEmitter(CodeBuffer buffer, const RuntimeContext &context, Thunks &out)
        : a_(buffer), context_(context), layout_(*context.layout), out_(out) {}

    std::size_t run() {
        emit_x87_subroutine();
        emit_leave();
        emit_enter();
        emit_xmm_subroutines();
        emit_find_block();
        emit_exits();
        emit_exit_state();
        emit_stale_entry();
        emit_memory();
        emit_simple_calls();
        emit_x87();
        emit_evaluate_flags();
        for (const HelperInfo &helper : context_.guest->helpers)
            out_.helpers.push_back(emit_helper(helper));
        a_.align_int3(16);
        return a_.ok() ? a_.offset() : 0;
    }

private:
    static constexpr std::int32_t head(std::size_t offset) { return Layout::head(offset); }
    static Mem head_mem(std::size_t offset) { return state_mem(head(offset)); }
    Mem cold_mem(std::size_t offset) const { return state_mem(layout_.cold(offset)); }
    Mem spill_mem(unsigned n) const { return state_mem(layout_.spill(n)); }

    const std::uint8_t *start() {
        a_.align_int3(16);
        return a_.exec_here();
    }
    void call_cpp(const void *function) {
        a_.mov_imm(Gpr::rax, reinterpret_cast<std::uint64_t>(function));
        a_.call(Gpr::rax);
    }
    template <class F>
    void call_cpp(F *function) {
        call_cpp(reinterpret_cast<const void *>(function));
    }

    void store_pinned(bool but_rax = false) {
        for (const Gpr r : kPinnedGprs) {
            if (layout_.gpr_slot[code(r)] != kNoSlot && !(but_rax && r == Gpr::rax))
                a_.mov(8, pinned_mem(r), r);
        }
    }
    void load_pinned() {
        for (const Gpr r : kPinnedGprs) {
            if (layout_.gpr_slot[code(r)] != kNoSlot)
                a_.mov(8, r, pinned_mem(r));
        }
    }
    Mem pinned_mem(Gpr r) const { return state_mem(layout_.slots[layout_.gpr_slot[code(r)]].disp); }
    void store_scratch() {
        for (const Gpr r : kScratchGprs)
            a_.mov(8, state_mem(layout_.host_reg(r)), r);
    }
    void load_scratch() { // r14 and r15 survive calls
        a_.mov(8, Gpr::r10, state_mem(layout_.host_reg(Gpr::r10)));
        a_.mov(8, Gpr::r11, state_mem(layout_.host_reg(Gpr::r11)));
    }
    void store_xmms() {
        for (unsigned i = 0; i < kPinnedXmms; ++i) {
            if (layout_.xmm_slot[i] != kNoSlot)
                a_.vmovdqu(state_mem(layout_.slots[layout_.xmm_slot[i]].disp), xmm(i));
        }
    }
    void load_xmms() {
        for (unsigned i = 0; i < kPinnedXmms; ++i) {
            if (layout_.xmm_slot[i] != kNoSlot)
                a_.vmovdqu(xmm(i), state_mem(layout_.slots[layout_.xmm_slot[i]].disp));
        }
    }
    void store_scratch_xmms() {
        for (unsigned i = kFirstScratchXmm; i < kXmmCount; ++i)
            a_.vmovups_ymm(state_mem(layout_.vector_spill(i)), xmm(i));
    }
    void load_scratch_xmms() {
        for (unsigned i = kFirstScratchXmm; i < kXmmCount; ++i)
            a_.vmovups_ymm(xmm(i), state_mem(layout_.vector_spill(i)));
    }

    // Slow paths keep all registers of the block, 256 bits of vectors. C++ runs with the upper halves zero, since it may be
    // compiled to SSE, which is slow else on some CPUs. Pinned vectors go to their slots only when the access faults.

    /// Everything the block may hold; stack aligned for a call. Balanced by end_call. The host's x87 stays as it is: see X87Guest.
    void begin_call() {
        a_.sub(8, Gpr::rsp, 8);
        store_pinned();
        store_scratch();
        a_.call(save_vectors_);
    }
    /// The host's x87 is empty in helpers and outside generated code. Everything but r10 and r11 must be stored; those stay.
    void empty_x87() {
        if (context_.guest->x87 == nullptr)
            return;
        Label empty;
        a_.cmp(4, state_mem(layout_.x87_live), 0);
        a_.jcc(Cond::kE, empty);
        a_.call(save_x87_);
        a_.bind(empty);
    }
    void emit_x87_subroutine() {
        if (context_.guest->x87 == nullptr)
            return;
        start();
        a_.bind(save_x87_);
        a_.fnsave(state_mem(layout_.x87_image));
        a_.mov(4, state_mem(layout_.x87_live), 0);
        a_.push(Gpr::r10);
        a_.push(Gpr::r11);
        a_.sub(8, Gpr::rsp, 8);
        a_.mov(8, Gpr::rdi, head_mem(offsetof(VcpuHead, canonical_state)));
        call_cpp(context_.guest->x87->take_image);
        a_.add(8, Gpr::rsp, 8);
        a_.pop(Gpr::r11);
        a_.pop(Gpr::r10);
        a_.ret();
    }
    void emit_x87() {
        if (context_.guest->x87 == nullptr)
            return;
        out_.x87_read = emit_call(runtime::x87_read, true);
        out_.x87_write = emit_call(runtime::x87_write, true);
        out_.x87_save = start();
        begin_call();
        a_.call(save_x87_);
        end_call();
        out_.x87_load = start();
        begin_call();
        a_.mov(8, Gpr::rdi, head_mem(offsetof(VcpuHead, canonical_state)));
        call_cpp(context_.guest->x87->fill_image);
        a_.frstor(state_mem(layout_.x87_image));
        a_.mov(4, state_mem(layout_.x87_live), 1);
        end_call();
    }
    void end_call() {
        a_.call(restore_vectors_);
        load_scratch();
        load_pinned();
        a_.add(8, Gpr::rsp, 8);
        a_.ret();
    }
    /// The block's return address to slow_site.
    void note_slow_site() {
        a_.mov(8, Gpr::rax, ptr(Gpr::rsp, 8));
        a_.mov(8, cold_mem(offsetof(VcpuCold, slow_site)), Gpr::rax);
    }
    void leave_when_faulted(bool slow_path) {
        a_.cmp(4, head_mem(offsetof(VcpuHead, exception_pending)), 0);
        a_.jcc(Cond::kNE, slow_path ? exit_fault_ : exit_exception_);
    }

    /// Sticky flags into guest_mxcsr: modes and masks of the hardware's are ours, the guest's own stay.
    void save_guest_mxcsr() {
        a_.vstmxcsr(spill_mem(kArgSpill));
        a_.mov(4, Gpr::rax, spill_mem(kArgSpill));
        a_.and_(4, Gpr::rax, static_cast<std::int32_t>(kMxcsrSticky));
        a_.or_(4, head_mem(offsetof(VcpuHead, guest_mxcsr)), Gpr::rax);
    }
    void load_guest_mxcsr() {
        a_.mov(4, Gpr::r11, head_mem(offsetof(VcpuHead, guest_mxcsr)));
        a_.or_(4, Gpr::r11, static_cast<std::int32_t>(kMxcsrMasks));
        a_.mov(4, spill_mem(kArgSpill), Gpr::r11);
        a_.vldmxcsr(spill_mem(kArgSpill));
    }

    void emit_leave() {
        // Reached with the exit code in r10d and everything stored.
        start();
        a_.bind(leave_);
        a_.vzeroupper();
        save_guest_mxcsr();
        a_.vldmxcsr(cold_mem(offsetof(VcpuCold, host_mxcsr)));
        a_.mov(8, Gpr::rsp, head_mem(offsetof(VcpuHead, host_sp)));
        empty_x87();
        a_.mov(4, Gpr::rax, Gpr::r10);
        a_.add(8, Gpr::rsp, 8);
        for (auto r = kCalleeSaved.rbegin(); r != kCalleeSaved.rend(); ++r)
            a_.pop(*r);
        a_.ret();
        start();
        a_.bind(exit_fault_); // of a slow path: the vectors that it kept are the guest's
        for (unsigned i = 0; i < kPinnedXmms; ++i) {
            if (layout_.xmm_slot[i] == kNoSlot)
                continue;
            a_.vmovdqu(Xmm::xmm0, state_mem(layout_.vector_save(i)));
            a_.vmovdqu(state_mem(layout_.slots[layout_.xmm_slot[i]].disp), Xmm::xmm0);
        }
        a_.bind(exit_exception_);
        Label undelivered;
        if (context_.memory.deliver != nullptr) {
            a_.vzeroupper();
            a_.mov(8, Gpr::rsp, head_mem(offsetof(VcpuHead, host_sp)));
            a_.mov(8, Gpr::rdi, head_mem(offsetof(VcpuHead, canonical_state)));
            call_cpp(context_.memory.deliver);
            a_.test(1, Gpr::rax, 1);
            a_.jcc(Cond::kE, undelivered);
            load_xmms();
            load_pinned();
            a_.jmp(exit_state_);
        }
        a_.bind(undelivered);
        a_.mov_imm(Gpr::r10, static_cast<std::uint64_t>(CodeExit::kException));
        a_.jmp(leave_);
    }

    void emit_enter() {
        out_.enter = reinterpret_cast<EnterFunction>(reinterpret_cast<std::uintptr_t>(start()));
        for (const Gpr r : kCalleeSaved)
            a_.push(r);
        a_.sub(8, Gpr::rsp, 8);
        a_.mov(8, kStateReg, Gpr::rdx);
        a_.mov(8, head_mem(offsetof(VcpuHead, host_sp)), Gpr::rsp);
        a_.mov(8, Gpr::r10, Gpr::rsi);
        a_.vstmxcsr(cold_mem(offsetof(VcpuCold, host_mxcsr)));
        load_guest_mxcsr();
        load_xmms();
        load_pinned();
        a_.jmp(Gpr::r10);
    }

    void emit_xmm_subroutines() {
        start();
        a_.bind(save_xmms_);
        store_xmms();
        store_scratch_xmms();
        a_.vzeroupper();
        a_.ret();
        start();
        a_.bind(restore_xmms_);
        load_xmms();
        load_scratch_xmms();
        a_.ret();
        start();
        a_.bind(save_vectors_);
        for (unsigned i = 0; i < kPinnedXmms; ++i)
            a_.vmovups_ymm(state_mem(layout_.vector_save(i)), xmm(i));
        store_scratch_xmms();
        a_.vzeroupper();
        a_.ret();
        start();
        a_.bind(restore_vectors_);
        for (unsigned i = 0; i < kPinnedXmms; ++i)
            a_.vmovups_ymm(xmm(i), state_mem(layout_.vector_save(i)));
        load_scratch_xmms();
        a_.ret();
    }

    const std::uint8_t *emit_exit(CodeExit code) {
        const std::uint8_t *at = start();
        store_pinned();
        store_xmms();
        a_.mov_imm(Gpr::r10, static_cast<std::uint64_t>(code));
        a_.jmp(leave_);
        return at;
    }

    void emit_exits() {
        out_.exit_next = emit_exit(CodeExit::kNext);
        const std::uint8_t *exit_chained = emit_exit(CodeExit::kChain);
        const std::uint8_t *exit_hot = emit_exit(CodeExit::kHot);

        out_.exit_next_at = start();
        a_.pop(Gpr::r10);
        a_.movsx(8, 4, Gpr::r10, ptr(Gpr::r10));
        a_.add(8, Gpr::r10, head_mem(offsetof(VcpuHead, pc_page)));
        out_.exit_next_r10 = a_.exec_here();
        a_.mov(8, head_mem(offsetof(VcpuHead, pc)), Gpr::r10);
        emit_dispatch(out_.exit_next);

        out_.exit_hot = start();
        a_.pop(Gpr::r10);
        a_.movsx(8, 4, Gpr::r10, ptr(Gpr::r10));
        a_.add(8, Gpr::r10, head_mem(offsetof(VcpuHead, pc_page)));
        a_.mov(8, head_mem(offsetof(VcpuHead, pc)), Gpr::r10);
        a_.jmp(exit_hot);

        out_.exit_chain = start();
        a_.pop(Gpr::r14);
        a_.movsx(8, 4, Gpr::r10, ptr(Gpr::r14, 8));
        a_.add(8, Gpr::r10, head_mem(offsetof(VcpuHead, pc_page)));
        a_.mov(8, head_mem(offsetof(VcpuHead, pc)), Gpr::r10);
        a_.mov(8, Gpr::r14, ptr(Gpr::r14));
        Label chained;
        a_.cmp(1, ptr(Gpr::r14, offsetof(ExitSlot, through_cache)), 0);
        a_.jcc(Cond::kE, chained);
        emit_find(); // as if it were chained: without a look at requests
        a_.bind(chained);
        a_.mov(8, cold_mem(offsetof(VcpuCold, exit_site)), Gpr::r14);
        a_.jmp(exit_chained);
    }

    /// r10 = head.pc: to its block when nobody asks for anything, else to `leave`.
    void emit_dispatch(const std::uint8_t *leave) {
        a_.mov(4, Gpr::r11, head_mem(offsetof(VcpuHead, exit_request)));
        a_.or_(4, Gpr::r11, cold_mem(offsetof(VcpuCold, requests)));
        a_.jcc(Cond::kNE, leave);
        emit_find();
    }

    /// r10 = head.pc: to its block.
    void emit_find() {
        jump_cache_line();
        a_.cmp(8, ptr(kStateReg, Gpr::r11, 8, Layout::window(kJumpOffset)), Gpr::r10);
        a_.jcc(Cond::kNE, out_.find_block);
        jump_by_line();
    }

    /// A helper has set pc, and mode and window where they changed.
    void emit_exit_state() {
        const std::uint8_t *leave = emit_exit(CodeExit::kState);
        out_.exit_state = start();
        a_.bind(exit_state_);
        a_.cmp(4, head_mem(offsetof(VcpuHead, exception_pending)), 0);
        a_.jcc(Cond::kNE, leave);
        a_.mov(8, kStateReg, cold_mem(offsetof(VcpuCold, window)));
        a_.add(8, kStateReg, static_cast<std::int32_t>(kStateRegOffset));
        a_.mov(8, Gpr::r10, head_mem(offsetof(VcpuHead, pc)));
        emit_dispatch(leave);
    }

    void emit_find_block() {
        // Jumped to, not called: the stack is aligned. No temporaries live at an exit.
        Label other_line;
        out_.find_block = start();
        jump_cache_line();
        static_assert(kJumpWays == 4);
        for (const int beside : {2, 6, 2}) { // twice 1, 1 ^ 2, 2 ^ 3: the three lines beside it
            a_.xor_(4, Gpr::r11, beside);
            a_.cmp(8, ptr(kStateReg, Gpr::r11, 8, Layout::window(kJumpOffset)), Gpr::r10);
            a_.jcc(Cond::kE, other_line);
        }
        a_.bind(find_block_);
        store_pinned();
        store_xmms();
        a_.vzeroupper();
        a_.mov(8, Gpr::r14, Gpr::r10);
        a_.inc(8, cold_mem(offsetof(VcpuCold, stat_jump_misses)));
        a_.mov(8, Gpr::rdi, head_mem(offsetof(VcpuHead, canonical_state)));
        a_.mov(8, Gpr::rsi, Gpr::r10);
        call_cpp(context_.memory.find_block);
        a_.mov(8, Gpr::r10, Gpr::rax);
        a_.and_(8, Gpr::r14, -4096);
        a_.mov(8, head_mem(offsetof(VcpuHead, pc_page)), Gpr::r14);
        load_xmms();
        load_pinned();
        a_.jmp(Gpr::r10);
        a_.bind(other_line);
        jump_by_line();
    }
    /// r11 = twice the index of r10's line.
    void jump_cache_line() {
        a_.rorx(4, Gpr::r11, Gpr::r10, kJumpCacheBits);
        a_.xor_(4, Gpr::r11, Gpr::r10);
        a_.and_(4, Gpr::r11, kJumpIndexMask);
    }
    void jump_by_line() {
        a_.and_(8, Gpr::r10, -4096);
        a_.mov(8, head_mem(offsetof(VcpuHead, pc_page)), Gpr::r10);
        a_.jmp(ptr(kStateReg, Gpr::r11, 8, Layout::window(kJumpOffset) + 8));
    }

    /// Entered from a retired block's first bytes, on behalf of a jump cache: pc_page is right.
    void emit_stale_entry() {
        out_.stale_entry = start();
        a_.pop(Gpr::r10);
        a_.movsx(8, 4, Gpr::r10, ptr(Gpr::r10));
        a_.add(8, Gpr::r10, head_mem(offsetof(VcpuHead, pc_page)));
        a_.jmp(find_block_); // not by the other line: it may be what led here
    }

    template <class F>
    void emit_access(F *callback, bool store, std::size_t counter, std::array<std::array<const std::uint8_t *, 4>, 6> &entries) {
        start();
        Label common;
        a_.bind(common);
        begin_call();
        note_slow_site();
        a_.inc(8, cold_mem(counter));
        a_.mov(8, Gpr::rdi, head_mem(offsetof(VcpuHead, canonical_state)));
        a_.mov(8, Gpr::rsi, spill_mem(kArgSpill));
        a_.movzx(1, Gpr::rdx, spill_mem(kArgSpill + 1));
        a_.movzx(1, Gpr::rcx, spill_mem(kArgSpill + 1).plus(1));
        a_.lea(8, Gpr::r8,
               ptr(Gpr::rdi, static_cast<std::int32_t>(layout_.cold_offset + offsetof(VcpuCold, spill) + kDataSpill * 8)));
        call_cpp(callback);
        leave_when_faulted(true);
        end_call();
        for (unsigned log2 = 0; log2 < 6; ++log2) {
            for (unsigned flags = 0; flags < 4; ++flags) {
                entries[log2][flags] = start();
                KnownAccess(a_, layout_, 1u << log2, store, flags).emit();
                a_.mov(4, spill_mem(kArgSpill + 1), static_cast<std::int32_t>((1u << log2) | flags << 8));
                a_.jmp(common);
            }
        }
    }

    void emit_memory() {
        emit_access(context_.memory.load, false, offsetof(VcpuCold, stat_slow_loads), out_.load);
        emit_access(context_.memory.store, true, offsetof(VcpuCold, stat_slow_stores), out_.store);
    }

    /// fn(context, state), then the fault check when it may.
    const std::uint8_t *emit_call(void (*function)(const RuntimeContext *, VcpuHead *), bool may_fault) {
        const std::uint8_t *at = start();
        begin_call();
        if (may_fault)
            note_slow_site();
        a_.mov_imm(Gpr::rdi, reinterpret_cast<std::uint64_t>(&context_));
        a_.mov(8, Gpr::rsi, head_mem(offsetof(VcpuHead, canonical_state)));
        call_cpp(function);
        if (may_fault)
            leave_when_faulted(true);
        end_call();
        return at;
    }

    void emit_simple_calls() {
        out_.flags_to_raw = emit_call(runtime::flags_to_raw, false);
        const std::uint8_t *const any_carry = emit_call(runtime::carry_to_src2, false);
        start();
        out_.carry_to_src2 = emit_carry_to_src2(a_, any_carry);
        out_.divide = emit_call(runtime::divide, true);
        out_.atomic = emit_call(runtime::atomic, true);
        out_.probe_write = emit_call(runtime::probe_write, true);
        out_.lanes = emit_call(runtime::lanes, true);
        out_.raise = start();
        a_.sub(8, Gpr::rsp, 8);
        store_pinned();
        store_scratch();
        store_xmms();
        empty_x87();
        note_slow_site();
        a_.mov_imm(Gpr::rdi, reinterpret_cast<std::uint64_t>(&context_));
        a_.mov(8, Gpr::rsi, head_mem(offsetof(VcpuHead, canonical_state)));
        call_cpp(runtime::raise);
        a_.jmp(exit_exception_);
    }

    void emit_evaluate_flags() {
        out_.evaluate_flags = start();
        begin_call();
        a_.mov_imm(Gpr::rdi, reinterpret_cast<std::uint64_t>(&context_));
        a_.mov(8, Gpr::rsi, head_mem(offsetof(VcpuHead, canonical_state)));
        a_.mov(8, Gpr::rdx, ptr(Gpr::rsp, 8));
        call_cpp(runtime::evaluate_flags);
        a_.mov(8, ptr(Gpr::rsp, 8), Gpr::rax);
        end_call();
    }

    /// From r10, r11 and the third's spill slot.
    void put_helper_arguments() {
        a_.mov(8, Gpr::rdx, Gpr::r11);
        a_.mov(8, Gpr::rcx, spill_mem(kDataSpill + 2));
        a_.mov(8, Gpr::rsi, Gpr::r10);
        a_.mov(8, Gpr::rdi, head_mem(offsetof(VcpuHead, canonical_state)));
    }

    const std::uint8_t *emit_helper(const HelperInfo &helper) {
        const bool may_fault = (helper.flags & kHelperMayFault) != 0;
        const bool vector = (helper.flags & kHelperVector) != 0;
        const std::uint8_t *at = start();
        a_.sub(8, Gpr::rsp, 8);
        store_pinned();
        const auto index = std::min<std::size_t>(out_.helpers.size(), VcpuCold::kMaxHelpers - 1);
        a_.inc(8, cold_mem(offsetof(VcpuCold, stat_helper_calls) + index * 8));
        if (may_fault || helper.quick != nullptr) // operands of flags that a fault needs may lie in scratch registers
            store_scratch();
        if (may_fault)
            note_slow_site();
        Label slow;
        if (helper.quick != nullptr) {
            put_helper_arguments();
            call_cpp(helper.quick);
            a_.test(4, Gpr::rdx, Gpr::rdx);
            a_.jcc(Cond::kE, slow);
            a_.mov(8, Gpr::r10, Gpr::rax);
            load_pinned();
            a_.add(8, Gpr::rsp, 8);
            a_.ret();
            a_.bind(slow);
            load_scratch();
        }
        a_.call(save_xmms_);
        empty_x87();
        if (vector) {
            save_guest_mxcsr();
            a_.vldmxcsr(cold_mem(offsetof(VcpuCold, host_mxcsr)));
        }
        put_helper_arguments();
        call_cpp(helper.function);
        if (vector)
            load_guest_mxcsr();
        if (may_fault)
            leave_when_faulted(false);
        a_.mov(8, Gpr::r10, Gpr::rax);
        a_.call(restore_xmms_);
        load_pinned();
        a_.add(8, Gpr::rsp, 8);
        a_.ret();
        return at;
    }

    Assembler a_;
    const RuntimeContext &context_;
    const Layout &layout_;
    Thunks &out_;
    Label leave_, exit_state_, exit_exception_, exit_fault_, save_xmms_, restore_xmms_, save_vectors_, restore_vectors_, save_x87_, find_block_;
};

} // namespace

std::size_t emit_thunks(CodeBuffer buffer, const RuntimeContext &context, Thunks &out) {
    out = {};
    return ThunkEmitter(buffer, context, out).run();
}

} // namespace rhea::tcg::x64
