#include "hw/intc/i8259.h"

#include <array>

namespace rhea::hw {
namespace {

constexpr std::uint8_t bit(unsigned n) {
    return static_cast<std::uint8_t>(1u << (n & 7));
}

// ICW1
constexpr std::uint8_t kIcw1Ic4 = 0x01;
constexpr std::uint8_t kIcw1Sngl = 0x02;
constexpr std::uint8_t kIcw1Ltim = 0x08;
constexpr std::uint8_t kIcw1 = 0x10;  ///< tells ICW1 from OCW2 and OCW3
// ICW4
constexpr std::uint8_t kIcw4Aeoi = 0x02;
constexpr std::uint8_t kIcw4Sfnm = 0x10;
// OCW3
constexpr std::uint8_t kOcw3 = 0x08;  ///< tells OCW3 from OCW2
constexpr std::uint8_t kOcw3Ris = 0x01;
constexpr std::uint8_t kOcw3Rr = 0x02;
constexpr std::uint8_t kOcw3Poll = 0x04;
constexpr std::uint8_t kOcw3Smm = 0x20;
constexpr std::uint8_t kOcw3Esmm = 0x40;

}  // namespace

void I8259::reset() {
    // The inputs belong to the devices, which reset on their own.
    const std::uint8_t lines = lines_;
    *this = I8259(cascade_inputs_, elcr_mask_);
    lines_ = lines;
}

std::uint8_t I8259::level_inputs() const {
    return level_triggered_ ? 0xff : static_cast<std::uint8_t>(elcr_ | cascade_inputs_);
}

void I8259::refresh_level_requests() {
    const std::uint8_t level = level_inputs();
    irr_ = static_cast<std::uint8_t>((irr_ & ~level) | (lines_ & level));
}

void I8259::set_input(unsigned input, bool level) {
    const std::uint8_t mask = bit(input);
    const bool rising = level && !(lines_ & mask);
    lines_ = static_cast<std::uint8_t>(level ? lines_ | mask : lines_ & ~mask);
    if (level_inputs() & mask) {
        refresh_level_requests();
    } else if (rising) {
        irr_ |= mask;
    }
}

/// The bit of `bits` with the highest priority, or -1.
int I8259::highest_of(std::uint8_t bits) const {
    for (unsigned i = 1; i <= 8; ++i) {
        const unsigned input = (lowest_priority_ + i) & 7;
        if (bits & bit(input)) {
            return static_cast<int>(input);
        }
    }
    return -1;
}

/// The request that the priority resolver lets through, or -1.
int I8259::highest_request() const {
    if (init_state_ != InitState::kReady) {
        return -1;
    }
    std::uint8_t in_service = isr_;
    if (special_mask_) {
        in_service &= static_cast<std::uint8_t>(~imr_);
    }
    const auto requests = static_cast<std::uint8_t>(irr_ & ~imr_);
    for (unsigned i = 1; i <= 8; ++i) {
        const unsigned input = (lowest_priority_ + i) & 7;
        const std::uint8_t mask = bit(input);
        // In special fully nested mode a slave in service may interrupt again.
        const bool nests = special_fully_nested_ && (cascade_inputs_ & mask);
        if ((in_service & mask) && !nests) {
            return -1;
        }
        if (requests & mask) {
            return static_cast<int>(input);
        }
        if (in_service & mask) {
            return -1;
        }
    }
    return -1;
}

int I8259::acknowledge() {
    const int input = highest_request();
    if (input < 0) {
        return -1;
    }
    const std::uint8_t mask = bit(static_cast<unsigned>(input));
    if (!(level_inputs() & mask)) {
        irr_ &= static_cast<std::uint8_t>(~mask);
    }
    if (!auto_eoi_) {
        isr_ |= mask;
    } else if (rotate_on_auto_eoi_) {
        lowest_priority_ = static_cast<std::uint8_t>(input);
    }
    return input;
}

std::uint8_t I8259::read(bool a0) {
    if (poll_) {
        // OCW3 poll: the next read is an INTA cycle and gives the level.
        poll_ = false;
        const int input = acknowledge();
        return input < 0 ? 0 : static_cast<std::uint8_t>(0x80 | input);
    }
    if (a0) {
        return imr_;
    }
    return read_isr_ ? isr_ : irr_;
}

void I8259::write(bool a0, std::uint8_t value) {
    if (!a0) {
        if (value & kIcw1) {
            write_icw1(value);
        } else if (value & kOcw3) {
            write_ocw3(value);
        } else {
            write_ocw2(value);
        }
    } else if (init_state_ != InitState::kReady) {
        write_init_word(value);
    } else {
        imr_ = value;  // OCW1
    }
}

void I8259::write_icw1(std::uint8_t value) {
    // "Initialization Command Words": the edge sense circuit is reset, IMR is cleared, IR7 gets
    // the lowest priority, special mask mode is cleared, status read is set to IRR, and without
    // IC4 all functions of ICW4 are zero.
    imr_ = 0;
    isr_ = 0;
    irr_ = 0;
    lowest_priority_ = 7;
    special_mask_ = false;
    read_isr_ = false;
    poll_ = false;
    rotate_on_auto_eoi_ = false;
    needs_icw4_ = value & kIcw1Ic4;
    single_ = value & kIcw1Sngl;
    level_triggered_ = value & kIcw1Ltim;
    auto_eoi_ = false;
    special_fully_nested_ = false;
    init_state_ = InitState::kIcw2;
    refresh_level_requests();
}

void I8259::write_init_word(std::uint8_t value) {
    switch (init_state_) {
        case InitState::kIcw2:
            vector_base_ = value & 0xf8;
            init_state_ = !single_      ? InitState::kIcw3
                          : needs_icw4_ ? InitState::kIcw4
                                        : InitState::kReady;
            break;
        case InitState::kIcw3:
            // The cascade wiring of a PC is fixed; what ICW3 says about it is not needed.
            init_state_ = needs_icw4_ ? InitState::kIcw4 : InitState::kReady;
            break;
        case InitState::kIcw4:
            special_fully_nested_ = value & kIcw4Sfnm;
            auto_eoi_ = value & kIcw4Aeoi;
            init_state_ = InitState::kReady;
            break;
        case InitState::kReady:
            break;
    }
}

void I8259::end_of_interrupt(int input, bool rotate) {
    if (input < 0) {
        return;
    }
    isr_ &= static_cast<std::uint8_t>(~bit(static_cast<unsigned>(input)));
    if (rotate) {
        lowest_priority_ = static_cast<std::uint8_t>(input);
    }
}

void I8259::write_ocw2(std::uint8_t value) {
    // Bits 7:5 are R, SL and EOI.
    using Operation = void (*)(I8259&, int level);
    static constexpr auto nonspecific = [](const I8259& chip) {
        // "An IS bit that is masked by an IMR bit will not be cleared by a non-specific EOI if
        // the 8259A is in the Special Mask Mode."
        const std::uint8_t hidden = chip.special_mask_ ? chip.imr_ : 0;
        return chip.highest_of(static_cast<std::uint8_t>(chip.isr_ & ~hidden));
    };
    static constexpr std::array<Operation, 8> kOperations = {
        [](I8259& chip, int) { chip.rotate_on_auto_eoi_ = false; },
        [](I8259& chip, int) { chip.end_of_interrupt(nonspecific(chip), false); },
        [](I8259&, int) {},  // no operation
        [](I8259& chip, int level) { chip.end_of_interrupt(level, false); },
        [](I8259& chip, int) { chip.rotate_on_auto_eoi_ = true; },
        [](I8259& chip, int) { chip.end_of_interrupt(nonspecific(chip), true); },
        [](I8259& chip, int level) { chip.lowest_priority_ = static_cast<std::uint8_t>(level); },
        [](I8259& chip, int level) { chip.end_of_interrupt(level, true); },
    };
    kOperations[value >> 5](*this, value & 7);
}

void I8259::write_ocw3(std::uint8_t value) {
    if (value & kOcw3Esmm) {
        special_mask_ = value & kOcw3Smm;
    }
    if (value & kOcw3Poll) {
        poll_ = true;
    } else if (value & kOcw3Rr) {
        read_isr_ = value & kOcw3Ris;
    }
}

void I8259::set_elcr(std::uint8_t value) {
    const std::uint8_t before = level_inputs();
    elcr_ = value & elcr_mask_;
    const std::uint8_t now = level_inputs();
    // An input that turns edge-triggered has seen no edge yet.
    irr_ &= static_cast<std::uint8_t>(~(before & ~now));
    refresh_level_requests();
}

core::PicState I8259::state() const {
    return {.lines = lines_,
            .irr = irr_,
            .isr = isr_,
            .imr = imr_,
            .elcr = elcr_,
            .vector_base = vector_base_,
            .lowest_priority = lowest_priority_,
            .init_state = static_cast<std::uint8_t>(init_state_),
            .needs_icw4 = needs_icw4_,
            .auto_eoi = auto_eoi_,
            .rotate_on_auto_eoi = rotate_on_auto_eoi_,
            .special_mask = special_mask_,
            .special_fully_nested = special_fully_nested_,
            .poll = poll_,
            .read_isr = read_isr_};
}

void I8259::set_state(const core::PicState& state) {
    lines_ = state.lines;
    irr_ = state.irr;
    isr_ = state.isr;
    imr_ = state.imr;
    elcr_ = state.elcr & elcr_mask_;
    vector_base_ = state.vector_base & 0xf8;
    lowest_priority_ = state.lowest_priority & 7;
    init_state_ = static_cast<InitState>(state.init_state & 3);
    needs_icw4_ = state.needs_icw4;
    single_ = level_triggered_ = false;  // the kernel's chip has neither
    auto_eoi_ = state.auto_eoi;
    rotate_on_auto_eoi_ = state.rotate_on_auto_eoi;
    special_mask_ = state.special_mask;
    special_fully_nested_ = state.special_fully_nested;
    poll_ = state.poll;
    read_isr_ = state.read_isr;
}

void I8259::serialize(core::Archive& archive) {
    archive.field("lines", lines_);
    archive.field("irr", irr_);
    archive.field("isr", isr_);
    archive.field("imr", imr_);
    archive.field("elcr", elcr_);
    archive.field("vector_base", vector_base_);
    archive.field("lowest_priority", lowest_priority_);
    archive.field("init_state", init_state_);
    archive.field("needs_icw4", needs_icw4_);
    archive.field("single", single_);
    archive.field("level_triggered", level_triggered_);
    archive.field("auto_eoi", auto_eoi_);
    archive.field("rotate_on_auto_eoi", rotate_on_auto_eoi_);
    archive.field("special_mask", special_mask_);
    archive.field("special_fully_nested", special_fully_nested_);
    archive.field("poll", poll_);
    archive.field("read_isr", read_isr_);
    if (archive.restoring()) {
        lowest_priority_ &= 7;
        if (init_state_ > InitState::kIcw4) {
            archive.fail("init_state is out of range");
            init_state_ = InitState::kReady;
        }
    }
}

}  // namespace rhea::hw
