// A byte stream to the outside: what a UART, a debug console or a monitor talks to.
//
// Device side. Called and calling back under the machine lock.
#pragma once
#include <cstdint>
#include <functional>
#include <span>

namespace rhea::core {

class CharBackend {
public:
    virtual ~CharBackend() = default;

    /// Sends bytes to the outside; returns how many were taken. Fewer than given: the outside is slow,
    /// and on_writable() is called when it takes more.
    virtual std::size_t write(std::span<const std::uint8_t> bytes) = 0;

    /// The device's receive side. `can_receive` says how many bytes the device takes now; `receive`
    /// gives at most that many. One front end at a time (a multiplexer switches between several).
    struct FrontEnd {
        std::function<std::size_t()> can_receive;
        std::function<void(std::span<const std::uint8_t>)> receive;
        std::function<void()> on_writable;                    ///< may be empty
        std::function<void(bool opened)> on_connection;       ///< may be empty
        std::function<void()> on_break;                       ///< may be empty
    };
    virtual void set_front_end(FrontEnd front_end) = 0;
    /// The device can take bytes again after can_receive() said 0.
    virtual void accept_input() = 0;
};

} // namespace rhea::core
