// The memory that guest and host instructions work on: one code page and three data pages (the third read-only) at the
// same low addresses in this process and in the one that runs instructions natively.
#pragma once
#include <cstddef>
#include <cstdint>

namespace rhea::target::x86::diff {

inline constexpr std::uint64_t kCodeAddress = 0x20000000;
inline constexpr std::uint64_t kDataAddress = 0x20010000;
inline constexpr std::uint64_t kReadOnlyAddress = kDataAddress + 0x2000;
inline constexpr std::size_t kCodeSize = 0x1000, kWritableSize = 0x2000, kReadOnlySize = 0x1000;
inline constexpr std::size_t kArenaSize = kCodeSize + kWritableSize + kReadOnlySize;
/// Where the instruction under test begins in the code page.
inline constexpr std::uint64_t kCodeOffset = 0x800;
inline constexpr std::uint64_t kStart = kCodeAddress + kCodeOffset;

/// Maps the pages, shared with children. Once a process.
class Arena {
public:
    Arena();
    ~Arena();
    Arena(const Arena &) = delete;
    Arena &operator=(const Arena &) = delete;

    /// The memory behind it: code, then data.
    int fd() const { return fd_; }
    std::uint8_t *code() const { return reinterpret_cast<std::uint8_t *>(kStart); }
    std::uint8_t *data() const { return reinterpret_cast<std::uint8_t *>(kDataAddress); }
    std::uint8_t *read_only() const { return reinterpret_cast<std::uint8_t *>(kReadOnlyAddress); }

private:
    int fd_;
};

} // namespace rhea::target::x86::diff
