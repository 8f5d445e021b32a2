// The keyboard controller of a PC ("i8042") with a PS/2 keyboard and mouse.
//
// Ports 0x60 (data) and 0x64 (command, status). One output buffer: the controller's answers go
// first, then the keyboard's bytes (translated to set 1 when the command byte says so), then the
// mouse's. IRQ 1 and 12 are levels that follow the output buffer. Under the machine lock.
// Source: IBM PS/2 Hardware Interface Technical Reference, keyboard and auxiliary device
// controller.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "hw/input/ps2_keyboard.h"
#include "hw/input/ps2_mouse.h"
#include "rhea/core/device.h"
#include "rhea/core/irq.h"
#include "rhea/core/machine.h"
#include "rhea/core/memory.h"
#include "rhea/core/register_bank.h"

namespace rhea::hw {

class I8042 final : public core::Device {
  public:
    struct Ports {
        core::MachineRequests& requests;
        core::IrqLine keyboard_irq;  ///< IRQ 1
        core::IrqLine mouse_irq;     ///< IRQ 12
        core::IrqLine a20;           ///< high: the gate is open
    };

    explicit I8042(const Ports& ports);

    void map(core::MemoryRegion& io_root);
    /// Where displays deliver input.
    [[nodiscard]] Ps2Keyboard& keyboard() { return keyboard_; }
    [[nodiscard]] Ps2Mouse& mouse() { return mouse_; }

    [[nodiscard]] std::string_view type() const override { return "i8042"; }
    void reset() override;
    void serialize(core::Archive& archive) override;

  private:
    struct Command;
    static const Command kCommands[];
    /// Whose byte the output buffer holds, or an answer is for.
    enum class Source : std::uint8_t { kNone, kKeyboard, kMouse };
    /// Handles the byte that follows a command.
    using DataHandler = void (I8042::*)(std::uint8_t command, std::uint8_t data);

    std::uint8_t read_data();
    void write_data(std::uint8_t value);
    [[nodiscard]] std::uint8_t status() const;
    void write_command(std::uint8_t value);

    void data_to_ram(std::uint8_t command, std::uint8_t data);
    void data_to_output_port(std::uint8_t command, std::uint8_t data);
    void data_to_output_buffer(std::uint8_t command, std::uint8_t data);
    void data_to_mouse(std::uint8_t command, std::uint8_t data);

    void answer(std::uint8_t value, Source source = Source::kKeyboard);
    void set_command_byte(std::uint8_t value);
    void set_output_port(std::uint8_t value);
    [[nodiscard]] std::uint8_t output_port() const;
    void request_reset();
    /// Fills the output buffer if it is empty and somebody has a byte.
    void refill();
    bool keyboard_byte(std::uint8_t& byte);
    void update_irqs();

    struct Answer {
        std::uint8_t value;
        Source source;
    };

    Ports ports_;
    Ps2Keyboard keyboard_;
    Ps2Mouse mouse_;
    std::array<std::uint8_t, 32> ram_{};  ///< byte 0 is the command byte
    std::uint8_t output_port_ = 0;
    std::uint8_t pending_command_ = 0;  ///< whose data byte comes next; 0: none
    std::uint8_t buffer_ = 0;
    Source buffer_source_ = Source::kNone;  ///< kNone: the output buffer is empty
    bool last_write_was_command_ = false;
    bool break_prefix_ = false;  ///< translation: 0xf0 was taken from the keyboard
    bool refilling_ = false;     ///< a device queued bytes while one was taken from it
    std::vector<Answer> answers_;
    core::RegisterBank data_bank_, command_bank_;
    std::unique_ptr<core::MemoryRegion> data_region_, command_region_;
};

}  // namespace rhea::hw
