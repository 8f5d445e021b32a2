// Ports for device tests: a character back end and an interrupt line that remember.
#pragma once
#include <algorithm>
#include <span>
#include <string>

#include "rhea/core/char_backend.h"
#include "rhea/core/irq.h"

namespace rhea::test {

/// Takes up to `room` bytes in all; send() is the outside typing.
class FakeChar final : public core::CharBackend {
  public:
    std::string taken;
    std::size_t room = ~std::size_t{0};
    FrontEnd front_end;
    unsigned accept_calls = 0;

    std::size_t write(std::span<const std::uint8_t> bytes) override {
        const std::size_t count = std::min(room, bytes.size());
        room -= count;
        taken.append(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
        return count;
    }
    void set_front_end(FrontEnd end) override { front_end = std::move(end); }
    void accept_input() override {
        ++accept_calls;
        send("");
    }

    /// Gives what the device has room for; keeps the rest for accept_input().
    void send(std::string_view text) {
        waiting += text;
        while (!waiting.empty()) {
            const std::size_t count = std::min(waiting.size(), front_end.can_receive());
            if (count == 0) {
                return;
            }
            const std::string now = waiting.substr(0, count);
            waiting.erase(0, count);
            front_end.receive({reinterpret_cast<const std::uint8_t*>(now.data()), now.size()});
        }
    }
    /// The outside takes `count` more bytes.
    void make_room(std::size_t count) {
        room += count;
        front_end.on_writable();
    }
    std::string waiting;
};

/// One interrupt input.
class FakeIrq final : public core::IrqSink {
  public:
    bool level = false;
    unsigned rises = 0;

    core::IrqLine line() { return {*this, 0}; }
    void set_irq(int, bool now) override {
        rises += now && !level ? 1 : 0;
        level = now;
    }
};

}  // namespace rhea::test
