// block::IoVector: the memory of one request, in pieces (guest memory is rarely in one).
//
// A plain value that refers to bytes and owns none; the bytes outlive the request. Few pieces are kept inline.
#pragma once
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace rhea::block {

class IoVector {
public:
    IoVector() = default;
    IoVector(void *base, std::size_t length) { append(base, length); }
    explicit IoVector(std::span<std::uint8_t> bytes) : IoVector(bytes.data(), bytes.size()) {}
    explicit IoVector(std::span<const iovec> pieces);

    void append(void *base, std::size_t length);
    /// All bytes together.
    std::uint64_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    std::span<const iovec> pieces() const;

    /// Bytes [offset, offset + length), which lie inside.
    IoVector slice(std::uint64_t offset, std::uint64_t length) const;
    void copy_to(std::uint64_t offset, void *to, std::size_t length) const;
    void copy_from(std::uint64_t offset, const void *from, std::size_t length) const;
    void fill(std::uint64_t offset, std::uint8_t value, std::uint64_t length) const;
    bool is_zero(std::uint64_t offset, std::uint64_t length) const;
    /// The host address of all bytes when they are one piece, else null.
    std::uint8_t *contiguous() const;

private:
    static constexpr std::size_t kInline = 4;
    iovec inline_[kInline];
    std::size_t count_ = 0;
    std::vector<iovec> more_; ///< all pieces, once there are more than kInline
    std::uint64_t size_ = 0;
};

} // namespace rhea::block
