// A page-aligned buffer, fit for O_DIRECT, and looking for zeroes in one.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace rhea::img {

class Buffer {
  public:
    explicit Buffer(std::size_t size) : size_(size) {
        constexpr std::size_t kAlignment = 4096;
        const std::size_t rounded = (size + kAlignment - 1) / kAlignment * kAlignment;
        bytes_.reset(static_cast<std::uint8_t*>(std::aligned_alloc(kAlignment, rounded ? rounded : kAlignment)));
        if (!bytes_) {
            throw std::bad_alloc();
        }
    }
    std::uint8_t* data() const { return bytes_.get(); }
    std::size_t size() const { return size_; }

  private:
    struct Free {
        void operator()(std::uint8_t* bytes) const { std::free(bytes); }
    };
    std::unique_ptr<std::uint8_t, Free> bytes_;
    std::size_t size_;
};

/// Is everything zero? memcmp with itself, shifted by a byte, runs at the speed of the library's vector code.
inline bool all_zero(const std::uint8_t* bytes, std::size_t length) {
    return length == 0 || (bytes[0] == 0 && std::memcmp(bytes, bytes + 1, length - 1) == 0);
}

}  // namespace rhea::img
