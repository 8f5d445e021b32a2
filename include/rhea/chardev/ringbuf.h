// A chardev that keeps the last bytes of output in memory, for `ringbuf_read`.
//
// Bytes are counted from the beginning: the reader takes what is there, the oldest are lost when the
// writer laps it. Under the machine lock.
#pragma once
#include <string>
#include <vector>

#include "rhea/chardev/chardev.h"

namespace rhea::chardev {

class RingBuffer final : public Chardev {
  public:
    /// `size` is a power of two.
    RingBuffer(std::string id, std::size_t size);
    std::string describe() const override { return "ringbuf"; }
    /// Takes up to `limit` bytes of what was written, oldest first.
    std::string take(std::size_t limit);
    /// Gives bytes to the front end as if they came from outside; returns how many it took.
    std::size_t inject(std::string_view bytes);

  private:
    std::size_t send(std::span<const std::uint8_t> bytes) override;
    std::vector<std::uint8_t> buffer_;
    std::uint64_t written_ = 0, taken_ = 0;
};

}  // namespace rhea::chardev
