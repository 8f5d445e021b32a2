// Scan codes of PC keyboards: how key numbers become bytes of scan code sets 1, 2 and 3, and how an
// 8042 translates set 2 to set 1. Pure functions.
//
// A key number is the key's set 1 make code; keys with an 0xe0 prefix are 0xe000 + code. This is
// what remote display protocols and evdev's AT driver use too. Pause is 0xe046, Print Screen
// 0xe037.
#pragma once
#include <array>
#include <cstdint>

namespace rhea::hw {

using KeyNumber = std::uint16_t;

inline constexpr KeyNumber kKeyPause = 0xe046;
inline constexpr KeyNumber kKeyPrintScreen = 0xe037;
inline constexpr std::uint8_t kBreakPrefix = 0xf0;
inline constexpr std::uint8_t kExtendedPrefix = 0xe0;

/// Up to eight bytes of one key event.
struct ScanCode {
    std::array<std::uint8_t, 8> bytes{};
    unsigned length = 0;
    void add(std::uint8_t byte) { bytes[length++] = byte; }
};

/// Bytes for a key going down or up in scan code set 1, 2 or 3; empty: that key has none.
[[nodiscard]] ScanCode encode_key(KeyNumber key, bool pressed, unsigned set);

/// The 8042's translation of a byte from the keyboard (set 2) to set 1, breaks apart.
[[nodiscard]] std::uint8_t translate_to_set1(std::uint8_t byte);

/// Is `key` a modifier? These send break codes in set 3's default mode.
[[nodiscard]] bool is_modifier(KeyNumber key);

}  // namespace rhea::hw
