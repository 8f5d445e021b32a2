// The bits of one dirty bitmap in memory: a bit for each `granularity` bytes of the disk, as the image stores them (the lowest bit
// of the first byte is the first).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace rhea::block::qcow2 {

class BitmapBits {
public:
    BitmapBits(std::uint64_t disk_size, unsigned granularity_bits)
        : disk_size_(disk_size), granularity_bits_(granularity_bits), bytes_((bits_of(disk_size, granularity_bits) + 7) / 8) {}

    static std::uint64_t bits_of(std::uint64_t disk_size, unsigned granularity_bits) {
        return (disk_size >> granularity_bits) + ((disk_size & ((1ull << granularity_bits) - 1)) != 0);
    }

    std::uint64_t size() const { return bits_of(disk_size_, granularity_bits_); } ///< bits
    unsigned granularity_bits() const { return granularity_bits_; }
    std::span<std::uint8_t> bytes() { return bytes_; }
    std::span<const std::uint8_t> bytes() const { return bytes_; }
    bool get(std::uint64_t bit) const { return bytes_[bit / 8] >> (bit % 8) & 1; }

    /// Sets the bits that [offset, offset + length) of the disk touches; what is behind the disk's end is left out.
    void mark(std::uint64_t offset, std::uint64_t length);
    /// Sets all that `other` has, of a disk of any size and with any granularity.
    void merge(const BitmapBits &other);

private:
    std::uint64_t disk_size_;
    unsigned granularity_bits_;
    std::vector<std::uint8_t> bytes_;
};

} // namespace rhea::block::qcow2
