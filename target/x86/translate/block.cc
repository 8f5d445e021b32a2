// From guest bytes to a block: decode, check, emit, until the page ends or an instruction leaves.
#include "target/x86/translate/translator.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace rhea::target::x86 {
namespace {

constexpr std::int32_t kPageBytes = 4096;
/// Of a loop so many instructions, and turns, may follow one another.
constexpr unsigned kUnrolledInsns = 64, kUnrolledTurns = 8;

class BlockTranslator {
public:
    BlockTranslator(tcg::ir::Block &block, const tcg::FetchWindow &fetch, const TranslateContext &context)
        : block_(block), fetch_(fetch), t_(block, context), decode_mode_(t_.decode_mode()) {}

    tcg::TranslateStatus run(unsigned max_insns) {
        const std::int32_t start = fetch_.page_offset;
        t_.offset = start;
        for (unsigned count = 0;; count++) {
            if (fetch_.hot) {
                t_.may_unroll(std::clamp(kUnrolledInsns / (count + 1), 1u, kUnrolledTurns));
            }
            const DecodeStatus status = fetch_insn(count == 0);
            if (status == DecodeStatus::kMoreBytes) {
                if (count == 0) {
                    return tcg::TranslateStatus::kNeedNextPage;
                }
                t_.leave_direct(t_.offset);
                break;
            }
            translate_insn(status);
            block_.byte_length = std::max(block_.byte_length, static_cast<std::uint16_t>(t_.next - start));
            block_.crosses_page = t_.next > kPageBytes;
            if (t_.ended()) {
                break;
            }
            const std::int32_t head = t_.take_head();
            const std::int32_t next = head < 0 ? t_.next : head;
            // Where a branch over some instructions leads will be a block of its own: here the rest would be translated a second time.
            const bool elsewhere = fetch_.short_lived && !fetch_.hot && next == t_.nearest_target(next);
            if (next >= kPageBytes || ((count + 1 >= max_insns || elsewhere) && !t_.wants_next())) {
                t_.leave_direct(next);
                break;
            }
            t_.offset = next;
        }
        return tcg::TranslateStatus::kOk;
    }

private:
    /// Only a block's first instruction may reach into the next page.
    DecodeStatus fetch_insn(bool first) {
        const std::int32_t in_page = kPageBytes - t_.offset;
        if (in_page >= static_cast<std::int32_t>(kMaxInsnLength) || !first || fetch_.next_page == nullptr) {
            return decode(fetch_.page + t_.offset, static_cast<std::size_t>(in_page), decode_mode_, t_.insn);
        }
        std::array<std::uint8_t, kMaxInsnLength> bytes;
        std::memcpy(bytes.data(), fetch_.page + t_.offset, static_cast<std::size_t>(in_page));
        std::memcpy(bytes.data() + in_page, fetch_.next_page, kMaxInsnLength - static_cast<std::size_t>(in_page));
        return decode(bytes.data(), bytes.size(), decode_mode_, t_.insn);
    }

    void translate_insn(DecodeStatus status) {
        t_.next = t_.offset + std::max<std::int32_t>(t_.insn.length, 1);
        t_.b.insn_start(static_cast<std::uint16_t>(t_.offset), static_cast<std::uint8_t>(t_.next - t_.offset));
        t_.begin_insn();
        if (status == DecodeStatus::kTooLong) {
            t_.general_protection();
        } else if (status == DecodeStatus::kInvalid) {
            t_.undefined();
        } else if (allowed()) {
            if (!fetch_.patched.empty()) [[unlikely]] {
                t_.find_fields(fetch_);
            }
            peek_next();
            check_x87();
            emitter_of(t_.insn.row_id)(t_);
            t_.end_insn();
        }
    }

    /// What does not depend on operands: LOCK, mode and privilege.
    bool allowed() {
        const Row &row = t_.insn.row();
        constexpr std::uint16_t kConditions = kRowProt | kRowPriv | kRowX87 | kRowMmx | kRowSse | kRowFpuSave | kRowXsave | kRowAvx;
        if (!t_.insn.lock && (row.flags & kConditions) == 0) {
            return true;
        }
        if (t_.insn.lock && !((row.flags & kRowLock) != 0 && t_.op(0).is_mem())) {
            t_.undefined();
            return false;
        }
        if ((row.flags & kRowProt) != 0 && !t_.protected_mode()) {
            t_.undefined();
            return false;
        }
        if ((row.flags & kRowPriv) != 0 && (t_.cpl3() || t_.vm86())) {
            t_.general_protection();
            return false;
        }
        return floating_point_allowed(row.flags);
    }

    /// CR0.EM, CR0.TS, CR4.OSFXSR, CR4.OSXSAVE, XCR0 (SDM volume 3, 2.5, 2.6 and 13.1); the mode word's kModeFpuTrap is EM or TS.
    bool floating_point_allowed(std::uint16_t flags) {
        if ((flags & kRowSse) != 0 && (t_.mode & kModeSimdOff) != 0) {
            t_.undefined();
            return false;
        }
        if (((flags & kRowXsave) != 0 && (t_.mode & kModeXsave) == 0) ||
            ((flags & kRowAvx) != 0 && (t_.mode & kModeAvx) == 0)) {
            t_.undefined();
            return false;
        }
        constexpr std::uint16_t kFloating = kRowX87 | kRowMmx | kRowSse | kRowFpuSave;
        if (((flags & kFloating) != 0 && (t_.mode & kModeFpuTrap) != 0) ||
            ((flags & (kRowXsave | kRowAvx)) != 0 && (t_.mode & kModeTaskSwitched) != 0)) {
            t_.trap(7);
            return false;
        }
        return true;
    }

    /// MMX instructions report pending x87 exceptions before anything else, and find their registers in memory.
    void check_x87() {
        if (t_.x87_checked && (t_.insn.row().flags & (kRowX87 | kRowFpuSave)) == 0) {
            return;
        }
        bool mmx = (t_.insn.row().flags & kRowMmx) != 0;
        if (uses_mmx(t_.insn.row_id)) {
            for (const Operand &operand : t_.insn.operands) {
                mmx = mmx || operand.kind == Operand::Kind::kMmx;
            }
        }
        if ((t_.insn.row().flags & (kRowX87 | kRowFpuSave)) != 0) {
            t_.x87_checked = false;
            t_.x87_used = true;
        } else if (mmx && !t_.x87_checked) {
            if (!t_.x87_masked()) {
                t_.call(HelperId::fwait, Type::kNone);
            } else if (t_.x87_used) {
                t_.call(HelperId::x87_sync, Type::kNone); // what is known of slots is out of date
            } else {
                t_.b.emit(Op::x87_sync, Type::kNone);
            }
            t_.x87_checked = true;
        }
    }

    /// STI and MOV SS keep the next instruction in their block where it is known to be whole.
    void peek_next() {
        t_.next_is_whole = false;
        const RowId row = t_.insn.row_id;
        const std::uint8_t opcode = kRows[row].opcode;
        if (opcode != 0xfb && opcode != 0x8e && opcode != 0x17) {
            return;
        }
        Insn next;
        t_.next_is_whole =
            t_.next < kPageBytes && decode(fetch_.page + t_.next, static_cast<std::size_t>(kPageBytes - t_.next),
                                           decode_mode_, next) != DecodeStatus::kMoreBytes;
    }

    tcg::ir::Block &block_;
    const tcg::FetchWindow &fetch_;
    Translator t_;
    const DecodeMode decode_mode_;
};

} // namespace

tcg::TranslateStatus translate_block(tcg::ir::Block &block, const tcg::FetchWindow &fetch, unsigned max_insns,
                                     const TranslateContext &context) {
    return BlockTranslator(block, fetch, context).run(max_insns);
}

} // namespace rhea::target::x86
