// Register bits of the local APIC (SDM vol. 3, chapter 11), shared by its two source files.
#pragma once
#include <cstdint>

namespace rhea::hw::apic {

// IA32_APIC_BASE
inline constexpr std::uint64_t kBaseBsp = 1u << 8;
inline constexpr std::uint64_t kBaseExtd = 1u << 10;
inline constexpr std::uint64_t kBaseEnable = 1u << 11;
inline constexpr std::uint64_t kBaseAddress = 0xfee00000;

// Local vector table entries
inline constexpr std::uint32_t kLvtVector = 0xff;
inline constexpr std::uint32_t kLvtModeShift = 8;
inline constexpr std::uint32_t kLvtMode = 0x700;
inline constexpr std::uint32_t kLvtPolarity = 1u << 13;
inline constexpr std::uint32_t kLvtRemoteIrr = 1u << 14;
inline constexpr std::uint32_t kLvtLevel = 1u << 15;
inline constexpr std::uint32_t kLvtMasked = 1u << 16;
inline constexpr std::uint32_t kLvtTimerModeShift = 17;
inline constexpr std::uint32_t kLvtTimerMode = 3u << kLvtTimerModeShift;

// Spurious-interrupt vector register
inline constexpr std::uint32_t kSvrEnable = 1u << 8;
inline constexpr std::uint32_t kSvrWritable = 0x3ff;  // no EOI-broadcast suppression
inline constexpr std::uint32_t kSvrReset = 0xff;

// Error status register
inline constexpr std::uint32_t kEsrSendIllegalVector = 1u << 5;
inline constexpr std::uint32_t kEsrReceiveIllegalVector = 1u << 6;
inline constexpr std::uint32_t kEsrIllegalRegister = 1u << 7;

// Interrupt command register, low half
inline constexpr std::uint32_t kIcrLogical = 1u << 11;
inline constexpr std::uint32_t kIcrAssert = 1u << 14;
inline constexpr std::uint32_t kIcrLevel = 1u << 15;
inline constexpr std::uint32_t kIcrShorthandShift = 18;
inline constexpr std::uint32_t kIcrWritable = 0x000ccfff;

// Destination format register
inline constexpr std::uint32_t kDfrReserved = 0x0fffffff;
inline constexpr std::uint32_t kDfrFlat = 0xf;

/// Vectors below 16 are illegal.
inline constexpr std::uint8_t kFirstLegalVector = 16;

}  // namespace rhea::hw::apic
