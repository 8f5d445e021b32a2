#include "hw/input/ps2_mouse.h"

#include <algorithm>
#include <utility>

namespace rhea::hw {
namespace {

constexpr std::uint8_t kSetResolution = 0xe8;
constexpr std::uint8_t kSetSampleRate = 0xf3;
constexpr std::uint8_t kResetWrap = 0xec;
constexpr std::uint8_t kReset = 0xff;
constexpr std::uint8_t kThreeButtons = 7;
constexpr std::int32_t kFarthest = 1 << 20;  ///< of movement that waits to be sent

}  // namespace

/// One command byte and what it does after its acknowledge.
struct Ps2Mouse::Command {
    std::uint8_t byte;
    void (*run)(Ps2Mouse& m, std::uint8_t byte);
};

const Ps2Mouse::Command Ps2Mouse::kCommands[] = {
    {0xe6, [](Ps2Mouse& m, std::uint8_t) { m.scaling_2_to_1_ = false; }},
    {0xe7, [](Ps2Mouse& m, std::uint8_t) { m.scaling_2_to_1_ = true; }},
    {kSetResolution, [](Ps2Mouse& m, std::uint8_t byte) { m.waiting_for_ = byte; }},
    {0xe9,
     [](Ps2Mouse& m, std::uint8_t) {
         m.answer({m.status(), m.resolution_, m.sample_rate_});
     }},
    {0xea, [](Ps2Mouse& m, std::uint8_t) { m.remote_ = false; }},
    {0xeb,
     [](Ps2Mouse& m, std::uint8_t) {  // read data
         const auto packet = m.make_packet();
         m.answer({packet[0], packet[1], packet[2]});
         if (m.packet_length() == 4) {
             m.answer({packet[3]});
         }
     }},
    {kResetWrap, [](Ps2Mouse& m, std::uint8_t) { m.wrap_ = false; }},
    {0xee, [](Ps2Mouse& m, std::uint8_t) { m.wrap_ = true; }},
    {0xf0,
     [](Ps2Mouse& m, std::uint8_t) {  // remote mode
         m.remote_ = true;
         m.clear_events();
     }},
    {0xf2, [](Ps2Mouse& m, std::uint8_t) { m.answer({m.id_}); }},
    {kSetSampleRate, [](Ps2Mouse& m, std::uint8_t byte) { m.waiting_for_ = byte; }},
    {0xf4, [](Ps2Mouse& m, std::uint8_t) { m.reporting_ = true; }},
    {0xf5,
     [](Ps2Mouse& m, std::uint8_t) {
         m.reporting_ = false;
         m.clear_events();
     }},
    {0xf6, [](Ps2Mouse& m, std::uint8_t) { m.set_defaults(); }},
};

void Ps2Mouse::set_defaults() {
    clear_events();
    waiting_for_ = 0;
    sample_rate_ = 100;
    resolution_ = 2;
    scaling_2_to_1_ = reporting_ = remote_ = wrap_ = false;
    dx_ = dy_ = wheel_ = 0;
    sent_buttons_ = buttons_;
}

void Ps2Mouse::reset() {
    clear_all();
    set_defaults();
    id_ = 0;
    earlier_rates_ = {};
}

std::uint8_t Ps2Mouse::status() const {
    // Right, middle and left button in bits 0, 1 and 2
    const unsigned buttons =
        (buttons_ & kRight ? 1u : 0) | (buttons_ & kMiddle ? 2u : 0) | (buttons_ & kLeft ? 4u : 0);
    return static_cast<std::uint8_t>(buttons | (scaling_2_to_1_ ? 0x10 : 0) |
                                     (reporting_ ? 0x20 : 0) | (remote_ ? 0x40 : 0));
}

void Ps2Mouse::set_sample_rate(std::uint8_t rate) {
    sample_rate_ = rate;
    if (rate == 80 && earlier_rates_ == std::array<std::uint8_t, 2>{200, 100}) {
        id_ = 3;
    } else if (rate == 80 && earlier_rates_ == std::array<std::uint8_t, 2>{200, 200}) {
        id_ = 4;
    }
    earlier_rates_ = {earlier_rates_[1], rate};
}

void Ps2Mouse::receive(std::uint8_t byte) {
    if (wrap_ && byte != kResetWrap && byte != kReset) {
        answer({byte});
        return;
    }
    if (byte == kReset) {
        reset();
        answer({kAck, kSelfTestPassed, 0x00});
        return;
    }
    if (byte == kResend) {
        answer({last_sent()});
        return;
    }
    if (const std::uint8_t command = std::exchange(waiting_for_, std::uint8_t{0})) {
        if (command == kSetSampleRate) {
            set_sample_rate(byte);
        } else {
            resolution_ = byte & 3;
        }
        answer({kAck});
        return;
    }
    const Command* command = std::find_if(std::begin(kCommands), std::end(kCommands),
                                          [&](const Command& c) { return c.byte == byte; });
    if (command == std::end(kCommands)) {
        answer({kResend});
        return;
    }
    answer({kAck});
    command->run(*this, byte);
}

void Ps2Mouse::move(int dx, int dy, int wheel, std::uint8_t buttons) {
    const auto gather = [](std::int32_t& sum, int delta) {
        sum = std::clamp(sum + std::clamp(delta, -kFarthest, kFarthest), -kFarthest, kFarthest);
    };
    buttons_ = buttons & 0x1f;
    if (!reporting_ && !remote_) {
        sent_buttons_ = buttons_;
        return;
    }
    gather(dx_, dx);
    gather(dy_, -dy);  // up is positive in packets
    gather(wheel_, wheel);
    send_movement();
}

std::array<std::uint8_t, 4> Ps2Mouse::make_packet() {
    // Nine bits a direction and four for the wheel; the rest goes into the next packet.
    const std::int32_t x = std::clamp(dx_, -255, 255);
    const std::int32_t y = std::clamp(dy_, -255, 255);
    const std::int32_t z = id_ == 0 ? 0 : std::clamp(wheel_, -8, 7);
    dx_ -= x;
    dy_ -= y;
    wheel_ = id_ == 0 ? 0 : wheel_ - z;
    sent_buttons_ = buttons_;
    std::array<std::uint8_t, 4> packet{};
    packet[0] = static_cast<std::uint8_t>(0x08 | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0) |
                                          (buttons_ & kThreeButtons));
    packet[1] = static_cast<std::uint8_t>(x);
    packet[2] = static_cast<std::uint8_t>(y);
    packet[3] = static_cast<std::uint8_t>(z);
    if (id_ == 4) {
        packet[3] = static_cast<std::uint8_t>((z & 0xf) | (buttons_ & kSide ? 0x10 : 0) |
                                              (buttons_ & kExtra ? 0x20 : 0));
    }
    return packet;
}

void Ps2Mouse::send_movement() {
    while (reporting_ && !remote_ && moved() && event_room() >= packet_length()) {
        const auto packet = make_packet();
        send_event({packet.data(), packet_length()});
    }
}

void Ps2Mouse::serialize(core::Archive& archive) {
    Ps2Device::serialize(archive);
    archive.field("waiting_for", waiting_for_);
    archive.field("id", id_);
    archive.field("sample_rate", sample_rate_);
    archive.field("resolution", resolution_);
    archive.field("scaling_2_to_1", scaling_2_to_1_);
    archive.field("reporting", reporting_);
    archive.field("remote", remote_);
    archive.field("wrap", wrap_);
    archive.field("buttons", buttons_);
    archive.field("sent_buttons", sent_buttons_);
    archive.field("dx", dx_);
    archive.field("dy", dy_);
    archive.field("wheel", wheel_);
    archive.field("earlier_rates", earlier_rates_);
    if (archive.restoring()) {
        dx_ = std::clamp(dx_, -kFarthest, kFarthest);
        dy_ = std::clamp(dy_, -kFarthest, kFarthest);
        wheel_ = std::clamp(wheel_, -kFarthest, kFarthest);
    }
}

}  // namespace rhea::hw
