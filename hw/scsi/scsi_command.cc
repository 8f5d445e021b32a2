#include "hw/scsi/scsi_command.h"

namespace rhea::hw::scsi {

std::array<std::uint8_t, kSenseLength> fixed_sense(const Sense &sense) {
    std::array<std::uint8_t, kSenseLength> bytes{};
    bytes[0] = 0x70; // current error, fixed format
    bytes[2] = sense.key;
    bytes[7] = kSenseLength - 8;
    bytes[12] = sense.code;
    bytes[13] = sense.qualifier;
    return bytes;
}

unsigned cdb_length(std::uint8_t opcode) {
    static constexpr std::uint8_t kByGroup[8] = {6, 10, 10, 0, 16, 12, 0, 0};
    return kByGroup[opcode >> 5];
}

BlockRange block_range(std::span<const std::uint8_t> cdb) {
    switch (cdb_length(cdb[0])) {
    case 6: { // 21 bits of address; a count of 0 means 256
        const std::uint32_t count = cdb[4];
        return {load_be(cdb.subspan(1, 3)) & 0x1fffff, count ? count : 256};
    }
    case 10:
        return {load_be(cdb.subspan(2, 4)), load_be(cdb.subspan(7, 2))};
    case 12:
        return {load_be(cdb.subspan(2, 4)), load_be(cdb.subspan(6, 4))};
    case 16:
        return {load_be64(cdb.subspan(2, 8)), load_be(cdb.subspan(10, 4))};
    default:
        return {};
    }
}

} // namespace rhea::hw::scsi
