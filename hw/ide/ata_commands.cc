// ATA disk: the command table, and the commands that move no sectors.
#include "hw/ide/ata_disk.h"
#include "rhea/util/log.h"

#include <algorithm>
#include <bit>

namespace rhea::hw {

using namespace ata;

/// One command; `run` gets the disk that is ready for it.
struct AtaDisk::CommandRow {
    Command code;
    void (*run)(AtaDisk &disk);
};

const AtaDisk::CommandRow AtaDisk::kCommands[] = {
    {kReadSectors, [](AtaDisk &d) { d.transfer(Operation::kReadPio, false, 1); }},
    {kReadSectorsNoRetry, [](AtaDisk &d) { d.transfer(Operation::kReadPio, false, 1); }},
    {kReadSectorsExt, [](AtaDisk &d) { d.transfer(Operation::kReadPio, true, 1); }},
    {kReadMultiple, [](AtaDisk &d) { d.transfer(Operation::kReadPio, false, d.settings_.multiple); }},
    {kReadMultipleExt, [](AtaDisk &d) { d.transfer(Operation::kReadPio, true, d.settings_.multiple); }},
    {kWriteSectors, [](AtaDisk &d) { d.transfer(Operation::kWritePio, false, 1); }},
    {kWriteSectorsNoRetry, [](AtaDisk &d) { d.transfer(Operation::kWritePio, false, 1); }},
    {kWriteSectorsExt, [](AtaDisk &d) { d.transfer(Operation::kWritePio, true, 1); }},
    {kWriteMultiple, [](AtaDisk &d) { d.transfer(Operation::kWritePio, false, d.settings_.multiple); }},
    {kWriteMultipleExt, [](AtaDisk &d) { d.transfer(Operation::kWritePio, true, d.settings_.multiple); }},
    {kWriteMultipleFuaExt, [](AtaDisk &d) { d.transfer(Operation::kWritePio, true, d.settings_.multiple, true); }},
    {kReadDma, [](AtaDisk &d) { d.transfer(Operation::kReadDma, false, 1); }},
    {kReadDmaNoRetry, [](AtaDisk &d) { d.transfer(Operation::kReadDma, false, 1); }},
    {kReadDmaExt, [](AtaDisk &d) { d.transfer(Operation::kReadDma, true, 1); }},
    {kWriteDma, [](AtaDisk &d) { d.transfer(Operation::kWriteDma, false, 1); }},
    {kWriteDmaNoRetry, [](AtaDisk &d) { d.transfer(Operation::kWriteDma, false, 1); }},
    {kWriteDmaExt, [](AtaDisk &d) { d.transfer(Operation::kWriteDma, true, 1); }},
    {kWriteDmaFuaExt, [](AtaDisk &d) { d.transfer(Operation::kWriteDma, true, 1, true); }},
    {kReadVerify, [](AtaDisk &d) { d.transfer(Operation::kVerify, false, 1); }},
    {kReadVerifyNoRetry, [](AtaDisk &d) { d.transfer(Operation::kVerify, false, 1); }},
    {kReadVerifyExt, [](AtaDisk &d) { d.transfer(Operation::kVerify, true, 1); }},
    {kDataSetManagement, [](AtaDisk &d) { d.data_set_management(); }},
    {kFlushCache, [](AtaDisk &d) { d.start_flush(); }},
    {kFlushCacheExt, [](AtaDisk &d) { d.start_flush(); }},
    {kIdentifyDevice, [](AtaDisk &d) { d.identify(); }},
    {kSetFeatures, [](AtaDisk &d) { d.set_features(); }},
    {kSetMultiple, [](AtaDisk &d) { d.set_multiple(); }},
    {kInitializeParameters, [](AtaDisk &d) { d.initialize_parameters(); }},
    {kReadNativeMax, [](AtaDisk &d) { d.read_native_max(false); }},
    {kReadNativeMaxExt, [](AtaDisk &d) { d.read_native_max(true); }},
    {kCheckPowerMode, [](AtaDisk &d) { d.check_power_mode(); }},
    {kIdle, [](AtaDisk &d) { d.set_power_mode(kPowerIdle); }},
    {kIdleImmediate, [](AtaDisk &d) { d.set_power_mode(kPowerIdle); }},
    {kStandby, [](AtaDisk &d) { d.set_power_mode(kPowerStandby); }},
    {kStandbyImmediate, [](AtaDisk &d) { d.set_power_mode(kPowerStandby); }},
    {kSleep, [](AtaDisk &d) { d.set_power_mode(kPowerSleep); }},
    {kSmart, [](AtaDisk &d) { d.smart(); }},
};

namespace {

/// Opcodes that stand for a row of the table: RECALIBRATE and SEEK take sixteen each, power management has older twins.
Command canonical(std::uint8_t code) {
    switch (code) {
    case 0x94:
        return kStandbyImmediate;
    case 0x95:
        return kIdleImmediate;
    case 0x96:
        return kStandby;
    case 0x97:
        return kIdle;
    case 0x98:
        return kCheckPowerMode;
    case 0x99:
        return kSleep;
    default:
        return static_cast<Command>(code);
    }
}

bool moves_heads_only(std::uint8_t code) { return (code & 0xf0) == 0x10 || (code & 0xf0) == 0x70; }

// SET FEATURES subcommands
enum Feature : std::uint8_t {
    kEnableWriteCache = 0x02,
    kTransferMode = 0x03,
    kDisableLookAhead = 0x55,
    kKeepSettings = 0x66,
    kDisableWriteCache = 0x82,
    kEnableLookAhead = 0xaa,
    kRevertSettings = 0xcc,
};

} // namespace

void AtaDisk::execute(std::uint8_t code) {
    // A sleeping disk hears nothing but a reset (volume 1, 4.15.4).
    if (!accepts_writes() || power_mode_ == kPowerSleep)
        return;
    set_intrq(false);
    if (moves_heads_only(code)) {
        finish();
        return;
    }
    const auto row = std::ranges::find(kCommands, canonical(code), &CommandRow::code);
    if (row == std::end(kCommands)) {
        if (code != kNop && code != kDeviceReset)
            util::log_write(util::kLogUnimp, "ide: ATA command {:#04x} is not there\n", code);
        finish(kAbrt);
        return;
    }
    row->run(*this);
}

void AtaDisk::identify() {
    const auto bytes = ata_identify(identity_, settings_);
    buffer_.assign(bytes.begin(), bytes.end());
    operation_ = Operation::kSendBuffer;
    send_buffer();
}

void AtaDisk::start_flush() {
    operation_ = Operation::kFlush;
    begin_step();
}

void AtaDisk::set_features() {
    switch (file_.features()) {
    case kEnableWriteCache:
        settings_.write_cache = true;
        apply_settings();
        finish();
        break;
    case kDisableWriteCache:
        // What is in the cache has to be on the medium before the command is over.
        settings_.write_cache = false;
        apply_settings();
        start_flush();
        break;
    case kEnableLookAhead:
    case kDisableLookAhead:
        settings_.look_ahead = file_.features() == kEnableLookAhead;
        finish();
        break;
    case kTransferMode:
        finish(choose_transfer_mode(settings_, file_.count8()) ? 0 : kAbrt);
        break;
    case kKeepSettings: // a software reset changes none, either way
    case kRevertSettings:
        finish();
        break;
    default:
        finish(kAbrt);
    }
}

void AtaDisk::set_multiple() {
    const std::uint8_t count = file_.count8();
    if (count > kAtaMaxMultiple || (count && !std::has_single_bit(count))) {
        finish(kAbrt);
        return;
    }
    settings_.multiple = count;
    finish();
}

void AtaDisk::initialize_parameters() {
    DiskGeometry geometry{.cylinders = 0, .heads = (file_.device() & 0x0fu) + 1, .sectors = file_.count8()};
    if (geometry.sectors == 0) {
        finish(kAbrt);
        return;
    }
    geometry.cylinders = static_cast<std::uint32_t>(std::min<std::uint64_t>(identity_.geometry.total() / (geometry.heads * geometry.sectors), 65535));
    settings_.geometry = geometry;
    finish();
}

void AtaDisk::read_native_max(bool extended) {
    const std::uint64_t last = identity_.sectors - 1;
    if (extended)
        file_.set_lba48(last);
    else
        file_.set_lba28(std::min(last, kLba28Limit - 1));
    finish();
}

void AtaDisk::check_power_mode() {
    file_.set_count(power_mode_);
    finish();
}

void AtaDisk::set_power_mode(std::uint8_t mode) {
    power_mode_ = mode;
    // Standby and sleep write the cache out first (volume 1, 4.15).
    if (mode == kPowerIdle)
        finish();
    else
        start_flush();
}

void AtaDisk::data_set_management() {
    constexpr std::uint8_t kTrimBit = 1;
    const std::uint32_t blocks = file_.sectors(true);
    if (!identity_.trim || file_.features() != kTrimBit || blocks > kAtaMaxTrimBlocks) {
        finish(kAbrt);
        return;
    }
    extended_ = true;
    lba_ = 0;
    left_ = blocks;
    operation_ = Operation::kTrim;
    phase_ = Phase::kDmaWait;
    file_.status = kDrdy | kDsc | kDrq;
    host_.dma_ready();
}

} // namespace rhea::hw
