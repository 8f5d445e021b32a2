// A PS/2 mouse with a wheel and five buttons (IntelliMouse and IntelliMouse Explorer protocols,
// entered by the usual sequences of sample rates). Under the machine lock.
// Source: IBM PS/2 Hardware Interface Technical Reference, mouse; Microsoft's IntelliMouse notes.
#pragma once
#include <array>

#include "hw/input/ps2_device.h"

namespace rhea::hw {

class Ps2Mouse final : public Ps2Device {
  public:
    enum Button : std::uint8_t {
        kLeft = 1,
        kRight = 2,
        kMiddle = 4,
        kSide = 8,
        kExtra = 16,
    };

    /// Relative movement (right, down and wheel towards the user are positive) and the buttons that
    /// are held now.
    void move(int dx, int dy, int wheel, std::uint8_t buttons);

    void receive(std::uint8_t byte) override;
    void reset() override;
    void serialize(core::Archive& archive) override;

  private:
    struct Command;
    static const Command kCommands[];

    void set_defaults();
    void set_sample_rate(std::uint8_t rate);
    [[nodiscard]] std::uint8_t status() const;
    [[nodiscard]] bool moved() const { return dx_ || dy_ || wheel_ || buttons_ != sent_buttons_; }
    /// The next packet, taken from the gathered movement.
    [[nodiscard]] std::array<std::uint8_t, 4> make_packet();
    [[nodiscard]] std::size_t packet_length() const { return id_ == 0 ? 3 : 4; }
    void send_movement();
    void event_taken() override { send_movement(); }

    std::uint8_t waiting_for_ = 0;
    std::uint8_t id_ = 0;  ///< 0: standard, 3: with wheel, 4: with wheel and five buttons
    std::uint8_t sample_rate_ = 100;
    std::uint8_t resolution_ = 2;
    bool scaling_2_to_1_ = false;
    bool reporting_ = false;
    bool remote_ = false;
    bool wrap_ = false;
    std::uint8_t buttons_ = 0, sent_buttons_ = 0;
    std::int32_t dx_ = 0, dy_ = 0, wheel_ = 0;
    std::array<std::uint8_t, 2> earlier_rates_{};
};

}  // namespace rhea::hw
