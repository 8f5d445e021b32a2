#include "hw/input/ps2_device.h"

namespace rhea::hw {
namespace {

/// More unread answers than any host leaves behind; the oldest are lost beyond it.
constexpr std::size_t kAnswerBytes = 64;

std::uint8_t take_first(std::vector<std::uint8_t>& bytes) {
    const std::uint8_t byte = bytes.front();
    bytes.erase(bytes.begin());
    return byte;
}

}  // namespace

std::uint8_t Ps2Device::take() {
    if (!answers_.empty()) {
        last_sent_ = take_first(answers_);
    } else if (!events_.empty()) {
        last_sent_ = take_first(events_);
        event_taken();
    }
    return last_sent_;
}

void Ps2Device::answer(std::initializer_list<std::uint8_t> bytes) {
    answers_.insert(answers_.end(), bytes);
    if (answers_.size() > kAnswerBytes) {
        answers_.erase(answers_.begin(),
                       answers_.end() - static_cast<std::ptrdiff_t>(kAnswerBytes));
    }
    queued();
}

bool Ps2Device::send_event(std::span<const std::uint8_t> bytes) {
    if (bytes.size() > event_room()) {
        return false;
    }
    events_.insert(events_.end(), bytes.begin(), bytes.end());
    queued();
    return true;
}

void Ps2Device::queued() {
    if (on_data_) {
        on_data_();
    }
}

void Ps2Device::clear_all() {
    answers_.clear();
    events_.clear();
}

void Ps2Device::serialize(core::Archive& archive) {
    archive.bytes("answers", answers_, kAnswerBytes);
    archive.bytes("events", events_, kEventBytes);
    archive.field("last_sent", last_sent_);
}

}  // namespace rhea::hw
