// Names and numbers of the ATA command set and its register file.
// Source: ATA/ATAPI-7 (T13/1532D), volume 1 chapters 6 and 7, volume 2 chapter 7.
#pragma once
#include <cstdint>

namespace rhea::hw::ata {

inline constexpr unsigned kSectorSize = 512;

/// Command block registers: offsets from 0x1f0 or 0x170.
enum Register : unsigned {
    kData = 0,
    kError = 1, ///< read; written: features
    kCount = 2,
    kLbaLow = 3,
    kLbaMid = 4,
    kLbaHigh = 5,
    kDevice = 6,
    kStatus = 7, ///< read; written: command
    kRegisters = 8,
};

// Status
inline constexpr std::uint8_t kBsy = 0x80, kDrdy = 0x40, kDf = 0x20, kDsc = 0x10, kDrq = 0x08, kErr = 0x01;
// Error
inline constexpr std::uint8_t kUnc = 0x40, kIdnf = 0x10, kAbrt = 0x04;
/// What EXECUTE DEVICE DIAGNOSTIC and resets leave in the error register.
inline constexpr std::uint8_t kDiagnosticPassed = 0x01;
// Interrupt reason, in the count register of a packet device (volume 2, 11.8): a command packet, or to the host
inline constexpr std::uint8_t kReasonCommand = 0x01, kReasonToHost = 0x02;
// Features of PACKET
inline constexpr std::uint8_t kPacketDma = 0x01, kPacketOverlap = 0x02;
// Device
inline constexpr std::uint8_t kDeviceLba = 0x40, kDeviceSelect = 0x10, kDeviceObsolete = 0xa0;
// Device control
inline constexpr std::uint8_t kHighOrderByte = 0x80, kSoftReset = 0x04, kInterruptDisable = 0x02;

inline constexpr std::uint64_t kLba28Limit = std::uint64_t{1} << 28;
inline constexpr std::uint64_t kLba48Limit = std::uint64_t{1} << 48;

enum Command : std::uint8_t {
    kNop = 0x00,
    kDataSetManagement = 0x06,
    kDeviceReset = 0x08,
    kReadSectors = 0x20,
    kReadSectorsNoRetry = 0x21,
    kReadSectorsExt = 0x24,
    kReadDmaExt = 0x25,
    kReadNativeMaxExt = 0x27,
    kReadMultipleExt = 0x29,
    kWriteSectors = 0x30,
    kWriteSectorsNoRetry = 0x31,
    kWriteSectorsExt = 0x34,
    kWriteDmaExt = 0x35,
    kWriteMultipleExt = 0x39,
    kWriteDmaFuaExt = 0x3d,
    kReadVerify = 0x40,
    kReadVerifyNoRetry = 0x41,
    kReadVerifyExt = 0x42,
    kExecuteDiagnostic = 0x90,
    kInitializeParameters = 0x91,
    kSmart = 0xb0,
    kReadMultiple = 0xc4,
    kWriteMultiple = 0xc5,
    kSetMultiple = 0xc6,
    kReadDma = 0xc8,
    kReadDmaNoRetry = 0xc9,
    kWriteDma = 0xca,
    kWriteDmaNoRetry = 0xcb,
    kPacket = 0xa0,
    kIdentifyPacketDevice = 0xa1,
    kWriteMultipleFuaExt = 0xce,
    kStandbyImmediate = 0xe0,
    kIdleImmediate = 0xe1,
    kStandby = 0xe2,
    kIdle = 0xe3,
    kCheckPowerMode = 0xe5,
    kSleep = 0xe6,
    kFlushCache = 0xe7,
    kFlushCacheExt = 0xea,
    kIdentifyDevice = 0xec,
    kSetFeatures = 0xef,
    kReadNativeMax = 0xf8,
};

} // namespace rhea::hw::ata
