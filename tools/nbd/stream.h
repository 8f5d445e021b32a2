// A connected socket, read and written by coroutines; numbers are big-endian, as NBD has them.
//
// One coroutine reads and one writes at a time. The context's thread.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "rhea/block/io_context.h"

namespace rhea::nbd {

class Stream {
  public:
    /// Takes the descriptor over and makes it non-blocking.
    Stream(block::IoContext& context, int fd);
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    /// All bytes; false: the peer went away.
    block::Task<bool> read(void* to, std::size_t length);
    block::Task<bool> write(const void* from, std::size_t length);
    /// Reads and forgets.
    block::Task<bool> skip(std::uint64_t length);
    /// Wakes a reader that waits: it sees the end of the stream.
    void shut_down();

  private:
    block::IoContext& context_;
    int fd_;
};

/// Bytes of a message under construction.
class Message {
  public:
    Message& u16(std::uint16_t value) { return number(value, 2); }
    Message& u32(std::uint32_t value) { return number(value, 4); }
    Message& u64(std::uint64_t value) { return number(value, 8); }
    Message& text(std::string_view text) {
        bytes_.insert(bytes_.end(), text.begin(), text.end());
        return *this;
    }
    Message& zeroes(std::size_t count) {
        bytes_.insert(bytes_.end(), count, 0);
        return *this;
    }
    const std::uint8_t* data() const { return bytes_.data(); }
    std::size_t size() const { return bytes_.size(); }

  private:
    Message& number(std::uint64_t value, unsigned size) {
        for (unsigned i = size; i-- > 0;) {
            bytes_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
        }
        return *this;
    }
    std::vector<std::uint8_t> bytes_;
};

/// Reads numbers out of a message; past its end everything is 0 and ok() is false.
class Reader {
  public:
    explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
    std::uint16_t u16() { return static_cast<std::uint16_t>(number(2)); }
    std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
    std::uint64_t u64() { return number(8); }
    std::string_view text(std::size_t length) {
        if (length > bytes_.size()) {
            ok_ = false;
            return {};
        }
        const std::string_view found(reinterpret_cast<const char*>(bytes_.data()), length);
        bytes_ = bytes_.subspan(length);
        return found;
    }
    bool ok() const { return ok_; }
    bool at_end() const { return bytes_.empty(); }

  private:
    std::uint64_t number(std::size_t size) {
        if (size > bytes_.size()) {
            ok_ = false;
            return 0;
        }
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < size; ++i) {
            value = value << 8 | bytes_[i];
        }
        bytes_ = bytes_.subspan(size);
        return value;
    }
    std::span<const std::uint8_t> bytes_;
    bool ok_ = true;
};

}  // namespace rhea::nbd
