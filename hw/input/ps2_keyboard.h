// A PS/2 keyboard (101/102 keys) that knows scan code sets 1, 2 and 3.
//
// Keys held down are not repeated here: displays deliver their host's repeats as further presses.
// Under the machine lock. Source: IBM PS/2 Hardware Interface Technical Reference, keyboards.
#pragma once
#include "hw/input/ps2_device.h"
#include "hw/input/scancodes.h"

namespace rhea::hw {

class Ps2Keyboard final : public Ps2Device {
  public:
    /// A key went down (or repeats) or up.
    void key(KeyNumber number, bool pressed);
    /// Bits 0..2: Scroll Lock, Num Lock, Caps Lock, as the guest set them.
    [[nodiscard]] std::uint8_t leds() const { return leds_; }
    void on_leds(std::function<void(std::uint8_t)> handler) { on_leds_ = std::move(handler); }

    void receive(std::uint8_t byte) override;
    void reset() override;
    void serialize(core::Archive& archive) override;

  private:
    /// Set 3: which keys send break codes.
    enum class Breaks : std::uint8_t { kModifiers, kAll, kNone };

    struct Command;
    static const Command kCommands[];

    void set_defaults();
    void set_leds(std::uint8_t value);
    bool argument(std::uint8_t byte);

    std::uint8_t waiting_for_ = 0;  ///< the command whose argument comes next; 0: none
    std::uint8_t set_ = 2;
    std::uint8_t leds_ = 0;
    std::uint8_t typematic_ = 0x2b;
    bool scanning_ = true;
    bool overrun_ = false;  ///< the buffer is full and its overrun code is queued
    Breaks set3_breaks_ = Breaks::kModifiers;
    std::function<void(std::uint8_t)> on_leds_;
};

}  // namespace rhea::hw
