// NVMe controller: Get Features and Set Features (5.13, 5.21), by table.
#include "hw/nvme/nvme_controller.h"
#include "rhea/core/clock.h"

#include <algorithm>

namespace rhea::hw::nvme {

struct NvmeController::FeatureRow {
    Feature id;
    bool changeable;
    std::uint32_t writable, fallback;
};

/// Bits that the host may set, and the value at first. What they ask for is so (one power state), or a hint.
const NvmeController::FeatureRow NvmeController::kFeatures[] = {
    {kArbitration, true, 0xffffff07, 7},
    {kPowerManagement, true, 0x000000e0, 0},
    {kTemperatureThreshold, true, 0x003fffff, 343},
    {kErrorRecovery, true, 0x0000ffff, 0},
    {kVolatileWriteCache, true, 1, 1},
    {kNumberOfQueues, true, 0, 0},
    {kInterruptCoalescing, true, 0x0000ffff, 0},
    {kInterruptVectorConfig, true, 0, 0},
    {kWriteAtomicity, true, 1, 0},
    {kAsyncEventConfig, true, 0x0000031f, 0},
    {kTimestamp, true, 0, 0},
};

namespace {
enum Select : unsigned { kCurrent = 0, kDefault = 1, kSaved = 2, kSupported = 3 };
constexpr std::uint32_t kChangeable = 1u << 2;
constexpr std::uint64_t kTimestampBits = 48;
} // namespace

NvmeController::Outcome NvmeController::get_features(const Command &command) {
    const unsigned select = command.dw[0] >> 8 & 7;
    const auto row = std::ranges::find(kFeatures, static_cast<Feature>(command.dw[0] & 0xff), &FeatureRow::id);
    if (row == std::end(kFeatures) || select > kSupported)
        return {kInvalidField | kDoNotRetry};
    if (select == kSupported)
        return {.result = kChangeable};
    const bool current = select == kCurrent;
    switch (row->id) {
    case kNumberOfQueues:
        return {.result = (io_queue_pairs_ - 1) << 16 | (io_queue_pairs_ - 1)};
    case kInterruptVectorConfig: {
        const std::uint32_t vector = command.dw[1] & 0xffff;
        return vector < vectors_ ? Outcome{.result = vector} : Outcome{kInvalidField | kDoNotRetry};
    }
    case kTimestamp: {
        std::uint8_t bytes[8] = {};
        const std::uint64_t now = current ? timestamp() : 0;
        for (unsigned i = 0; i < kTimestampBits / 8; ++i)
            bytes[i] = static_cast<std::uint8_t>(now >> (8 * i));
        bytes[6] = current && timestamp_set_ ? 1u << 1 : 0; // origin: a Set Features command
        return send(command, bytes);
    }
    case kVolatileWriteCache:
        return {.result = current ? std::uint32_t{io_->disk().write_cache()} : row->fallback};
    default:
        return {.result = current ? features_[row->id] : row->fallback};
    }
}

NvmeController::Outcome NvmeController::set_features(const Command &command) {
    constexpr std::uint32_t kSave = 1u << 31;
    const auto row = std::ranges::find(kFeatures, static_cast<Feature>(command.dw[0] & 0xff), &FeatureRow::id);
    if (row == std::end(kFeatures))
        return {kInvalidField | kDoNotRetry};
    if (command.dw[0] & kSave)
        return {kFeatureNotSaveable | kDoNotRetry};
    const std::uint32_t value = command.dw[1];
    switch (row->id) {
    case kNumberOfQueues: {
        const std::uint32_t submission = value & 0xffff, completion = value >> 16;
        if (submission == 0xffff || completion == 0xffff)
            return {kInvalidField | kDoNotRetry};
        if (std::any_of(completion_.begin() + 1, completion_.end(), [](const auto &queue) { return queue != nullptr; }))
            return {kSequenceError | kDoNotRetry};
        return {.result = (io_queue_pairs_ - 1) << 16 | (io_queue_pairs_ - 1)};
    }
    case kInterruptVectorConfig:
        return (value & 0xffff) < vectors_ ? Outcome{} : Outcome{kInvalidField | kDoNotRetry};
    case kTimestamp:
        return set_timestamp(command);
    case kVolatileWriteCache:
        return set_write_cache(command.id, value & 1);
    case kPowerManagement:
        if (value & 0x1f)
            return {kInvalidField | kDoNotRetry};
        break;
    default:
        break;
    }
    features_[row->id] = value & row->writable;
    return {};
}

void NvmeController::reset_features() {
    for (const FeatureRow &row : kFeatures)
        features_[row.id] = row.fallback;
}

/// What is in a cache that is switched off has to be on the medium before the command is over.
NvmeController::Outcome NvmeController::set_write_cache(std::uint16_t command, bool enabled) {
    io_->disk().set_write_cache(enabled);
    if (enabled)
        return {};
    io_->start([this] { return io_->disk().flush(); },
               [this, command](const block::Result<void> &result) {
                   if (!disabling_)
                       complete({.sq = 0, .command = command, .status = result ? std::uint16_t{kSuccess} : std::uint16_t{kInternalError}});
                   else if (io_->idle())
                       disabled();
               });
    return {.later = true};
}

NvmeController::Outcome NvmeController::set_timestamp(const Command &command) {
    GuestBuffer buffer;
    if (const auto status = map(command, 8, false, buffer))
        return {status};
    std::uint8_t bytes[8];
    buffer.read(0, bytes, sizeof bytes);
    std::uint64_t value = 0;
    for (unsigned i = 0; i < kTimestampBits / 8; ++i)
        value |= static_cast<std::uint64_t>(bytes[i]) << (8 * i);
    timestamp_offset_ = 0;
    timestamp_offset_ = value - timestamp();
    timestamp_set_ = true;
    return {};
}

/// Milliseconds, 48 bits: since the host set it, or since the machine started.
std::uint64_t NvmeController::timestamp() const {
    const auto now = static_cast<std::uint64_t>(clocks_.virtual_ns() / 1'000'000);
    return (now + timestamp_offset_) & ((1ull << kTimestampBits) - 1);
}

} // namespace rhea::hw::nvme
