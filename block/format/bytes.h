// Numbers in the headers of image files: little and big endian, at any address.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>

namespace rhea::block {

template <typename T> T load_le(const void *from) {
    static_assert(std::endian::native == std::endian::little);
    T value;
    std::memcpy(&value, from, sizeof(value));
    return value;
}
template <typename T> void store_le(void *to, T value) { std::memcpy(to, &value, sizeof(value)); }

template <typename T> T swap_bytes(T value) {
    if constexpr (sizeof(T) == 2)
        return static_cast<T>(__builtin_bswap16(value));
    else if constexpr (sizeof(T) == 4)
        return static_cast<T>(__builtin_bswap32(value));
    else
        return static_cast<T>(__builtin_bswap64(value));
}
template <typename T> T load_be(const void *from) { return swap_bytes(load_le<T>(from)); }
template <typename T> void store_be(void *to, T value) { store_le(to, swap_bytes(value)); }

inline std::uint16_t load_le16(const void *from) { return load_le<std::uint16_t>(from); }
inline std::uint32_t load_le32(const void *from) { return load_le<std::uint32_t>(from); }
inline std::uint64_t load_le64(const void *from) { return load_le<std::uint64_t>(from); }
inline std::uint16_t load_be16(const void *from) { return load_be<std::uint16_t>(from); }
inline std::uint32_t load_be32(const void *from) { return load_be<std::uint32_t>(from); }
inline std::uint64_t load_be64(const void *from) { return load_be<std::uint64_t>(from); }

inline void store_le16(void *to, std::uint16_t value) { store_le(to, value); }
inline void store_le32(void *to, std::uint32_t value) { store_le(to, value); }
inline void store_le64(void *to, std::uint64_t value) { store_le(to, value); }
inline void store_be16(void *to, std::uint16_t value) { store_be(to, value); }
inline void store_be32(void *to, std::uint32_t value) { store_be(to, value); }
inline void store_be64(void *to, std::uint64_t value) { store_be(to, value); }

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }
constexpr std::uint64_t divide_up(std::uint64_t value, std::uint64_t unit) { return value / unit + (value % unit != 0); }

/// [offset, offset + length) lies inside [0, end), without overflow.
constexpr bool range_fits(std::uint64_t offset, std::uint64_t length, std::uint64_t end) {
    return offset <= end && length <= end - offset;
}

} // namespace rhea::block
