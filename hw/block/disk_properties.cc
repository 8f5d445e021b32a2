#include "hw/block/disk_properties.h"

#include <bit>
#include <charconv>
#include <fmt/format.h>

#include "rhea/util/option_list.h"

namespace rhea::hw {
namespace {

constexpr std::uint32_t kSmallestBlock = 512, kLargestBlock = 2u << 20;

struct ActionName {
    std::string_view name;
    block::ErrorAction action;
};
constexpr ActionName kActions[] = {
    {"report", block::ErrorAction::kReport},
    {"ignore", block::ErrorAction::kIgnore},
    {"stop", block::ErrorAction::kStop},
    {"enospc", block::ErrorAction::kEnospc},
};

core::Property block_size(std::string name, std::uint32_t &field, std::string description) {
    core::Property property{name, "size", std::move(description), "512", {}, {}};
    property.set = [&field, name](std::string_view text) -> util::Result<void> {
        std::uint32_t value = 0;
        std::string_view digits = text;
        const bool kilo = digits.ends_with('k') || digits.ends_with('K');
        if (kilo)
            digits.remove_suffix(1);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        const bool number = error == std::errc{} && end == digits.data() + digits.size() && value <= kLargestBlock;
        const std::uint32_t bytes = kilo ? value * 1024 : value;
        if (!number || bytes < kSmallestBlock || bytes > kLargestBlock || !std::has_single_bit(bytes))
            return util::fail("property '{}' takes a power of two from {} to {}, not '{}'", name, kSmallestBlock, kLargestBlock, text);
        field = bytes;
        return {};
    };
    property.get = [&field] { return fmt::format("{}", field ? field : kSmallestBlock); };
    return property;
}

} // namespace

void DiskProperties::add_to(core::PropertySet &properties) {
    properties.add_string("drive", drive_, "id of the -drive or node name of the -blockdev with the contents");
    properties.add_string("serial", serial_, "serial number that the guest sees");
    properties.add(block_size("logical_block_size", logical_block_size_, "bytes of a sector"));
    properties.add(block_size("physical_block_size", physical_block_size_, "bytes that the disk writes at once"));
    properties.add_uint("discard_granularity", discard_granularity_, "bytes that discard works in multiples of; 0: the default");
    core::Property index{"bootindex", "int32", "place in firmware's boot order, lowest first", "-1", {}, {}};
    index.set = [this](std::string_view text) -> util::Result<void> {
        int value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc{} || end != text.data() + text.size() || value < -1)
            return util::fail("property 'bootindex' takes a number from 0 on (or -1 for none), not '{}'", text);
        boot_index_ = value;
        return {};
    };
    index.get = [this] { return fmt::format("{}", boot_index_); };
    properties.add(std::move(index));
    add_error_policy(properties, "rerror", read_errors_, "what becomes of a read error: report, ignore or stop");
    add_error_policy(properties, "werror", write_errors_, "what becomes of a write error: report, ignore, stop or enospc");
    core::Property cache{"write-cache", "OnOffAuto", "does the disk say that it has a write cache", "auto", {}, {}};
    cache.set = [this](std::string_view text) -> util::Result<void> {
        if (text != "on" && text != "off" && text != "auto")
            return util::fail("property 'write-cache' takes on, off or auto, not '{}'", text);
        write_cache_ = text == "auto" ? std::nullopt : std::optional(text == "on");
        return {};
    };
    cache.get = [this] { return std::string(!write_cache_ ? "auto" : *write_cache_ ? "on" : "off"); };
    properties.add(std::move(cache));
    core::Property share{"share-rw", "bool", "may other processes write the image, too (only off)", "off", {}, {}};
    share.set = [](std::string_view text) -> util::Result<void> {
        const auto on = util::parse_bool(text);
        if (!on)
            return util::fail("property 'share-rw' takes on or off, not '{}'", text);
        if (*on)
            return util::fail("share-rw=on is not there: an image that is open for writing is locked. Open it without locks instead, "
                              "by file.locking=off in -drive or locking=off in the -blockdev of the file");
        return {};
    };
    share.get = [] { return std::string("off"); };
    properties.add(std::move(share));
}

void DiskProperties::add_error_policy(core::PropertySet &properties, std::string name, ActionChoice &field, std::string description) {
    core::Property property{name, "BlockdevOnError", std::move(description), "auto", {}, {}};
    const bool is_read = name == "rerror";
    property.set = [&field, name, is_read](std::string_view text) -> util::Result<void> {
        if (text == "auto") {
            field.reset();
            return {};
        }
        for (const ActionName &known : kActions) {
            if (known.name == text && !(is_read && known.action == block::ErrorAction::kEnospc)) {
                field = known.action;
                return {};
            }
        }
        return util::fail("property '{}' takes report, ignore, stop{} or auto, not '{}'", name, is_read ? "" : ", enospc", text);
    };
    property.get = [&field] {
        for (const ActionName &known : kActions) {
            if (field && known.action == *field)
                return std::string(known.name);
        }
        return std::string("auto");
    };
    properties.add(std::move(property));
}

util::Result<void> DiskProperties::check_block_sizes() const {
    if (logical_block_size_ > physical_block_size_)
        return util::fail("logical_block_size={} is larger than physical_block_size={}", logical_block_size_, physical_block_size_);
    return {};
}

util::Result<block::BlockBackend *> DiskProperties::claim(const core::MachineConfig &config, Access access) {
    if (drive_.empty())
        return util::fail("drive= is missing; write -drive file=FILE,if=none,id=ID and drive=ID here");
    if (!config.claim_drive)
        return util::fail("there are no drives");
    auto claimed = config.claim_drive(drive_);
    if (!claimed)
        return claimed;
    block::BlockBackend &disk = **claimed;
    claimed_ = &disk;
    give_back_ = config.release_drive;
    if (!disk.has_medium() && access != Access::kMayBeEmpty)
        return util::fail("drive '{}' has no medium, and this device needs one", drive_);
    if (disk.read_only() && access == Access::kReadWrite)
        return util::fail("drive '{}' is read-only, which this device cannot be", drive_);
    if (serial_.empty())
        serial_ = disk.serial;
    if (logical_block_size_ == 0)
        logical_block_size_ = disk.logical_block_size ? disk.logical_block_size : kSmallestBlock;
    if (physical_block_size_ == 0)
        physical_block_size_ = std::max(disk.physical_block_size, logical_block_size_);
    if (discard_granularity_ == 0)
        discard_granularity_ = disk.discard_granularity;
    if (boot_index_ < 0)
        boot_index_ = disk.boot_index;
    if (auto done = check_block_sizes(); !done)
        return util::fail(done.error());
    if (write_cache_)
        disk.set_write_cache(*write_cache_);
    disk.set_error_actions(read_errors_.value_or(disk.on_read_error()), write_errors_.value_or(disk.on_write_error()));
    return &disk;
}

void DiskProperties::release() {
    if (claimed_ && give_back_)
        give_back_(*claimed_);
    claimed_ = nullptr;
}

} // namespace rhea::hw
