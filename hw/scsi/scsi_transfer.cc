// What a CDB says about its data: lengths by command, blocks of reads. Sources: SPC-4, SBC-3, MMC-6.
#include <algorithm>

#include "hw/scsi/scsi_unit.h"

namespace rhea::hw::scsi {
namespace {

/// Where in the CDB the length of a command's data is: `size` bytes at `offset`; 0 bytes: `offset` itself is the length.
struct LengthField {
    Opcode opcode;
    std::uint8_t offset, size;
    bool out = false;
};
constexpr LengthField kLengths[] = {
    {kRequestSense, 4, 1},    {kInquiry, 3, 2},          {kModeSense6, 4, 1},      {kModeSense10, 7, 2},
    {kReportLuns, 6, 4},      {kReadCapacity10, 8, 0},   {kReadToc, 7, 2},         {kGetConfiguration, 7, 2},
    {kGetEventStatus, 7, 2},  {kReadDiscInfo, 7, 2},     {kMechanismStatus, 8, 2}, {kReadDvdStructure, 8, 2},
    {kServiceActionIn16, 10, 4},
    {kModeSelect6, 4, 1, true}, {kModeSelect10, 7, 2, true}, {kUnmap, 7, 2, true},
};

bool writes_blocks(std::uint8_t opcode) {
    static constexpr Opcode kWrites[] = {kWrite6, kWrite10, kWrite12, kWrite16, kWriteVerify10, kWriteVerify12, kWriteVerify16};
    return std::ranges::find(kWrites, opcode) != std::end(kWrites);
}

bool verifies_blocks(std::uint8_t opcode) { return opcode == kVerify10 || opcode == kVerify12 || opcode == kVerify16; }

} // namespace

bool reads_blocks(std::span<const std::uint8_t> cdb) {
    static constexpr Opcode kReads[] = {kRead6, kRead10, kRead12, kRead16};
    if (cdb[0] == kReadCd)
        return (cdb[9] & 0xf8) != 0; // else no part of a sector is wanted
    return std::ranges::find(kReads, cdb[0]) != std::end(kReads);
}

BlockRange data_range(std::span<const std::uint8_t> cdb) {
    if (cdb[0] == kReadCd)
        return {load_be(cdb.subspan(2, 4)), load_be(cdb.subspan(6, 3))};
    return block_range(cdb);
}

void set_data_range(std::span<std::uint8_t> cdb, const BlockRange &range) {
    if (cdb[0] == kReadCd) {
        store_be(&cdb[2], range.lba, 4);
        store_be(&cdb[6], range.count, 3);
        return;
    }
    switch (cdb_length(cdb[0])) {
    case 6:
        store_be(&cdb[1], (cdb[1] & 0xe0u) << 16 | range.lba, 3);
        cdb[4] = static_cast<std::uint8_t>(range.count);
        break;
    case 10:
        store_be(&cdb[2], range.lba, 4);
        store_be(&cdb[7], range.count, 2);
        break;
    case 12:
        store_be(&cdb[2], range.lba, 4);
        store_be(&cdb[6], range.count, 4);
        break;
    case 16:
        store_be(&cdb[2], range.lba, 8);
        store_be(&cdb[10], range.count, 4);
        break;
    default:
        break;
    }
}

ScsiUnit::Transfer ScsiUnit::transfer(std::span<const std::uint8_t> cdb) const {
    const std::uint8_t opcode = cdb[0];
    const std::uint64_t blocks_length = std::uint64_t{data_range(cdb).count} * block_size();
    if (reads_blocks(cdb))
        return {blocks_length, false};
    if (writes_blocks(opcode))
        return {blocks_length, true};
    if (verifies_blocks(opcode)) {
        const unsigned byte_check = cdb[1] >> 1 & 3;
        return {byte_check == 0 ? 0 : byte_check == 3 ? block_size() : blocks_length, byte_check != 0};
    }
    if (opcode == kWriteSame10 || opcode == kWriteSame16)
        return {block_size(), true};
    for (const LengthField &each : kLengths)
        if (each.opcode == opcode)
            return {each.size ? load_be(cdb.subspan(each.offset, each.size)) : each.offset, each.out};
    return {};
}

} // namespace rhea::hw::scsi
