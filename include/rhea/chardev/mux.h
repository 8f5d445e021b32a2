// Several front ends on one Chardev: the guest's serial port and the monitor on one terminal.
//
// Output of all ports goes out; input goes to the port that has the focus. The escape character
// (Ctrl-A) followed by a letter is a command to the multiplexer; Ctrl-A h lists them. Input that the
// focused port does not take yet waits, up to a bound. Under the machine lock.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "rhea/chardev/chardev.h"

namespace rhea::chardev {

class Mux;

/// One front end's share of a multiplexed Chardev.
class MuxPort final : public core::CharBackend {
  public:
    explicit MuxPort(Mux& mux) : mux_(mux) {}
    std::size_t write(std::span<const std::uint8_t> bytes) override;
    void set_front_end(FrontEnd front_end) override;
    void accept_input() override;
    /// Told when this port gets (true) or loses (false) the focus.
    void set_focus_handler(std::function<void(bool)> handler) { on_focus_ = std::move(handler); }
    bool focused() const;

  private:
    friend class Mux;
    Mux& mux_;
    FrontEnd front_end_;
    std::function<void(bool)> on_focus_;
    std::deque<std::uint8_t> waiting_;
};

class Mux {
  public:
    /// `quit` is what Ctrl-A x does.
    Mux(Chardev& chardev, std::uint8_t escape, std::function<void()> quit);
    ~Mux();
    Mux(const Mux&) = delete;
    Mux& operator=(const Mux&) = delete;

    Chardev& chardev() { return chardev_; }
    /// A new port; the first one has the focus. Fails when there are too many.
    [[nodiscard]] util::Result<MuxPort*> add_port();
    void focus(MuxPort& port);

  private:
    friend class MuxPort;
    static constexpr std::size_t kMaxPorts = 4;
    static constexpr std::size_t kMaxWaiting = 1024;

    std::size_t room() const;
    void receive(std::span<const std::uint8_t> bytes);
    void command(std::uint8_t letter);
    void give(std::uint8_t byte);
    void pump(MuxPort& port);
    void print(std::string_view text);
    std::size_t write_with_time(std::span<const std::uint8_t> bytes);

    Chardev& chardev_;
    std::uint8_t escape_;
    std::function<void()> quit_;
    std::vector<std::unique_ptr<MuxPort>> ports_;
    std::size_t focused_ = 0;
    bool escaped_ = false;
    bool timestamps_ = false;
    bool line_start_ = true;
    std::int64_t first_stamp_ms_ = -1;
};

}  // namespace rhea::chardev
