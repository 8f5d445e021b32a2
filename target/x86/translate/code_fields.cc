// Immediates and displacements that the guest stores to again and again: read from the code when it runs, so that such a store leaves
// the block alone (docs/translator.md, "Code that is patched"). Where a field is, the decoder need not note: it follows from the end of
// the instruction, and few instructions ask.
#include "target/x86/translate/translator.h"

#include <algorithm>

namespace rhea::target::x86 {
namespace {

using tcg::ir::CodeField;

/// Bytes at the end of the instruction that are immediates (SDM volume 2, 2.1.5).
unsigned immediate_bytes(const Insn &insn) {
    unsigned bytes = 0;
    for (unsigned n = 0; n < insn.operands.size(); n++) {
        const unsigned size = insn.operands[n].size;
        switch (insn.row().operands[n].kind) {
        case OperandKind::kImm:
        case OperandKind::kImmV: bytes += size; break;
        case OperandKind::kImmZ: bytes += size == 8 ? 4 : size; break;
        case OperandKind::kImmSigned8:
        case OperandKind::kVecImm: bytes += 1; break;
        default: break;
        }
    }
    return bytes;
}

/// Is the immediate one operand that the emitter reads by Translator::read and knows nothing else of?
bool is_plain_operand(const Insn &insn) {
    const unsigned opcode = insn.opcode;
    const bool arithmetic = opcode < 0x40 && (opcode & 6) == 4;
    const bool push_or_imul = opcode >= 0x68 && opcode <= 0x6b;
    const bool group1 = opcode >= 0x80 && opcode <= 0x83;
    const bool test = opcode == 0xa8 || opcode == 0xa9 || opcode == 0xf6 || opcode == 0xf7;
    const bool move = (opcode >= 0xb0 && opcode <= 0xbf) || opcode == 0xc6 || opcode == 0xc7;
    return insn.map == OpcodeMap::kOneByte && !insn.vex && (arithmetic || push_or_imul || group1 || test || move);
}

/// The displacement that a ModRM byte says of; 0: none. An address of its own (MOV moffs) is not meant.
unsigned displacement_bytes(const Insn &insn) {
    const bool pop = insn.map == OpcodeMap::kOneByte && insn.opcode == 0x8f; // counts from RSP behind it
    if (!insn.mem_form() || insn.vex || pop) {
        return 0;
    }
    const unsigned mod = insn.modrm >> 6, rm = insn.modrm & 7;
    if (insn.address_size == 2) {
        return mod == 0 ? (rm == 6 ? 2 : 0) : mod;
    }
    const bool alone = rm == 5 || (rm == 4 && insn.mem.base == kNoReg);
    return mod == 1 ? 1 : mod == 2 || alone ? 4 : 0;
}

bool within(const CodeField &store, unsigned from, unsigned length) {
    return store.page_offset >= from && store.page_offset + store.length <= from + length;
}

} // namespace

void Translator::find_fields(const tcg::FetchWindow &fetch) {
    displacement_ = immediate_ = {};
    running_page_ = fetch.running_page;
    constexpr std::int32_t kPageBytes = 4096;
    if (next > kPageBytes) {
        return; // what lies in the next page is not known of
    }
    const unsigned behind = immediate_bytes(insn), before = displacement_bytes(insn);
    const auto end = static_cast<unsigned>(next);
    for (const CodeField &store : fetch.patched) {
        if (before != 0 && within(store, end - behind - before, before)) {
            displacement_ = {static_cast<std::uint16_t>(end - behind - before), static_cast<std::uint8_t>(before)};
        }
        if (behind != 0 && within(store, end - behind, behind) && is_plain_operand(insn)) {
            immediate_ = {static_cast<std::uint16_t>(end - behind), static_cast<std::uint8_t>(behind)};
        }
    }
}

ValueId Translator::read_field(const CodeField &field, Type type) {
    std::vector<CodeField> &known = b.block().fields;
    if (std::find(known.begin(), known.end(), field) == known.end()) {
        known.push_back(field);
    }
    return b.emit(Op::code_field, type, {}, field.length, reinterpret_cast<std::uint64_t>(running_page_ + field.page_offset));
}

/// What effective_offset() computes, before it is cut to the address size.
ValueId Translator::offset_by_field(Type type) {
    const MemRef &m = insn.mem;
    const unsigned bytes = tcg::type_bytes(type);
    const ValueId displacement = read_field(displacement_, type);
    if (m.rip_relative) {
        return b.add(b.trunc(linear_of(next), type), displacement);
    }
    ValueId value = displacement;
    if (m.index != kNoReg) {
        value = b.add(b.shl_imm(reg(m.index, bytes), m.scale), value);
    }
    return m.base == kNoReg ? value : b.add(reg(m.base, bytes), value);
}

} // namespace rhea::target::x86
