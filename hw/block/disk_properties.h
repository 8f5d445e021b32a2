// The properties that every disk device has (drive=, serial=, bootindex=, block sizes, error policies), and the drive
// that they name.
#pragma once
#include "rhea/block/backend.h"
#include "rhea/core/machine.h"

#include <functional>
#include <optional>
#include <string>

namespace rhea::hw {

class DiskProperties {
public:
    /// Adds them all; this object outlives `properties`.
    void add_to(core::PropertySet &properties);

    enum class Access : std::uint8_t { kReadWrite, kReadOnlyPossible, kMayBeEmpty };
    /// Takes the drive that drive= names and applies error policies and cache mode to it. A drive without medium is refused
    /// unless kMayBeEmpty.
    util::Result<block::BlockBackend *> claim(const core::MachineConfig &config, Access access);

    /// Gives the drive back (device_del), if there is one; nothing of the device refers to it any more.
    void release();

    // What was set, or else the drive says; valid after claim().
    const std::string &serial() const { return serial_; }
    std::uint32_t logical_block_size() const { return logical_block_size_; }
    std::uint32_t physical_block_size() const { return physical_block_size_; }
    std::uint32_t discard_granularity() const { return discard_granularity_; } ///< 0: not said
    int boot_index() const { return boot_index_; }                             ///< -1: none

private:
    using ActionChoice = std::optional<block::ErrorAction>;
    util::Result<void> check_block_sizes() const;
    void add_error_policy(core::PropertySet &properties, std::string name, ActionChoice &field, std::string description);

    std::string drive_, serial_;
    std::uint32_t logical_block_size_ = 0, physical_block_size_ = 0, discard_granularity_ = 0;
    int boot_index_ = -1;
    ActionChoice read_errors_, write_errors_;
    std::optional<bool> write_cache_;
    block::BlockBackend *claimed_ = nullptr;
    std::function<void(block::BlockBackend &drive)> give_back_;
};

} // namespace rhea::hw
