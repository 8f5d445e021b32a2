// SCSI commands as values: what an initiator hands to a logical unit and what it gets back.
//
// Who carries them (virtio-scsi, ATAPI, USB storage) fills a ScsiCommand; the memory of its data lives until execute() is
// done. Sources: SPC-4, SBC-3, MMC-6.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "rhea/block/io_vector.h"

namespace rhea::hw::scsi {

enum Opcode : std::uint8_t {
    kTestUnitReady = 0x00, kRequestSense = 0x03, kRead6 = 0x08, kWrite6 = 0x0a, kSeek6 = 0x0b, kInquiry = 0x12, kModeSelect6 = 0x15,
    kReserve6 = 0x16, kRelease6 = 0x17, kModeSense6 = 0x1a, kStartStopUnit = 0x1b, kSendDiagnostic = 0x1d, kPreventAllow = 0x1e,
    kReadCapacity10 = 0x25, kRead10 = 0x28, kWrite10 = 0x2a, kSeek10 = 0x2b, kWriteVerify10 = 0x2e, kVerify10 = 0x2f,
    kSynchronizeCache10 = 0x35, kWriteSame10 = 0x41, kUnmap = 0x42, kReadToc = 0x43, kGetConfiguration = 0x46,
    kGetEventStatus = 0x4a, kReadDiscInfo = 0x51, kModeSelect10 = 0x55, kReserve10 = 0x56, kRelease10 = 0x57, kModeSense10 = 0x5a,
    kRead16 = 0x88, kWrite16 = 0x8a, kWriteVerify16 = 0x8e, kVerify16 = 0x8f, kSynchronizeCache16 = 0x91, kWriteSame16 = 0x93,
    kServiceActionIn16 = 0x9e, kReportLuns = 0xa0, kRead12 = 0xa8, kWrite12 = 0xaa, kReadDvdStructure = 0xad, kWriteVerify12 = 0xae,
    kVerify12 = 0xaf, kSetCdSpeed = 0xbb, kMechanismStatus = 0xbd, kReadCd = 0xbe,
};

enum Status : std::uint8_t { kGood = 0x00, kCheckCondition = 0x02, kBusy = 0x08, kReservationConflict = 0x18, kTaskSetFull = 0x28, kTaskAborted = 0x40 };

/// Sense key, additional sense code and its qualifier (SPC-4, 4.5).
struct Sense {
    std::uint8_t key = 0, code = 0, qualifier = 0;
    friend bool operator==(const Sense &, const Sense &) = default;
};
namespace sense {
inline constexpr Sense kNone{};
inline constexpr Sense kNoMedium{0x02, 0x3a, 0x00}, kNoMediumTrayOpen{0x02, 0x3a, 0x02}, kNotReadyLoading{0x02, 0x04, 0x01};
inline constexpr Sense kReadError{0x03, 0x11, 0x00};
inline constexpr Sense kTargetFailure{0x04, 0x44, 0x00};
inline constexpr Sense kInvalidOpcode{0x05, 0x20, 0x00}, kLbaOutOfRange{0x05, 0x21, 0x00}, kInvalidField{0x05, 0x24, 0x00},
    kLunNotSupported{0x05, 0x25, 0x00}, kInvalidParameter{0x05, 0x26, 0x00}, kParameterListLength{0x05, 0x1a, 0x00},
    kSavingNotSupported{0x05, 0x39, 0x00}, kIncompatibleMedium{0x05, 0x30, 0x00}, kRemovalPrevented{0x05, 0x53, 0x02},
    kIllegalMode{0x05, 0x64, 0x00};
inline constexpr Sense kMediumChanged{0x06, 0x28, 0x00}, kPowerOn{0x06, 0x29, 0x00}, kDeviceReset{0x06, 0x29, 0x03},
    kCapacityChanged{0x06, 0x2a, 0x09}, kReportedLunsChanged{0x06, 0x3f, 0x0e}, kEjectRequested{0x06, 0x5a, 0x01};
inline constexpr Sense kWriteProtected{0x07, 0x27, 0x00}, kSpaceFailed{0x07, 0x27, 0x07};
inline constexpr Sense kIoError{0x0b, 0x00, 0x06};
inline constexpr Sense kMiscompare{0x0e, 0x1d, 0x00};
} // namespace sense

inline constexpr std::size_t kSenseLength = 18;
/// Fixed format (SPC-4, 4.5.3).
std::array<std::uint8_t, kSenseLength> fixed_sense(const Sense &sense);

inline constexpr std::size_t kMaxCdb = 32;

struct ScsiCommand {
    std::array<std::uint8_t, kMaxCdb> cdb{};
    block::IoVector out; ///< what the initiator sends
    block::IoVector in;  ///< where it wants the reply
    std::uint8_t opcode() const { return cdb[0]; }
};

struct ScsiResult {
    std::uint8_t status = kGood;
    Sense sense{};
    std::uint64_t transferred = 0; ///< bytes of `in` that were written, or of `out` that were used
    bool keep = false;             ///< the error policy says: again when the machine runs again (werror=stop)
};
inline ScsiResult check_condition(const Sense &sense) { return {.status = kCheckCondition, .sense = sense}; }

inline std::uint32_t load_be(std::span<const std::uint8_t> bytes) {
    std::uint32_t value = 0;
    for (const std::uint8_t byte : bytes)
        value = value << 8 | byte;
    return value;
}
inline std::uint64_t load_be64(std::span<const std::uint8_t> bytes) {
    return static_cast<std::uint64_t>(load_be(bytes.first(4))) << 32 | load_be(bytes.subspan(4, 4));
}
/// The lowest `count` bytes of `value`, the highest of them first.
inline void store_be(std::uint8_t *to, std::uint64_t value, unsigned count) {
    for (unsigned i = 0; i < count; ++i)
        to[i] = static_cast<std::uint8_t>(value >> 8 * (count - 1 - i));
}

/// Bytes of a CDB by its group code; 0: reserved or vendor specific.
unsigned cdb_length(std::uint8_t opcode);
/// First block and number of blocks of a READ, WRITE, VERIFY, WRITE SAME, … of 6, 10, 12 or 16 bytes.
struct BlockRange {
    std::uint64_t lba = 0;
    std::uint32_t count = 0;
};
BlockRange block_range(std::span<const std::uint8_t> cdb);
/// Does it read blocks of the medium for the initiator (READ of any length, READ CD with user data)?
bool reads_blocks(std::span<const std::uint8_t> cdb);
/// Those blocks; and another range in the same CDB, whose fields it fits.
BlockRange data_range(std::span<const std::uint8_t> cdb);
void set_data_range(std::span<std::uint8_t> cdb, const BlockRange &range);

} // namespace rhea::hw::scsi
