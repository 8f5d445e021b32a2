#include "block/qcow2/bitmap_bits.h"

#include <algorithm>

namespace rhea::block::qcow2 {

void BitmapBits::mark(std::uint64_t offset, std::uint64_t length) {
    if (length == 0 || offset >= disk_size_)
        return;
    std::uint64_t bit = offset >> granularity_bits_;
    const std::uint64_t end = ((offset + std::min(length, disk_size_ - offset) - 1) >> granularity_bits_) + 1;
    while (bit < end) {
        if (bit % 8 == 0 && end - bit >= 8) {
            const std::uint64_t whole = (end - bit) / 8;
            std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(bit / 8), whole, std::uint8_t{0xff});
            bit += whole * 8;
        } else {
            bytes_[bit / 8] |= static_cast<std::uint8_t>(1u << (bit % 8));
            ++bit;
        }
    }
}

void BitmapBits::merge(const BitmapBits &other) {
    if (other.granularity_bits_ == granularity_bits_) {
        const std::size_t both = std::min(bytes_.size(), other.bytes_.size());
        for (std::size_t i = 0; i < both; ++i)
            bytes_[i] |= other.bytes_[i];
        if (const unsigned used = size() % 8; used != 0 && !bytes_.empty()) // bits behind the end stay zero
            bytes_.back() &= static_cast<std::uint8_t>((1u << used) - 1);
        return;
    }
    for (std::uint64_t bit = 0; bit < other.size(); ++bit) {
        if (bit % 8 == 0 && other.bytes_[bit / 8] == 0)
            bit += 7;
        else if (other.get(bit))
            mark(bit << other.granularity_bits_, 1ull << other.granularity_bits_);
    }
}

} // namespace rhea::block::qcow2
