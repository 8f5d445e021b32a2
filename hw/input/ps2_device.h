// What hangs on a PS/2 connector: takes bytes from the controller and queues bytes for it.
//
// Answers to commands go before input events, and an event is queued as a whole or not at all.
// Under the machine lock.
#pragma once
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <vector>

#include "rhea/core/archive.h"

namespace rhea::hw {

class Ps2Device {
  public:
    virtual ~Ps2Device() = default;
    Ps2Device(const Ps2Device&) = delete;
    Ps2Device& operator=(const Ps2Device&) = delete;

    /// A byte from the host.
    virtual void receive(std::uint8_t byte) = 0;
    [[nodiscard]] bool has_data() const { return !answers_.empty() || !events_.empty(); }
    /// The next byte for the host; only when has_data().
    std::uint8_t take();
    /// Called when bytes were queued.
    void on_data(std::function<void()> handler) { on_data_ = std::move(handler); }

    virtual void reset() = 0;
    virtual void serialize(core::Archive& archive);

  protected:
    static constexpr std::uint8_t kAck = 0xfa;
    static constexpr std::uint8_t kResend = 0xfe;
    static constexpr std::uint8_t kSelfTestPassed = 0xaa;
    static constexpr std::size_t kEventBytes = 16;  ///< of an AT keyboard's buffer

    Ps2Device() = default;
    void answer(std::initializer_list<std::uint8_t> bytes);
    /// False: no room for all of it, nothing was queued.
    bool send_event(std::span<const std::uint8_t> bytes);
    void clear_events() { events_.clear(); }
    void clear_all();
    [[nodiscard]] std::size_t event_room() const { return kEventBytes - events_.size(); }
    [[nodiscard]] std::uint8_t last_sent() const { return last_sent_; }
    /// After a byte was taken: room for further events.
    virtual void event_taken() {}

  private:
    void queued();

    std::vector<std::uint8_t> answers_, events_;
    std::uint8_t last_sent_ = 0;
    std::function<void()> on_data_;
};

}  // namespace rhea::hw
