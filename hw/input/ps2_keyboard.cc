#include "hw/input/ps2_keyboard.h"

#include <algorithm>

namespace rhea::hw {
namespace {

constexpr std::uint8_t kSetLeds = 0xed;
constexpr std::uint8_t kScanCodeSet = 0xf0;
constexpr std::uint8_t kTypematic = 0xf3;
constexpr std::uint8_t kKeyTypematic = 0xfb;
constexpr std::uint8_t kKeyMakeOnly = 0xfd;
constexpr std::uint8_t kFirstCommand = 0xed;

}  // namespace

/// One command byte and what it does (acknowledged before, unless it says otherwise).
struct Ps2Keyboard::Command {
    std::uint8_t byte;
    bool acknowledge;
    void (*run)(Ps2Keyboard& k, std::uint8_t byte);
};

const Ps2Keyboard::Command Ps2Keyboard::kCommands[] = {
    {kSetLeds, true, [](Ps2Keyboard& k, std::uint8_t byte) { k.waiting_for_ = byte; }},
    {0xee, false, [](Ps2Keyboard& k, std::uint8_t) { k.answer({0xee}); }},  // echo
    {kScanCodeSet, true, [](Ps2Keyboard& k, std::uint8_t byte) { k.waiting_for_ = byte; }},
    {0xf2, true, [](Ps2Keyboard& k, std::uint8_t) { k.answer({0xab, 0x83}); }},  // identify
    {kTypematic, true, [](Ps2Keyboard& k, std::uint8_t byte) { k.waiting_for_ = byte; }},
    {0xf4, true,
     [](Ps2Keyboard& k, std::uint8_t) {  // enable scanning
         k.clear_events();
         k.scanning_ = true;
     }},
    {0xf5, true,
     [](Ps2Keyboard& k, std::uint8_t) {  // defaults, scanning off
         k.set_defaults();
         k.scanning_ = false;
     }},
    {0xf6, true, [](Ps2Keyboard& k, std::uint8_t) { k.set_defaults(); }},
    // Set 3: all keys typematic, make/break, make only, typematic and make/break
    {0xf7, true, [](Ps2Keyboard& k, std::uint8_t) { k.set3_breaks_ = Breaks::kNone; }},
    {0xf8, true, [](Ps2Keyboard& k, std::uint8_t) { k.set3_breaks_ = Breaks::kAll; }},
    {0xf9, true, [](Ps2Keyboard& k, std::uint8_t) { k.set3_breaks_ = Breaks::kNone; }},
    {0xfa, true, [](Ps2Keyboard& k, std::uint8_t) { k.set3_breaks_ = Breaks::kAll; }},
    // The same for single keys, which follow; taken, but keys have no types of their own here
    {kKeyTypematic, true, [](Ps2Keyboard& k, std::uint8_t byte) { k.waiting_for_ = byte; }},
    {0xfc, true, [](Ps2Keyboard& k, std::uint8_t byte) { k.waiting_for_ = byte; }},
    {kKeyMakeOnly, true, [](Ps2Keyboard& k, std::uint8_t byte) { k.waiting_for_ = byte; }},
    {kResend, false, [](Ps2Keyboard& k, std::uint8_t) { k.answer({k.last_sent()}); }},
    {0xff, false,
     [](Ps2Keyboard& k, std::uint8_t) {  // reset
         k.reset();
         k.answer({kAck, kSelfTestPassed});
     }},
};

void Ps2Keyboard::set_defaults() {
    clear_events();
    waiting_for_ = 0;
    typematic_ = 0x2b;
    scanning_ = true;
    overrun_ = false;
    set3_breaks_ = Breaks::kModifiers;
}

void Ps2Keyboard::reset() {
    clear_all();
    set_defaults();
    set_ = 2;
    set_leds(0);
}

void Ps2Keyboard::set_leds(std::uint8_t value) {
    leds_ = value & 7;
    if (on_leds_) {
        on_leds_(leds_);
    }
}

/// The argument of `waiting_for_`; false: the byte is a command after all.
bool Ps2Keyboard::argument(std::uint8_t byte) {
    const std::uint8_t command = std::exchange(waiting_for_, std::uint8_t{0});
    if (command == 0 || byte >= kFirstCommand) {
        return false;
    }
    if (command >= kKeyTypematic) {
        waiting_for_ = command;  // keys follow until the next command
        answer({kAck});
    } else if (command == kSetLeds) {
        set_leds(byte);
        answer({kAck});
    } else if (command == kTypematic) {
        typematic_ = byte & 0x7f;
        answer({kAck});
    } else if (byte == 0) {
        answer({kAck, set_});
    } else if (byte <= 3) {
        set_ = byte;
        clear_events();
        answer({kAck});
    } else {
        answer({kResend});
    }
    return true;
}

void Ps2Keyboard::receive(std::uint8_t byte) {
    if (argument(byte)) {
        return;
    }
    const Command* command = std::find_if(std::begin(kCommands), std::end(kCommands),
                                          [&](const Command& c) { return c.byte == byte; });
    if (command == std::end(kCommands)) {
        answer({kResend});
        return;
    }
    if (command->acknowledge) {
        answer({kAck});
    }
    command->run(*this, byte);
}

void Ps2Keyboard::key(KeyNumber number, bool pressed) {
    if (!scanning_) {
        return;
    }
    if (set_ == 3 && !pressed &&
        (set3_breaks_ == Breaks::kNone ||
         (set3_breaks_ == Breaks::kModifiers && !is_modifier(number)))) {
        return;
    }
    const ScanCode code = encode_key(number, pressed, set_);
    if (code.length == 0) {
        return;
    }
    // One byte stays free for the overrun code.
    if (code.length + 1 <= event_room()) {
        overrun_ = false;
        send_event({code.bytes.data(), code.length});
    } else if (!overrun_) {
        const std::uint8_t byte = set_ == 1 ? 0xff : 0x00;
        overrun_ = send_event({&byte, 1});
    }
}

void Ps2Keyboard::serialize(core::Archive& archive) {
    Ps2Device::serialize(archive);
    archive.field("waiting_for", waiting_for_);
    archive.field("set", set_);
    archive.field("leds", leds_);
    archive.field("typematic", typematic_);
    archive.field("scanning", scanning_);
    archive.field("overrun", overrun_);
    archive.field("set3_breaks", set3_breaks_);
    if (archive.restoring() && (set_ < 1 || set_ > 3)) {
        archive.fail("the scan code set is not 1, 2 or 3");
        set_ = 2;
    }
}

}  // namespace rhea::hw
