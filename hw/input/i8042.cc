#include "hw/input/i8042.h"

#include <algorithm>
#include <utility>

#include "rhea/util/log.h"

namespace rhea::hw {
namespace {

constexpr core::hwaddr kDataPort = 0x60;
constexpr core::hwaddr kCommandPort = 0x64;

// Status register
constexpr std::uint8_t kOutputBufferFull = 1u << 0;
constexpr std::uint8_t kSystemFlag = 1u << 2;
constexpr std::uint8_t kCommandWritten = 1u << 3;
constexpr std::uint8_t kNotInhibited = 1u << 4;
constexpr std::uint8_t kMouseBufferFull = 1u << 5;

// Command byte
constexpr std::uint8_t kKeyboardInterrupt = 1u << 0;
constexpr std::uint8_t kMouseInterrupt = 1u << 1;
constexpr std::uint8_t kSystem = 1u << 2;
constexpr std::uint8_t kKeyboardDisabled = 1u << 4;
constexpr std::uint8_t kMouseDisabled = 1u << 5;
constexpr std::uint8_t kTranslate = 1u << 6;

// Output port
constexpr std::uint8_t kNotReset = 1u << 0;
constexpr std::uint8_t kA20 = 1u << 1;
constexpr std::uint8_t kKeyboardFull = 1u << 4;
constexpr std::uint8_t kMouseFull = 1u << 5;
constexpr std::uint8_t kOutputPortReset = 0xc0 | kNotReset | kA20;

/// Keyboard not locked, manufacturing jumper not installed.
constexpr std::uint8_t kInputPort = 0xa0;
constexpr std::uint8_t kSelfTestPassed = 0x55;
constexpr std::size_t kMaxAnswers = 16;

}  // namespace

/// A range of commands and what they do.
struct I8042::Command {
    std::uint8_t first, last;
    void (*run)(I8042& c, std::uint8_t command);
};

const I8042::Command I8042::kCommands[] = {
    {0x20, 0x3f, [](I8042& c, std::uint8_t command) { c.answer(c.ram_[command & 0x1f]); }},
    {0x60, 0x7f, [](I8042& c, std::uint8_t command) { c.pending_command_ = command; }},
    {0xa7, 0xa7, [](I8042& c, std::uint8_t) { c.set_command_byte(c.ram_[0] | kMouseDisabled); }},
    {0xa8, 0xa8,
     [](I8042& c, std::uint8_t) {
         c.set_command_byte(c.ram_[0] & static_cast<std::uint8_t>(~kMouseDisabled));
     }},
    {0xa9, 0xa9, [](I8042& c, std::uint8_t) { c.answer(0x00); }},  // mouse interface test: good
    {0xaa, 0xaa,
     [](I8042& c, std::uint8_t) {  // self-test
         c.set_command_byte(c.ram_[0] | kSystem);
         c.answer(kSelfTestPassed);
     }},
    {0xab, 0xab, [](I8042& c, std::uint8_t) { c.answer(0x00); }},  // keyboard interface test: good
    {0xad, 0xad, [](I8042& c, std::uint8_t) { c.set_command_byte(c.ram_[0] | kKeyboardDisabled); }},
    {0xae, 0xae,
     [](I8042& c, std::uint8_t) {
         c.set_command_byte(c.ram_[0] & static_cast<std::uint8_t>(~kKeyboardDisabled));
     }},
    {0xc0, 0xc0, [](I8042& c, std::uint8_t) { c.answer(kInputPort); }},
    {0xd0, 0xd0, [](I8042& c, std::uint8_t) { c.answer(c.output_port()); }},
    {0xd1, 0xd4, [](I8042& c, std::uint8_t command) { c.pending_command_ = command; }},
    {0xdd, 0xdd,
     [](I8042& c, std::uint8_t) {
         c.set_output_port(c.output_port_ & static_cast<std::uint8_t>(~kA20));
     }},
    {0xdf, 0xdf, [](I8042& c, std::uint8_t) { c.set_output_port(c.output_port_ | kA20); }},
    {0xe0, 0xe0, [](I8042& c, std::uint8_t) { c.answer(0x00); }},  // test inputs: clocks low
    {0xf0, 0xff,
     [](I8042& c, std::uint8_t command) {  // pulse the low output port bits that are zero
         if (!(command & kNotReset)) {
             c.request_reset();
         }
     }},
};

I8042::I8042(const Ports& ports)
    : ports_(ports), data_bank_("i8042 data", 1), command_bank_("i8042 command", 1) {
    using Value = std::uint64_t;
    data_bank_.add({.name = "DATA",
                    .on_read = [this](Value) -> Value { return read_data(); },
                    .write_value = [this](Value, Value written) -> Value {
                        write_data(static_cast<std::uint8_t>(written));
                        return 0;
                    }});
    command_bank_.add({.name = "STATUS/COMMAND",
                       .on_read = [this](Value) -> Value { return status(); },
                       .write_value = [this](Value, Value written) -> Value {
                           write_command(static_cast<std::uint8_t>(written));
                           return 0;
                       }});
    data_region_ = core::MemoryRegion::io("i8042-data", 1, data_bank_);
    command_region_ = core::MemoryRegion::io("i8042-command", 1, command_bank_);
    keyboard_.on_data([this] { refill(); });
    mouse_.on_data([this] { refill(); });
    ram_[0] = kKeyboardInterrupt | kMouseInterrupt;
    output_port_ = kOutputPortReset;
}

void I8042::map(core::MemoryRegion& io_root) {
    io_root.add(kDataPort, *data_region_);
    io_root.add(kCommandPort, *command_region_);
}

void I8042::reset() {
    keyboard_.reset();
    mouse_.reset();
    answers_.clear();
    ram_ = {};
    ram_[0] = kKeyboardInterrupt | kMouseInterrupt;
    pending_command_ = 0;
    buffer_ = 0;
    buffer_source_ = Source::kNone;
    last_write_was_command_ = break_prefix_ = false;
    set_output_port(kOutputPortReset);
    update_irqs();
}

std::uint8_t I8042::status() const {
    const std::uint8_t full = buffer_source_ == Source::kNone ? std::uint8_t{0}
                              : buffer_source_ == Source::kMouse
                                  ? kOutputBufferFull | kMouseBufferFull
                                  : kOutputBufferFull;
    return static_cast<std::uint8_t>(full | kNotInhibited | (ram_[0] & kSystem ? kSystemFlag : 0) |
                                     (last_write_was_command_ ? kCommandWritten : 0));
}

std::uint8_t I8042::read_data() {
    if (buffer_source_ != Source::kNone) {
        buffer_source_ = Source::kNone;
        update_irqs();
        const std::uint8_t value = buffer_;
        refill();
        return value;
    }
    return buffer_;
}

void I8042::write_command(std::uint8_t value) {
    last_write_was_command_ = true;
    pending_command_ = 0;
    const Command* command =
        std::find_if(std::begin(kCommands), std::end(kCommands),
                     [&](const Command& c) { return value >= c.first && value <= c.last; });
    if (command == std::end(kCommands)) {
        util::log_write(util::kLogGuestErrors, "i8042: unknown command {:#x}\n", value);
        return;
    }
    command->run(*this, value);
}

void I8042::write_data(std::uint8_t value) {
    last_write_was_command_ = false;
    const std::uint8_t command = std::exchange(pending_command_, std::uint8_t{0});
    if (command == 0) {
        // A byte for the keyboard lets its clock run.
        set_command_byte(ram_[0] & static_cast<std::uint8_t>(~kKeyboardDisabled));
        keyboard_.receive(value);
        return;
    }
    static constexpr DataHandler kOutputHandlers[] = {
        &I8042::data_to_output_port,    // 0xd1
        &I8042::data_to_output_buffer,  // 0xd2
        &I8042::data_to_output_buffer,  // 0xd3
        &I8042::data_to_mouse,          // 0xd4
    };
    const DataHandler handler =
        command < 0x80 ? &I8042::data_to_ram : kOutputHandlers[command - 0xd1];
    (this->*handler)(command, value);
}

void I8042::data_to_ram(std::uint8_t command, std::uint8_t data) {
    const unsigned index = command & 0x1f;
    if (index == 0) {
        set_command_byte(data);
    } else {
        ram_[index] = data;
    }
}

void I8042::data_to_output_port(std::uint8_t, std::uint8_t data) {
    set_output_port(data);
    if (!(data & kNotReset)) {
        request_reset();
    }
}

void I8042::data_to_output_buffer(std::uint8_t command, std::uint8_t data) {
    answer(data, command == 0xd3 ? Source::kMouse : Source::kKeyboard);
}

void I8042::data_to_mouse(std::uint8_t, std::uint8_t data) {
    set_command_byte(ram_[0] & static_cast<std::uint8_t>(~kMouseDisabled));
    mouse_.receive(data);
}

void I8042::answer(std::uint8_t value, Source source) {
    if (answers_.size() < kMaxAnswers) {
        answers_.push_back({value, source});
    }
    refill();
}

void I8042::set_command_byte(std::uint8_t value) {
    ram_[0] = value;
    update_irqs();
    refill();
}

std::uint8_t I8042::output_port() const {
    const bool mouse = buffer_source_ == Source::kMouse;
    const bool keyboard = buffer_source_ == Source::kKeyboard;
    constexpr std::uint8_t kFull = kKeyboardFull | kMouseFull;
    return static_cast<std::uint8_t>((output_port_ & ~kFull) | (keyboard ? kKeyboardFull : 0) |
                                     (mouse ? kMouseFull : 0));
}

void I8042::set_output_port(std::uint8_t value) {
    output_port_ = value | kNotReset;
    ports_.a20.set(value & kA20);
}

void I8042::request_reset() {
    ports_.requests.request_reset(core::ShutdownCause::kGuestReset);
}

/// The keyboard's next byte as the host sees it; false: none yet.
bool I8042::keyboard_byte(std::uint8_t& byte) {
    while (keyboard_.has_data()) {
        byte = keyboard_.take();
        if (!(ram_[0] & kTranslate)) {
            break_prefix_ = false;
            return true;
        }
        if (byte == kBreakPrefix) {
            break_prefix_ = true;
            continue;
        }
        byte = translate_to_set1(byte);
        if (std::exchange(break_prefix_, false)) {
            byte |= 0x80;
        }
        return true;
    }
    return false;
}

void I8042::refill() {
    if (buffer_source_ != Source::kNone || refilling_) {
        return;
    }
    refilling_ = true;
    if (!answers_.empty()) {
        buffer_ = answers_.front().value;
        buffer_source_ = answers_.front().source;
        answers_.erase(answers_.begin());
    } else if (!(ram_[0] & kKeyboardDisabled) && keyboard_byte(buffer_)) {
        buffer_source_ = Source::kKeyboard;
    } else if (!(ram_[0] & kMouseDisabled) && mouse_.has_data()) {
        buffer_ = mouse_.take();
        buffer_source_ = Source::kMouse;
    }
    refilling_ = false;
    update_irqs();
}

void I8042::update_irqs() {
    ports_.keyboard_irq.set(buffer_source_ == Source::kKeyboard && (ram_[0] & kKeyboardInterrupt));
    ports_.mouse_irq.set(buffer_source_ == Source::kMouse && (ram_[0] & kMouseInterrupt));
}

void I8042::serialize(core::Archive& archive) {
    archive.section("keyboard", 1, [this](core::Archive& a) { keyboard_.serialize(a); });
    archive.section("mouse", 1, [this](core::Archive& a) { mouse_.serialize(a); });
    archive.bytes("ram", ram_);
    archive.field("output_port", output_port_);
    archive.field("pending_command", pending_command_);
    archive.field("buffer", buffer_);
    archive.field("buffer_source", buffer_source_);
    archive.field("last_write_was_command", last_write_was_command_);
    archive.field("break_prefix", break_prefix_);
    std::vector<std::uint8_t> packed;
    for (const Answer& answer : answers_) {
        packed.push_back(answer.value);
        packed.push_back(static_cast<std::uint8_t>(answer.source));
    }
    archive.bytes("answers", packed, 2 * kMaxAnswers);
    if (!archive.restoring()) {
        return;
    }
    answers_.clear();
    for (std::size_t i = 0; i + 1 < packed.size(); i += 2) {
        answers_.push_back({packed[i], packed[i + 1] == static_cast<std::uint8_t>(Source::kMouse)
                                           ? Source::kMouse
                                           : Source::kKeyboard});
    }
    const bool takes_data = (pending_command_ >= 0x60 && pending_command_ <= 0x7f) ||
                            (pending_command_ >= 0xd1 && pending_command_ <= 0xd4);
    if (buffer_source_ > Source::kMouse || (pending_command_ != 0 && !takes_data)) {
        archive.fail("the keyboard controller's state is out of range");
        buffer_source_ = Source::kNone;
        pending_command_ = 0;
    }
}

}  // namespace rhea::hw
