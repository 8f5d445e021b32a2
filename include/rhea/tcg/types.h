// Vocabulary of the translator: types, slots, conditions, helper descriptions.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace rhea::tcg {

enum class Type : std::uint8_t { kNone, kI8, kI16, kI32, kI64, kFlags, kV128, kV256 };

constexpr unsigned type_bytes(Type type) {
    constexpr unsigned kBytes[] = {0, 1, 2, 4, 8, 4, 16, 32};
    return kBytes[static_cast<unsigned>(type)];
}
constexpr unsigned type_bits(Type type) { return type_bytes(type) * 8; }
constexpr Type int_type(unsigned bytes) {
    return bytes == 1 ? Type::kI8 : bytes == 2 ? Type::kI16 : bytes == 4 ? Type::kI32 : Type::kI64;
}

constexpr bool is_vector(Type type) { return type == Type::kV128 || type == Type::kV256; }

/// Index into GuestDescription::slots.
using Slot = std::uint16_t;

/// x86 condition encodings (the low nibble of Jcc); bit 0 inverts.
enum class Cond : std::uint8_t { kO, kNO, kB, kAE, kE, kNE, kBE, kA, kS, kNS, kP, kNP, kL, kGE, kLE, kG };

/// Bits of the flags word.
inline constexpr std::uint32_t kCF = 1u << 0, kPF = 1u << 2, kAF = 1u << 4, kZF = 1u << 6, kSF = 1u << 7, kOF = 1u << 11;
inline constexpr std::uint32_t kArithFlags = kCF | kPF | kAF | kZF | kSF | kOF;

/// Inst::aux of loads and stores.
enum MemFlags : std::uint16_t {
    kMemAlign16 = 1,   ///< #GP(0) when the address is not a multiple of 16 (v256: of 32)
    kMemWriteIntent = 2, ///< a load that is followed by a store to the same place: faults as a write
};

/// Inst::aux of exit_indirect: what return prediction would want to know (docs/translator.md, "Leaving a block").
enum class JumpKind : std::uint8_t { kJump, kCall, kReturn };

/// A named piece of guest state at a fixed offset from the start of the state structure.
struct SlotInfo {
    std::string_view name;
    std::uint32_t offset; ///< bytes from the start of the state structure
    Type type;
};

/// A C++ function that generated code may call: uint64_t fn(State *, uint64_t a, uint64_t b, uint64_t c).
/// `state` is the canonical mapping's address of the state structure.
struct HelperInfo {
    std::string_view name;
    void *function;
    std::uint16_t flags; ///< HelperFlags
    /// Null, or a function with the same arguments that is called first and returns a QuickResult. It is compiled without vector
    /// and x87 registers, so that a call of it saves none of them.
    void *quick = nullptr;
};

/// What a quick helper returns, in rax and rdx. `done` 0: it could not; what it did so far `function` may find done.
struct QuickResult {
    std::uint64_t value = 0, done = 0;
};

/// What a helper does to guest state. All pinned slots are in memory while it runs.
enum HelperFlags : std::uint16_t {
    kHelperWritesSlots = 1,  ///< writes slots other than v128 ones: pinned ones are read again afterwards (else they are known unchanged)
    kHelperReadsSlots = 2,   ///< needs integer slots in memory
    kHelperVector = 4,       ///< reads or writes v128 slots (else they are preserved across the call)
    kHelperFlagsIn = 8,      ///< needs the flags in the lazy triple
    kHelperFlagsOut = 16,    ///< leaves new flags in the lazy triple
    kHelperMayFault = 32,    ///< may set VcpuHead::exception_pending: the block then leaves, precise at this instruction
    kHelperPcIn = 64,        ///< needs VcpuHead::pc to be the linear address of this instruction
    kHelperMayChangePc = 128, ///< sets VcpuHead::pc; always followed by exit_state
};

/// How the x87_* ops reach a guest's x87. Generated code runs the guest's instructions on the host's x87: while *live is not 0
/// the host holds control, status, tags and registers; else the guest's own fields do. Helpers never see it live.
/// MemoryCallbacks may: they must call release() before anything that could use x87 or the fields (devices, logging).
struct X87Guest {
    std::uint32_t live = 0;  ///< offset in the state structure of a uint32_t
    std::uint32_t image = 0; ///< offset of an area of kX87ImageSize bytes: FNSAVE's, 32-bit protected mode format
    void (*fill_image)(void *state) = nullptr; ///< from the guest's fields, for FRSTOR
    void (*take_image)(void *state) = nullptr; ///< to the guest's fields, after FNSAVE
    void (*release)(void *state) = nullptr;    ///< when live: to the fields; the host's x87 is empty then
    /// One instruction with all exceptions masked, by fields (the interpreter). `opcode` as FOP has it, `operand` 10 bytes in and
    /// out, `flags` RFLAGS bits before and after.
    std::uint32_t (*run)(void *state, unsigned opcode, void *operand, std::uint32_t flags) = nullptr;
    std::uint16_t (*status)(const void *state) = nullptr;  ///< FSW with TOP
    std::uint16_t (*control)(const void *state) = nullptr; ///< FCW
    void (*set_control)(void *state, std::uint16_t value) = nullptr;
};
inline constexpr std::uint32_t kX87ImageSize = 108;

/// Bytes of the memory operand of an x87 instruction (SDM volume 2, tables ); `opcode` as FOP has it.
constexpr unsigned x87_operand_bytes(unsigned opcode) {
    const unsigned escape = (opcode >> 8) & 7, digit = (opcode >> 3) & 7;
    if (escape == 3 || escape == 7) { // DB: m32, m80; DF: m16, m80 (digits 4, 6), m64 (5, 7)
        const bool large = digit >= 4;
        return !large ? (escape == 3 ? 4 : 2) : escape == 7 && (digit & 1) != 0 ? 8 : 10;
    }
    constexpr unsigned kBytes[] = {4, 4, 4, 0, 8, 8, 2, 0};
    return kBytes[escape];
}

/// Everything the back ends know of a guest architecture.
struct GuestDescription {
    std::string_view name;
    std::span<const SlotInfo> slots;
    std::span<const Slot> pin_integer; ///< i64 slots worth a host register, best first (in the host's register order)
    std::span<const Slot> pin_vector;  ///< v128 slots likewise
    std::span<const HelperInfo> helpers;
    /// Prepares guest exception `vector` (head.exception_pending and the frontend's own fields): what `trap` and a
    /// failing divu/divs call. error_code ~0: none. `state` is the canonical address. The block then leaves with kException.
    void (*raise)(void *state, unsigned vector, std::uint64_t error_code) = nullptr;
    const X87Guest *x87 = nullptr; ///< null: its blocks have no x87_* ops
};

} // namespace rhea::tcg
