// Side tables: what restores pc and flags where generated code can be interrupted, and the flags descriptors in them.
//
// A block's table is, little-endian:
//   u32 number of exits; for each the exit's first jump (emit_exits.cc): i32 offset of its rel32 from the entry (-1: none),
//   i32 offset of what it goes to when the flags have to be stored;
//   then records: u32 return address as offset from the entry, u16 page offset of the guest instruction,
//   u16 length of what follows: where the page offset has bit 15, the pinned vector registers whose upper halves are newer than
//   their slots, as a u16; the descriptor.
// A descriptor is a byte (DescKind | log2(operand size) << 6), then its operands: locations and nested descriptors.
// The same descriptors follow `call evaluate_flags` in generated code.
//
// evaluate() runs in the vCPU's thread on a stored state; the writer in the translating thread.
#pragma once
#include "rhea/tcg/backend.h"
#include "tcg/backend/x64/layout.h"

#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

namespace rhea::tcg::x64 {

enum class DescKind : std::uint8_t {
    kState,   ///< as the lazy triple in the state has it
    kRaw,     ///< (loc) RFLAGS bits
    kCarry,   ///< (loc) only the carry matters: bit 0
    kAdd, kSub, kCmp,  ///< (loc, loc)
    kLogic,   ///< (loc)
    kTest,    ///< (loc, loc): logical, of a & b
    kAdc, kSbb, ///< (loc r, loc b, descriptor whose carry counts)
    kInc, kDec, ///< (loc r, descriptor whose carry counts)
    kShl, kShr, kSar, kRol, kRor, kRcl, kRcr, ///< (loc a, loc n, older descriptor)
    kBit, kZf, kOf, ///< (loc b, older descriptor)
    kMulO,    ///< (loc r, loc b)
};

/// A place that a descriptor names, also as generated code stores it away.
struct Loc {
    enum class Kind : std::uint8_t { kNone, kGpr, kMem, kImm };
    Kind kind = Kind::kNone;
    Gpr gpr = Gpr::rax;
    std::int32_t disp = 0; ///< kMem: from the state register
    std::uint64_t imm = 0;
    static Loc of(Gpr r) { return {Kind::kGpr, r, 0, 0}; }
    static Loc mem(std::int32_t disp) { return {Kind::kMem, Gpr::rax, disp, 0}; }
    static Loc constant(std::uint64_t value) { return {Kind::kImm, Gpr::rax, 0, value}; }
};

/// Bytes that grow: whole values are stored at once. Kept for its capacity.
class ByteBuffer {
public:
    const std::uint8_t *data() const { return bytes_.data(); }
    std::size_t size() const { return size_; }
    void clear() { size_ = 0; }
    void truncate(std::size_t size) { size_ = size; }
    template <class T>
    void put(T value) {
        std::memcpy(grow_by(sizeof value), &value, sizeof value);
    }
    void put(const std::uint8_t *from, std::size_t count) {
        std::uint8_t *to = grow_by(count);
        if (count == 1) // most descriptors
            *to = *from;
        else
            std::memcpy(to, from, count);
    }

private:
    std::uint8_t *grow_by(std::size_t count) {
        if (bytes_.size() - size_ < count) [[unlikely]]
            bytes_.resize(2 * bytes_.size() + count + 256);
        size_ += count;
        return bytes_.data() + size_ - count;
    }
    std::vector<std::uint8_t> bytes_;
    std::size_t size_ = 0;
};

/// Appends descriptors.
class DescWriter {
public:
    explicit DescWriter(ByteBuffer &out) : out_(out) {}
    void kind(DescKind kind, unsigned bytes = 4);
    void loc(const Loc &loc);
    void u8(std::uint8_t v) { out_.put(v); }
    void u32(std::uint32_t v) { out_.put(v); }

private:
    ByteBuffer &out_;
};

/// RFLAGS bits of the descriptor at `desc`; advances it. State must be stored: pinned registers in their slots, scratch
/// ones in host_regs.
std::uint32_t evaluate(const Layout &layout, const VcpuHead *state, const std::uint8_t *&desc);

inline constexpr unsigned kRecordHasUppers = 0x8000;

struct SafePoint {
    std::uint16_t page_offset = 0;
    std::uint16_t uppers = 0; ///< bit n: of pinned vector register n, in VcpuCold::vector_save
    const std::uint8_t *descriptor = nullptr;
};
std::optional<SafePoint> find_safe_point(std::span<const std::uint8_t> table, std::uint32_t return_offset);
/// An exit's first jump.
struct FirstJump {
    std::int32_t field = -1, target = -1;
};
FirstJump first_jump(std::span<const std::uint8_t> table, std::size_t exit);

} // namespace rhea::tcg::x64
