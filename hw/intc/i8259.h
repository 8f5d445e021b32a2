// One Intel 8259A programmable interrupt controller, as a pure state machine.
//
// It knows eight inputs, the INT output, INTA cycles and its two ports; what is wired to it (a
// second chip on IR2, a CPU) is the owner's business (hw/intc/isa_pic.h). The edge/level control
// register (ELCR) of PC chipsets is part of it. Source: Intel 8259A datasheet (231468-003) and
// 82371AB section 8.5. Under the machine lock.
#pragma once
#include <cstdint>

#include "rhea/core/archive.h"
#include "rhea/core/kernel_irqchip.h"

namespace rhea::hw {

class I8259 {
  public:
    /// `cascade_inputs`: inputs that carry a slave's INT. Their request follows the wire, since
    /// a slave's INT stays high exactly as long as it has something to say.
    I8259(std::uint8_t cascade_inputs, std::uint8_t elcr_mask)
        : cascade_inputs_(cascade_inputs), elcr_mask_(elcr_mask) {}

    void reset();
    void set_input(unsigned input, bool level);

    /// The INT pin.
    [[nodiscard]] bool output() const { return highest_request() >= 0; }
    /// An INTA cycle: the IR number that goes in service, or -1 when no request is left (the chip
    /// then answers with IR7 and no in-service bit).
    int acknowledge();
    /// The vector of IR `input`.
    [[nodiscard]] std::uint8_t vector(unsigned input) const {
        return static_cast<std::uint8_t>(vector_base_ | (input & 7));
    }

    /// Port accesses; `a0` is the address pin (command port: false, data port: true).
    std::uint8_t read(bool a0);
    void write(bool a0, std::uint8_t value);
    [[nodiscard]] std::uint8_t elcr() const { return elcr_; }
    void set_elcr(std::uint8_t value);

    [[nodiscard]] std::uint8_t irr() const { return irr_; }
    [[nodiscard]] std::uint8_t isr() const { return isr_; }
    [[nodiscard]] std::uint8_t imr() const { return imr_; }

    void serialize(core::Archive& archive);
    /// To and from a chip in the kernel.
    [[nodiscard]] core::PicState state() const;
    void set_state(const core::PicState& state);

  private:
    enum class InitState : std::uint8_t { kReady, kIcw2, kIcw3, kIcw4 };

    [[nodiscard]] int highest_request() const;
    [[nodiscard]] int highest_of(std::uint8_t bits) const;
    [[nodiscard]] std::uint8_t level_inputs() const;
    void write_icw1(std::uint8_t value);
    void write_ocw2(std::uint8_t value);
    void write_ocw3(std::uint8_t value);
    void write_init_word(std::uint8_t value);
    void refresh_level_requests();
    void end_of_interrupt(int input, bool rotate);

    std::uint8_t cascade_inputs_;
    std::uint8_t elcr_mask_;

    std::uint8_t lines_ = 0;  ///< levels of the input pins
    std::uint8_t irr_ = 0;
    std::uint8_t isr_ = 0;
    std::uint8_t imr_ = 0;
    std::uint8_t elcr_ = 0;
    std::uint8_t vector_base_ = 0;
    std::uint8_t lowest_priority_ = 7;  ///< the IR with the lowest priority
    InitState init_state_ = InitState::kReady;
    bool needs_icw4_ = false;
    bool single_ = false;
    bool level_triggered_ = false;  ///< ICW1.LTIM
    bool auto_eoi_ = false;
    bool rotate_on_auto_eoi_ = false;
    bool special_mask_ = false;
    bool special_fully_nested_ = false;
    bool poll_ = false;
    bool read_isr_ = false;
};

}  // namespace rhea::hw
