// Backends without a host descriptor: null, vc (no display: null), ringbuf.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "chardev/backends.h"
#include "rhea/chardev/ringbuf.h"

namespace rhea::chardev {
namespace {

class NullChardev final : public Chardev {
  public:
    NullChardev(std::string id, std::string_view name) : Chardev(std::move(id)), name_(name) {
        set_connected(true);
    }
    std::string describe() const override { return std::string(name_); }

  private:
    std::size_t send(std::span<const std::uint8_t> bytes) override { return bytes.size(); }
    std::string_view name_;
};

}  // namespace

RingBuffer::RingBuffer(std::string id, std::size_t size) : Chardev(std::move(id)), buffer_(size) {
    set_connected(true);
}

std::size_t RingBuffer::send(std::span<const std::uint8_t> bytes) {
    for (const std::uint8_t byte : bytes) {
        buffer_[written_++ & (buffer_.size() - 1)] = byte;
    }
    if (written_ - taken_ > buffer_.size()) {
        taken_ = written_ - buffer_.size();
    }
    return bytes.size();
}

std::string RingBuffer::take(std::size_t limit) {
    std::string text;
    while (taken_ < written_ && text.size() < limit) {
        text += static_cast<char>(buffer_[taken_++ & (buffer_.size() - 1)]);
    }
    return text;
}

std::size_t RingBuffer::inject(std::string_view bytes) {
    const std::size_t count = std::min(room(), bytes.size());
    if (count > 0) {
        deliver({reinterpret_cast<const std::uint8_t*>(bytes.data()), count});
    }
    return count;
}

util::Result<std::unique_ptr<Chardev>> make_null(const BackendContext&, std::string id,
                                                 util::OptionList&) {
    return std::make_unique<NullChardev>(std::move(id), "null");
}

util::Result<std::unique_ptr<Chardev>> make_vc(const BackendContext&, std::string id,
                                               util::OptionList& options) {
    // Its size belongs to a window, which a run without display does not have.
    for (const char* key : {"width", "height", "cols", "rows"}) {
        options.take(key);
    }
    return std::make_unique<NullChardev>(std::move(id), "vc");
}

util::Result<std::unique_ptr<Chardev>> make_ringbuf(const BackendContext&, std::string id,
                                                    util::OptionList& options) {
    std::uint64_t size = 65536;
    if (const auto text = options.take("size")) {
        const auto parsed = util::parse_size(*text);
        if (!parsed) {
            return util::fail(parsed.error());
        }
        size = *parsed;
    }
    if (!std::has_single_bit(size) || size > (64u << 20)) {
        return util::fail("the size of a ringbuf is a power of two up to 64M, not {}", size);
    }
    return std::make_unique<RingBuffer>(std::move(id), size);
}

}  // namespace rhea::chardev
