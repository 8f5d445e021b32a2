#include "tests/diff/vendor.h"

#include <cpuid.h>

#include <algorithm>
#include <string_view>

namespace rhea::target::x86::diff {
namespace {

bool one_of(std::string_view name, std::initializer_list<std::string_view> list) {
    return std::find(list.begin(), list.end(), name) != list.end();
}

bool is_near_branch(const Insn &insn) {
    return one_of(insn.row().mnemonic, {"jcc", "jmp", "call", "ret", "loop", "loope", "loopne", "jcxz"});
}

bool is_gather(const Insn &insn) { return insn.row().operands[1].kind == OperandKind::kVsib; }

bool stores_mmx(const Insn &insn) { return (insn.row().flags & kRowMmx) != 0 && insn.operands[0].is_mem(); }

bool is_x87_memory(const Insn &insn) { return (insn.row().flags & kRowX87) != 0 && insn.mem_form(); }

} // namespace

bool host_is_intel() {
    static const bool intel = [] {
        unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
        return __get_cpuid(0, &eax, &ebx, &ecx, &edx) != 0 && ebx == signature_INTEL_ebx;
    }();
    return intel;
}

bool encoding_differs(const Insn &insn, CodeSize size) {
    if (!host_is_intel()) {
        return false;
    }
    const std::string_view name = insn.row().mnemonic;
    // SDM vol. 2, JMP and CALL: a 66 prefix does nothing to near branches of 64-bit code.
    if (size == CodeSize::k64 && insn.operand_size == 2 && is_near_branch(insn)) {
        return true;
    }
    // A repeat prefix chooses no other condition.
    if (insn.rep != RepKind::kNone && one_of(name, {"loope", "loopne"})) {
        return true;
    }
    // REX.W makes a far pointer one with a 64-bit offset.
    if (insn.rex_w() && one_of(name, {"lfs", "lgs", "lss"})) {
        return true;
    }
    // SDM vol. 2, PUSH: 32-bit pushes of segment registers may write two bytes only.
    if (name == "push" && insn.operands[0].kind == Operand::Kind::kSeg && insn.operand_size == 4) {
        return true;
    }
    // MOVSXD to 16 bits reads 16 bits, AMD's 32 (SDM vol. 2, MOVSXD; APM vol. 3).
    if (name == "movsxd" && insn.operand_size == 2 && insn.mem_form()) {
        return true;
    }
    // SDM vol. 2, SYSRET: invalid outside 64-bit mode, whatever the privilege.
    return name == "sysret" && size != CodeSize::k64;
}

bool shows_differences(const Insn &insn) {
    // CPUID.7:EBX[13]: the x87's last code and data selectors are always 0 there.
    return host_is_intel() && one_of(insn.row().mnemonic, {"fnsave", "fnstenv", "fxsave"});
}

bool faults_differ(const Insn &insn) {
    const std::string_view name = insn.row().mnemonic;
    return host_is_intel() && (is_gather(insn) || stores_mmx(insn) || is_x87_memory(insn) || name == "vcvtps2ph" ||
                               (name.starts_with("sha") && insn.mem_form()));
}

bool settle_fault(const Insn &insn, Snapshot &native, const Snapshot &translated) {
    if (!host_is_intel()) {
        return false;
    }
    const std::string_view name = insn.row().mnemonic;
    const bool both = native.ending == Ending::kMemory && translated.ending == Ending::kMemory;
    // Elements that were fetched before the fault are in the destination, and gone from the mask; which ones is the CPU's
    // choice (SDM vol. 2, VGATHERDPS).
    // TOP becomes 0, which turns the numbers of the registers, before an MMX store's fault is noticed.
    if (both && (is_gather(insn) || stores_mmx(insn))) {
        return true;
    }
    if (both && name == "vcvtps2ph") {
        native.fp.mxcsr = translated.fp.mxcsr; // exceptions are noted before the store
    }
    if (both && one_of(name, {"maskmovq", "maskmovdqu", "vmaskmovdqu"})) {
        native.fault_address = 0; // of the operand's halves, the one that faults comes first
    }
    // An exception that is unmasked comes before the fault of the store.
    if (translated.ending == Ending::kMemory &&
        ((native.ending == Ending::kDone && is_x87_memory(insn)) || (native.ending == Ending::kFloat && name == "vcvtps2ph"))) {
        return true;
    }
    // Memory operands of SHA instructions must be aligned (an AMD CPU takes any).
    return native.ending == Ending::kMemory && translated.ending == Ending::kDone && name.starts_with("sha") && insn.mem_form();
}

} // namespace rhea::target::x86::diff
