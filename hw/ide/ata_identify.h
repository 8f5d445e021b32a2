// The 512 bytes that IDENTIFY DEVICE returns (ATA/ATAPI-7 volume 1, 6.17).
#pragma once
#include "hw/ide/geometry.h"

#include <array>
#include <cstdint>
#include <string>

namespace rhea::hw {

/// What is printed on the drive.
struct AtaIdentity {
    std::string serial, model = "QEMU HARDDISK", firmware = "1.0";
    std::uint64_t wwn = 0;               ///< 0: none
    std::uint16_t rotation_rate = 0;     ///< 0: not reported, 1: does not rotate, else turns a minute
    unsigned physical_sector_shift = 0;  ///< log2 of logical sectors in a physical one
    bool trim = false;
    DiskGeometry geometry;               ///< as delivered
    std::uint64_t sectors = 0;
};

/// What the host has set.
struct AtaSettings {
    DiskGeometry geometry;               ///< INITIALIZE DEVICE PARAMETERS
    std::uint8_t multiple = 0;           ///< SET MULTIPLE MODE
    std::uint8_t multiword_mode = 0xff;  ///< SET FEATURES 03h; 0xff: not this kind
    std::uint8_t ultra_mode = 5;
    bool write_cache = true, look_ahead = true, smart = true;
};

inline constexpr std::uint8_t kAtaMaxMultiple = 16;
inline constexpr std::uint8_t kAtaMaxMultiwordMode = 2, kAtaMaxUltraMode = 5, kAtaMaxPioMode = 4;
/// Blocks of ranges that one DATA SET MANAGEMENT command may bring.
inline constexpr std::uint16_t kAtaMaxTrimBlocks = 8;

/// SET FEATURES 03h: bits 7:3 of the count are the kind of transfer, 2:0 its mode (volume 1, table 45). False: there is none such.
bool choose_transfer_mode(AtaSettings &settings, std::uint8_t count);

std::array<std::uint8_t, 512> ata_identify(const AtaIdentity &identity, const AtaSettings &settings);
/// IDENTIFY PACKET DEVICE (6.18) of a CD-ROM drive.
std::array<std::uint8_t, 512> ata_identify_packet(const AtaIdentity &identity, const AtaSettings &settings);

} // namespace rhea::hw
