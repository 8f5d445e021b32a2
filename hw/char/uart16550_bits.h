// Register bits of the PC16550D (datasheet section 8.0, table II).
#pragma once
#include <cstdint>

namespace rhea::hw::uart {

// IER
inline constexpr std::uint8_t kErbfi = 0x01;  ///< received data available
inline constexpr std::uint8_t kEtbei = 0x02;  ///< transmitter holding register empty
inline constexpr std::uint8_t kElsi = 0x04;   ///< receiver line status
inline constexpr std::uint8_t kEdssi = 0x08;  ///< modem status
inline constexpr std::uint8_t kIerWritable = 0x0f;

// IIR, highest priority first (table III)
inline constexpr std::uint8_t kIirLineStatus = 0x06;
inline constexpr std::uint8_t kIirDataAvailable = 0x04;
inline constexpr std::uint8_t kIirTimeout = 0x0c;
inline constexpr std::uint8_t kIirThrEmpty = 0x02;
inline constexpr std::uint8_t kIirModemStatus = 0x00;
inline constexpr std::uint8_t kIirNone = 0x01;
inline constexpr std::uint8_t kIirFifosEnabled = 0xc0;

// FCR
inline constexpr std::uint8_t kFifoEnable = 0x01;
inline constexpr std::uint8_t kRcvrFifoReset = 0x02;
inline constexpr std::uint8_t kXmitFifoReset = 0x04;
inline constexpr std::uint8_t kFcrKept = 0xc9;

// LCR
inline constexpr std::uint8_t kWordLength = 0x03;
inline constexpr std::uint8_t kStb = 0x04;
inline constexpr std::uint8_t kPen = 0x08;
inline constexpr std::uint8_t kDlab = 0x80;

// MCR
inline constexpr std::uint8_t kDtr = 0x01;
inline constexpr std::uint8_t kRts = 0x02;
inline constexpr std::uint8_t kOut1 = 0x04;
inline constexpr std::uint8_t kOut2 = 0x08;
inline constexpr std::uint8_t kLoop = 0x10;
inline constexpr std::uint8_t kMcrWritable = 0x1f;

// LSR
inline constexpr std::uint8_t kDr = 0x01;
inline constexpr std::uint8_t kOe = 0x02;
inline constexpr std::uint8_t kPe = 0x04;
inline constexpr std::uint8_t kFe = 0x08;
inline constexpr std::uint8_t kBi = 0x10;
inline constexpr std::uint8_t kThre = 0x20;
inline constexpr std::uint8_t kTemt = 0x40;
inline constexpr std::uint8_t kErrorInFifo = 0x80;
inline constexpr std::uint8_t kErrors = kOe | kPe | kFe | kBi;

// MSR: deltas in bits 3:0, lines in bits 7:4
inline constexpr std::uint8_t kTeri = 0x04;
inline constexpr std::uint8_t kCts = 0x10;
inline constexpr std::uint8_t kDsr = 0x20;
inline constexpr std::uint8_t kRi = 0x40;
inline constexpr std::uint8_t kDcd = 0x80;
inline constexpr std::uint8_t kModemLines = 0xf0;

}  // namespace rhea::hw::uart
