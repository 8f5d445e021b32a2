// Names and numbers of NVM Express 1.4: registers, commands, status codes.
// Source: NVM Express base specification, revision 1.4. Section numbers in comments are its.
#pragma once
#include <cstdint>

namespace rhea::hw::nvme {

inline constexpr unsigned kCommandSize = 64, kCompletionSize = 16, kCommandShift = 6, kCompletionShift = 4;
inline constexpr std::uint32_t kPageMin = 4096;
inline constexpr std::uint32_t kVersion = 0x00010400;
inline constexpr std::uint32_t kNamespace = 1, kAllNamespaces = 0xffffffff;
/// Entries of a queue, largest (CAP.MQES + 1).
inline constexpr std::uint32_t kMaxQueueEntries = 2048;
inline constexpr unsigned kMaxPageShift = 16; ///< CAP.MPSMAX: 64 KiB pages

// CC (3.1.5)
inline constexpr std::uint32_t kCcEnable = 1u << 0, kCcWritable = 0x00fffff1;
/// CSS, MPS and AMS, which a host may change only while the controller is disabled.
inline constexpr std::uint32_t kCcHeldWhenEnabled = 0x00003ff0;
constexpr unsigned cc_command_set(std::uint32_t cc) { return cc >> 4 & 7; }
constexpr unsigned cc_page_shift(std::uint32_t cc) { return 12 + (cc >> 7 & 15); }
constexpr unsigned cc_shutdown(std::uint32_t cc) { return cc >> 14 & 3; }
constexpr unsigned cc_command_shift(std::uint32_t cc) { return cc >> 16 & 15; }
constexpr unsigned cc_completion_shift(std::uint32_t cc) { return cc >> 20 & 15; }
// CSTS (3.1.6)
inline constexpr std::uint32_t kCstsReady = 1u << 0, kCstsFatal = 1u << 1, kCstsShutdownMask = 3u << 2;
inline constexpr std::uint32_t kCstsShutdownOccurring = 1u << 2, kCstsShutdownComplete = 2u << 2;

enum AdminOpcode : std::uint8_t {
    kDeleteSq = 0x00,
    kCreateSq = 0x01,
    kGetLogPage = 0x02,
    kDeleteCq = 0x04,
    kCreateCq = 0x05,
    kIdentify = 0x06,
    kAbort = 0x08,
    kSetFeatures = 0x09,
    kGetFeatures = 0x0a,
    kAsyncEvent = 0x0c,
};

enum IoOpcode : std::uint8_t {
    kFlush = 0x00,
    kWrite = 0x01,
    kRead = 0x02,
    kCompare = 0x05,
    kWriteZeroes = 0x08,
    kDatasetManagement = 0x09,
};

/// Status code type and status code (4.6.1), as bits 10:0 of the status field.
enum Status : std::uint16_t {
    kSuccess = 0x000,
    kInvalidOpcode = 0x001,
    kInvalidField = 0x002,
    kDataTransferError = 0x004,
    kInternalError = 0x006,
    kAbortedSqDeletion = 0x008,
    kInvalidNamespace = 0x00b,
    kSequenceError = 0x00c,
    kInvalidPrpOffset = 0x013,
    kWriteProtected = 0x020,
    kLbaOutOfRange = 0x080,
    kCapacityExceeded = 0x081,
    kCompletionQueueInvalid = 0x100,
    kInvalidQueueId = 0x101,
    kInvalidQueueSize = 0x102,
    kAsyncEventLimit = 0x105,
    kInvalidInterruptVector = 0x108,
    kInvalidLogPage = 0x109,
    kInvalidQueueDeletion = 0x10c,
    kFeatureNotSaveable = 0x10d,
    kFeatureNotChangeable = 0x10e,
    kConflictingAttributes = 0x180,
    kWriteFault = 0x280,
    kUnrecoveredRead = 0x281,
    kCompareFailure = 0x285,
};
/// "Do not retry": the same command fails again.
inline constexpr std::uint16_t kDoNotRetry = 1u << 14;

enum Feature : std::uint8_t {
    kArbitration = 0x01,
    kPowerManagement = 0x02,
    kTemperatureThreshold = 0x04,
    kErrorRecovery = 0x05,
    kVolatileWriteCache = 0x06,
    kNumberOfQueues = 0x07,
    kInterruptCoalescing = 0x08,
    kInterruptVectorConfig = 0x09,
    kWriteAtomicity = 0x0a,
    kAsyncEventConfig = 0x0b,
    kTimestamp = 0x0e,
};

/// A submission queue entry (4.2).
struct Command {
    std::uint8_t opcode = 0, flags = 0;
    std::uint16_t id = 0;
    std::uint32_t nsid = 0;
    std::uint64_t prp1 = 0, prp2 = 0;
    std::uint32_t dw[6] = {}; ///< command dwords 10 to 15

    static Command parse(const std::uint8_t *bytes);
    std::uint64_t lba() const { return dw[0] | static_cast<std::uint64_t>(dw[1]) << 32; }
    std::uint32_t blocks() const { return (dw[2] & 0xffff) + 1; }
    bool force_unit_access() const { return dw[2] >> 30 & 1; }
    bool deallocate() const { return dw[2] >> 25 & 1; } ///< of Write Zeroes
};

} // namespace rhea::hw::nvme
