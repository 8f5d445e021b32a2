// Feature and status bits that all virtio devices share. Source: Virtual I/O Device (VIRTIO) 1.2, sections 2.1 and 6; 5.x have
// the devices' own.
#pragma once
#include <cstdint>

namespace rhea::hw::virtio {

constexpr std::uint64_t bit(unsigned number) { return std::uint64_t{1} << number; }

inline constexpr std::uint64_t kNotifyOnEmpty = bit(24); ///< legacy: interrupt when the ring ran empty, whatever the driver says
inline constexpr std::uint64_t kAnyLayout = bit(27);
inline constexpr std::uint64_t kRingIndirectDesc = bit(28);
inline constexpr std::uint64_t kRingEventIdx = bit(29);
inline constexpr std::uint64_t kVersion1 = bit(32);
inline constexpr std::uint64_t kRingPacked = bit(34);
inline constexpr std::uint64_t kRingReset = bit(40);
/// Features that mean something without VERSION_1 only.
inline constexpr std::uint64_t kLegacyOnly = kNotifyOnEmpty | kAnyLayout;

inline constexpr std::uint8_t kStatusAcknowledge = 1;
inline constexpr std::uint8_t kStatusDriver = 2;
inline constexpr std::uint8_t kStatusDriverOk = 4;
inline constexpr std::uint8_t kStatusFeaturesOk = 8;
inline constexpr std::uint8_t kStatusNeedsReset = 64;
inline constexpr std::uint8_t kStatusFailed = 128;

inline constexpr std::uint16_t kNoVector = 0xffff;
inline constexpr unsigned kMaxQueues = 1024;
inline constexpr unsigned kMaxQueueSize = 1024;

/// Device ids (section 5).
inline constexpr std::uint16_t kDeviceBlock = 2;
inline constexpr std::uint16_t kDeviceScsi = 8;

} // namespace rhea::hw::virtio
