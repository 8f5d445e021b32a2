// How translated code packs arguments of helpers (target/x86/helper_args.h).
#pragma once
#include <cstdint>

namespace rhea::target::x86 {

enum class RepKind : std::uint8_t { kNone, kRep /* also REPE */, kRepne };

/// Argument a of string helpers.
struct StringInfo {
    std::uint8_t size = 1;         ///< element bytes: 1, 2, 4, 8
    std::uint8_t address_size = 8; ///< 2, 4, 8: width of RSI, RDI and RCX that is used (upper halves: 4 zero-extends what it writes, 2 keeps)
    std::uint8_t segment = 3;      ///< Seg of the source operand (DS unless overridden); the destination is always ES
    RepKind rep = RepKind::kNone;
    bool code64 = false;           ///< 64-bit mode: bases of CS, DS, ES, SS count as 0 and nothing is limit-checked

    bool one = false;              ///< TF: at most one element, and not 0 when elements remain

    constexpr std::uint64_t pack() const {
        return size | address_size << 8 | segment << 16 | static_cast<unsigned>(rep) << 24 | std::uint64_t{code64} << 32 |
               std::uint64_t{one} << 33;
    }
    static constexpr StringInfo unpack(std::uint64_t v) {
        return {static_cast<std::uint8_t>(v), static_cast<std::uint8_t>(v >> 8), static_cast<std::uint8_t>(v >> 16),
                static_cast<RepKind>((v >> 24) & 0xff), ((v >> 32) & 1) != 0, ((v >> 33) & 1) != 0};
    }
};

} // namespace rhea::target::x86
