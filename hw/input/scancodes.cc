#include "hw/input/scancodes.h"

#include <algorithm>

namespace rhea::hw {
namespace {

/// The 8042's translation table for 0x00..0x7f (IBM PS/2 Hardware Interface Technical Reference,
/// keyboard controller); above that only 0x83 and 0x84 change.
constexpr std::array<std::uint8_t, 128> kSet2ToSet1 = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};
constexpr std::uint8_t kSet2F7 = 0x83, kSet1F7 = 0x41;
constexpr std::uint8_t kSet2SysRq = 0x84, kSet1SysRq = 0x54;

/// The set 2 code of a set 1 code below 0x80; 0: none.
constexpr std::uint8_t set2_code(std::uint8_t set1) {
    if (set1 == kSet1F7) {
        return kSet2F7;
    }
    if (set1 == kSet1SysRq) {
        return kSet2SysRq;
    }
    for (unsigned i = 1; i < kSet2ToSet1.size(); ++i) {
        if (kSet2ToSet1[i] == set1) {
            return static_cast<std::uint8_t>(i);
        }
    }
    return 0;
}

/// Set 3 codes of the keys whose code differs from set 2's.
struct Set3Row {
    KeyNumber key;
    std::uint8_t code;
};
constexpr Set3Row kSet3[] = {
    {0x01, 0x08},      {0x3b, 0x07},   {0x3c, 0x0f},
    {0x3d, 0x17},  // Esc, F1..F3
    {0x3e, 0x1f},      {0x3f, 0x27},   {0x40, 0x2f},
    {0x41, 0x37},  // F4..F7
    {0x42, 0x3f},      {0x43, 0x47},   {0x44, 0x4f},
    {0x57, 0x56},  // F8..F11
    {0x58, 0x5e},      {0x2b, 0x5c},   {0x3a, 0x14},
    {0x1d, 0x11},  // F12, backslash, Caps Lock, left Ctrl
    {0x38, 0x19},      {0x46, 0x5f},   {0x45, 0x76},
    {0x37, 0x7e},                                     // left Alt, Scroll and Num Lock, KP *
    {0x4a, 0x84},      {0x4e, 0x7c},   {0x56, 0x13},  // KP -, KP +, the 102nd key
    {0xe038, 0x39},    {0xe01d, 0x58}, {kKeyPrintScreen, 0x57},
    {kKeyPause, 0x62}, {0xe052, 0x67}, {0xe047, 0x6e},
    {0xe049, 0x6f},    {0xe053, 0x64},  // Insert, Home, PgUp, Delete
    {0xe04f, 0x65},    {0xe051, 0x6d}, {0xe048, 0x63},
    {0xe04b, 0x61},  // End, PgDn, up, left
    {0xe050, 0x60},    {0xe04d, 0x6a}, {0xe035, 0x77},
    {0xe01c, 0x79},                                     // down, right, KP /, KP Enter
    {0xe05b, 0x8b},    {0xe05c, 0x8c}, {0xe05d, 0x8d},  // Windows keys and menu
};

constexpr KeyNumber kModifiers[] = {0x1d, 0xe01d, 0x2a, 0x36, 0x38, 0xe038, 0x3a};

bool extended(KeyNumber key) {
    return (key & 0xff00) == 0xe000;
}

void add_all(ScanCode& code, std::initializer_list<std::uint8_t> bytes) {
    for (const std::uint8_t byte : bytes) {
        code.add(byte);
    }
}

ScanCode encode_set1(KeyNumber key, bool pressed) {
    ScanCode code;
    if (key == kKeyPause) {
        if (pressed) {  // Pause sends its make and break at once, and nothing when it goes up
            add_all(code, {0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5});
        }
    } else if (key == kKeyPrintScreen) {
        if (pressed) {
            add_all(code, {0xe0, 0x2a, 0xe0, 0x37});
        } else {
            add_all(code, {0xe0, 0xb7, 0xe0, 0xaa});
        }
    } else {
        if (extended(key)) {
            code.add(kExtendedPrefix);
        }
        code.add(static_cast<std::uint8_t>((key & 0x7f) | (pressed ? 0 : 0x80)));
    }
    return code;
}

ScanCode encode_set2(KeyNumber key, bool pressed) {
    ScanCode code;
    if (key == kKeyPause) {
        if (pressed) {
            add_all(code, {0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77});
        }
    } else if (key == kKeyPrintScreen) {
        if (pressed) {
            add_all(code, {0xe0, 0x12, 0xe0, 0x7c});
        } else {
            add_all(code, {0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12});
        }
    } else if (const std::uint8_t byte = set2_code(key & 0x7f)) {
        if (extended(key)) {
            code.add(kExtendedPrefix);
        }
        if (!pressed) {
            code.add(kBreakPrefix);
        }
        code.add(byte);
    }
    return code;
}

ScanCode encode_set3(KeyNumber key, bool pressed) {
    const auto* row = std::find_if(std::begin(kSet3), std::end(kSet3),
                                   [&](const Set3Row& r) { return r.key == key; });
    std::uint8_t byte = 0;
    if (row != std::end(kSet3)) {
        byte = row->code;
    } else if (!extended(key)) {
        byte = set2_code(key & 0x7f);
    }
    ScanCode code;
    if (byte != 0) {
        if (!pressed) {
            code.add(kBreakPrefix);
        }
        code.add(byte);
    }
    return code;
}

}  // namespace

ScanCode encode_key(KeyNumber key, bool pressed, unsigned set) {
    const bool known = (key & 0x7f) != 0 && (extended(key) || key < 0x80);
    if (!known || (key & 0x80)) {
        return {};
    }
    switch (set) {
        case 1:
            return encode_set1(key, pressed);
        case 3:
            return encode_set3(key, pressed);
        default:
            return encode_set2(key, pressed);
    }
}

std::uint8_t translate_to_set1(std::uint8_t byte) {
    if (byte < kSet2ToSet1.size()) {
        return kSet2ToSet1[byte];
    }
    return byte == kSet2F7 ? kSet1F7 : byte == kSet2SysRq ? kSet1SysRq : byte;
}

bool is_modifier(KeyNumber key) {
    return std::find(std::begin(kModifiers), std::end(kModifiers), key) != std::end(kModifiers);
}

}  // namespace rhea::hw
