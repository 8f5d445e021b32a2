// Bits of x86 control registers, flags, descriptors and MSR numbers, named as in the Intel SDM and
// AMD APM.
//
// Plain constants; no state, any thread.
#pragma once
#include <cstdint>

namespace rhea::target::x86 {

/// Exception vectors (SDM vol. 3, 6.15).
enum Vector : std::uint8_t {
    kVectorDE = 0,
    kVectorDB = 1,
    kVectorNMI = 2,
    kVectorBP = 3,
    kVectorOF = 4,
    kVectorBR = 5,
    kVectorUD = 6,
    kVectorNM = 7,
    kVectorDF = 8,
    kVectorTS = 10,
    kVectorNP = 11,
    kVectorSS = 12,
    kVectorGP = 13,
    kVectorPF = 14,
    kVectorMF = 16,
    kVectorAC = 17,
    kVectorMC = 18,
    kVectorXM = 19,
};

inline constexpr std::uint64_t kCr0PE = 1u << 0, kCr0MP = 1u << 1, kCr0EM = 1u << 2,
                               kCr0TS = 1u << 3, kCr0ET = 1u << 4, kCr0NE = 1u << 5,
                               kCr0WP = 1u << 16, kCr0AM = 1u << 18, kCr0NW = 1u << 29,
                               kCr0CD = 1u << 30, kCr0PG = 1u << 31;
inline constexpr std::uint64_t kCr4VME = 1u << 0, kCr4PVI = 1u << 1, kCr4TSD = 1u << 2,
                               kCr4DE = 1u << 3, kCr4PSE = 1u << 4, kCr4PAE = 1u << 5,
                               kCr4MCE = 1u << 6, kCr4PGE = 1u << 7, kCr4PCE = 1u << 8,
                               kCr4OSFXSR = 1u << 9, kCr4OSXMMEXCPT = 1u << 10, kCr4UMIP = 1u << 11,
                               kCr4LA57 = 1u << 12, kCr4FSGSBASE = 1u << 16, kCr4PCIDE = 1u << 17,
                               kCr4OSXSAVE = 1u << 18, kCr4SMEP = 1u << 20, kCr4SMAP = 1u << 21;
inline constexpr std::uint64_t kEferSCE = 1u << 0, kEferLME = 1u << 8, kEferLMA = 1u << 10,
                               kEferNXE = 1u << 11, kEferFFXSR = 1u << 14;

/// RFLAGS bits other than the arithmetic ones (those are tcg::kCF and so on).
inline constexpr std::uint64_t kFlagTF = 1u << 8, kFlagIF = 1u << 9, kFlagDF = 1u << 10,
                               kFlagIOPL = 3u << 12, kFlagNT = 1u << 14, kFlagRF = 1u << 16,
                               kFlagVM = 1u << 17, kFlagAC = 1u << 18, kFlagVIF = 1u << 19,
                               kFlagVIP = 1u << 20, kFlagID = 1u << 21;

/// Page fault error code.
inline constexpr std::uint32_t kPfPresent = 1, kPfWrite = 2, kPfUser = 4, kPfReserved = 8,
                               kPfFetch = 16;

/// SegmentCache::attr.
inline constexpr std::uint16_t kAttrAccessed = 1, kAttrWritable = 2 /* data */,
                               kAttrReadable = 2 /* code */, kAttrExpandDown = 4,
                               kAttrConforming = 4, kAttrCode = 8, kAttrS = 0x10, kAttrDpl = 0x60,
                               kAttrPresent = 0x80, kAttrAvl = 0x1000, kAttrL = 0x2000,
                               kAttrDB = 0x4000, kAttrG = 0x8000;

/// System descriptor types (S = 0).
enum SystemType : unsigned {
    kTypeTss16 = 1,
    kTypeLdt = 2,
    kTypeTss16Busy = 3,
    kTypeCallGate16 = 4,
    kTypeTaskGate = 5,
    kTypeIntGate16 = 6,
    kTypeTrapGate16 = 7,
    kTypeTss32 = 9,
    kTypeTss32Busy = 11,
    kTypeCallGate32 = 12,
    kTypeIntGate32 = 14,
    kTypeTrapGate32 = 15,
};

inline constexpr std::uint64_t kDr6Fixed = 0xffff0ff0, kDr7Fixed = 0x400;
inline constexpr std::uint64_t kDr6BD = 1u << 13, kDr6BS = 1u << 14, kDr6BT = 1u << 15,
                               kDr7GD = 1u << 13;

}  // namespace rhea::target::x86
