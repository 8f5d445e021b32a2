// Random identifiers for new images.
#pragma once
#include <sys/random.h>

#include <array>
#include <cstdint>

namespace rhea::block {

using Uuid = std::array<std::uint8_t, 16>;

/// A random UUID (RFC 4122, version 4), in the byte order of `big_endian` or of Microsoft's GUIDs.
inline Uuid random_uuid(bool big_endian) {
    Uuid uuid{};
    [[maybe_unused]] const auto got = getrandom(uuid.data(), uuid.size(), 0);
    const std::size_t version = big_endian ? 6 : 7; // time_hi_and_version is 16 bits at 6
    uuid[version] = (uuid[version] & 0x0f) | 0x40;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    return uuid;
}

inline std::uint32_t random_number() {
    std::uint32_t number = 0;
    [[maybe_unused]] const auto got = getrandom(&number, sizeof(number), 0);
    return number;
}

} // namespace rhea::block
