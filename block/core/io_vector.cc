#include "rhea/block/io_vector.h"

#include <algorithm>
#include <cstring>

namespace rhea::block {
namespace {

/// Calls `visit(address, length)` for the parts of bytes [offset, offset + length); stops when it returns false.
template <typename Visit>
void for_range(std::span<const iovec> pieces, std::uint64_t offset, std::uint64_t length, Visit &&visit) {
    for (const iovec &piece : pieces) {
        if (length == 0)
            return;
        if (offset >= piece.iov_len) {
            offset -= piece.iov_len;
            continue;
        }
        const std::uint64_t here = std::min<std::uint64_t>(length, piece.iov_len - offset);
        if (!visit(static_cast<std::uint8_t *>(piece.iov_base) + offset, static_cast<std::size_t>(here)))
            return;
        length -= here;
        offset = 0;
    }
}

bool all_zero(const std::uint8_t *bytes, std::size_t length) {
    // The first byte is zero and each equals its neighbour: memcmp knows the host's widest registers.
    return length == 0 || (bytes[0] == 0 && std::memcmp(bytes, bytes + 1, length - 1) == 0);
}

} // namespace

IoVector::IoVector(std::span<const iovec> pieces) {
    for (const iovec &piece : pieces)
        append(piece.iov_base, piece.iov_len);
}

void IoVector::append(void *base, std::size_t length) {
    if (length == 0)
        return;
    const iovec piece{base, length};
    size_ += length;
    if (count_ < kInline && more_.empty()) {
        inline_[count_++] = piece;
        return;
    }
    if (more_.empty())
        more_.assign(inline_, inline_ + count_);
    more_.push_back(piece);
    ++count_;
}

std::span<const iovec> IoVector::pieces() const {
    return more_.empty() ? std::span(inline_, count_) : std::span(more_);
}

IoVector IoVector::slice(std::uint64_t offset, std::uint64_t length) const {
    IoVector part;
    for_range(pieces(), offset, length, [&](std::uint8_t *at, std::size_t size) {
        part.append(at, size);
        return true;
    });
    return part;
}

void IoVector::copy_to(std::uint64_t offset, void *to, std::size_t length) const {
    auto *out = static_cast<std::uint8_t *>(to);
    for_range(pieces(), offset, length, [&](const std::uint8_t *at, std::size_t size) {
        std::memcpy(out, at, size);
        out += size;
        return true;
    });
}

void IoVector::copy_from(std::uint64_t offset, const void *from, std::size_t length) const {
    const auto *in = static_cast<const std::uint8_t *>(from);
    for_range(pieces(), offset, length, [&](std::uint8_t *at, std::size_t size) {
        std::memcpy(at, in, size);
        in += size;
        return true;
    });
}

void IoVector::fill(std::uint64_t offset, std::uint8_t value, std::uint64_t length) const {
    for_range(pieces(), offset, length, [&](std::uint8_t *at, std::size_t size) {
        std::memset(at, value, size);
        return true;
    });
}

bool IoVector::is_zero(std::uint64_t offset, std::uint64_t length) const {
    bool zero = true;
    for_range(pieces(), offset, length, [&](const std::uint8_t *at, std::size_t size) {
        return zero = all_zero(at, size);
    });
    return zero;
}

std::uint8_t *IoVector::contiguous() const {
    const auto all = pieces();
    return all.size() == 1 ? static_cast<std::uint8_t *>(all[0].iov_base) : nullptr;
}

} // namespace rhea::block
