#include "hw/scsi/scsi_unit.h"

#include <algorithm>
#include <cerrno>

#include "rhea/util/log.h"

namespace rhea::hw::scsi {

ScsiUnit::ScsiUnit(UnitConfig config) : config_(std::move(config)) {
    add(kTestUnitReady, {.handler = &ScsiUnit::do_nothing, .needs_medium = true});
    add(kRequestSense, {.handler = &ScsiUnit::request_sense, .despite_attention = true});
    add(kInquiry, {.handler = &ScsiUnit::inquiry, .despite_attention = true});
    add(kReportLuns, {.handler = &ScsiUnit::report_luns, .despite_attention = true});
    add(kModeSense6, {.handler = &ScsiUnit::mode_sense});
    add(kModeSense10, {.handler = &ScsiUnit::mode_sense});
    add(kModeSelect6, {.handler = &ScsiUnit::mode_select});
    add(kModeSelect10, {.handler = &ScsiUnit::mode_select});
    add(kStartStopUnit, {.handler = &ScsiUnit::start_stop_unit});
    add(kPreventAllow, {.handler = &ScsiUnit::prevent_allow});
    add(kReadCapacity10, {.handler = &ScsiUnit::read_capacity_10, .needs_medium = true});
    for (const Opcode opcode : {kRead10, kRead12})
        add(opcode, {.handler = &ScsiUnit::read, .needs_medium = true});
    for (const Opcode opcode : {kVerify10, kVerify12})
        add(opcode, {.handler = &ScsiUnit::verify, .needs_medium = true});
    add(kSeek10, {.handler = &ScsiUnit::do_nothing, .needs_medium = true});
    add(kSynchronizeCache10, {.handler = &ScsiUnit::synchronize_cache, .needs_medium = true});
    // One initiator: there is nobody to keep out, and nothing to diagnose.
    for (const Opcode opcode : {kReserve6, kRelease6, kReserve10, kRelease10, kSendDiagnostic})
        add(opcode, {.handler = &ScsiUnit::do_nothing});
    backend().removable = config_.removable;
    if (config_.removable)
        backend().on_medium_change = [this](bool present) { medium_changed(present); };
    set_tray_open(false);
    reset();
}

ScsiUnit::~ScsiUnit() {
    backend().on_medium_change = nullptr;
    backend().on_eject_request = nullptr;
}

block::Task<ScsiResult> ScsiUnit::execute(const ScsiCommand &command) {
    const Row &row = rows_[command.opcode()];
    ScsiResult result;
    Sense waiting;
    if (!row.handler) {
        util::log_write(util::kLogUnimp, "scsi: unit '{}' has no command {:#04x}\n", config_.product, command.opcode());
        result = check_condition(sense::kInvalidOpcode);
    } else if (!row.despite_attention && take_attention(waiting)) {
        result = check_condition(waiting);
    } else if (row.needs_medium && !has_medium()) {
        result = check_condition(tray_open_ ? sense::kNoMediumTrayOpen : sense::kNoMedium);
    } else if (row.writes && backend().read_only()) {
        result = check_condition(sense::kWriteProtected);
    } else {
        result = co_await (this->*row.handler)(command);
    }
    if (result.status == kCheckCondition)
        last_ = result.sense;
    else if (command.opcode() != kRequestSense)
        last_ = sense::kNone;
    co_return result;
}

// ---- unit attention and reset --------------------------------------------------------------------------------------

void ScsiUnit::attention(const Sense &sense) {
    const std::lock_guard lock(attention_mutex_);
    // SPC-4, 5.14: power on and resets come first; what they say includes the rest.
    if (attention_.code == sense::kPowerOn.code && attention_.key != 0)
        return;
    attention_ = sense;
    has_attention_ = true;
}

bool ScsiUnit::take_attention(Sense &sense, bool only_look) {
    if (!has_attention_)
        return false;
    const std::lock_guard lock(attention_mutex_);
    sense = attention_;
    if (!only_look) {
        attention_ = {};
        has_attention_ = false;
    }
    return true;
}

void ScsiUnit::reset(const Sense &sense) {
    {
        const std::lock_guard lock(attention_mutex_);
        attention_ = sense;
        has_attention_ = true;
    }
    set_tray_locked(false);
    last_ = sense::kNone;
}

void ScsiUnit::medium_changed(bool present) {
    set_tray_open(!present);
    if (present)
        attention(sense::kMediumChanged);
}

/// `info block` shows both.
void ScsiUnit::set_tray_open(bool open) {
    tray_open_ = open;
    backend().tray_open = open;
}

void ScsiUnit::set_tray_locked(bool locked) {
    locked_ = locked;
    backend().tray_locked = locked;
}

void ScsiUnit::serialize(core::Archive &archive) {
    bool open = tray_open_, locked = locked_;
    archive.field("tray_open", open);
    archive.field("locked", locked);
    set_tray_open(open);
    set_tray_locked(locked);
    const auto each = [&archive](std::string_view name, Sense &sense) {
        std::array<std::uint8_t, 3> bytes{sense.key, sense.code, sense.qualifier};
        archive.bytes(name, bytes);
        sense = {bytes[0], bytes[1], bytes[2]};
    };
    each("sense", last_);
    each("unit_attention", attention_);
    has_attention_ = attention_.key != 0;
}

// ---- results -------------------------------------------------------------------------------------------------------

ScsiResult ScsiUnit::reply(const ScsiCommand &command, std::span<const std::uint8_t> bytes, std::size_t allocation) const {
    const std::size_t count = std::min({bytes.size(), allocation, static_cast<std::size_t>(command.in.size())});
    command.in.copy_from(0, bytes.data(), count);
    return {.transferred = count};
}

ScsiResult ScsiUnit::failed(const util::Error &error, bool is_read, std::uint64_t length) {
    const int code = error.code() > 0 ? error.code() : EIO;
    switch (backend().error_action(is_read, code)) {
    case block::ErrorAction::kIgnore:
        return {.transferred = length};
    case block::ErrorAction::kStop:
        return {.keep = true};
    default:
        break;
    }
    switch (code) {
    case ENOMEDIUM:
        return check_condition(sense::kNoMedium);
    case ENOMEM:
        return check_condition(sense::kTargetFailure);
    case EINVAL:
        return check_condition(sense::kInvalidField);
    case ENOSPC:
        return check_condition(sense::kSpaceFailed);
    case EPERM:
    case EROFS:
    case EACCES:
        return check_condition(sense::kWriteProtected);
    default:
        return check_condition(sense::kIoError);
    }
}

ScsiResult ScsiUnit::check_range(const BlockRange &range) const {
    const std::uint64_t size = blocks();
    if (range.lba > size || range.count > size - range.lba)
        return check_condition(sense::kLbaOutOfRange);
    return {};
}

// ---- commands that all units have ----------------------------------------------------------------------------------

block::Task<ScsiResult> ScsiUnit::do_nothing(const ScsiCommand &) { co_return ScsiResult{}; }

block::Task<ScsiResult> ScsiUnit::request_sense(const ScsiCommand &command) {
    Sense now = last_;
    if (now == sense::kNone)
        take_attention(now);
    last_ = sense::kNone;
    const auto bytes = fixed_sense(now);
    co_return reply(command, bytes, command.cdb[4]);
}

std::vector<std::uint8_t> lun_list(const std::vector<std::uint16_t> &luns) {
    std::vector<std::uint8_t> bytes(8 + luns.size() * 8);
    store_be(bytes.data(), luns.size() * 8, 4);
    for (std::size_t i = 0; i < luns.size(); ++i)
        store_be(&bytes[8 + i * 8], luns[i], 2);
    return bytes;
}

block::Task<ScsiResult> ScsiUnit::report_luns(const ScsiCommand &command) {
    const std::uint32_t allocation = load_be(std::span(command.cdb).subspan(6, 4));
    if (allocation < 16 || command.cdb[2] > 2)
        co_return check_condition(sense::kInvalidField);
    std::vector<std::uint16_t> luns;
    if (command.cdb[2] != 1) // 1: only well known ones, of which there are none
        luns = config_.luns ? config_.luns() : std::vector<std::uint16_t>{0};
    const auto bytes = lun_list(luns);
    co_return reply(command, bytes, allocation);
}

ScsiResult missing_lun(const ScsiCommand &command, const std::vector<std::uint16_t> &luns) {
    const auto reply = [&command](std::span<const std::uint8_t> bytes, std::size_t allocation) {
        const std::size_t count = std::min({bytes.size(), allocation, static_cast<std::size_t>(command.in.size())});
        command.in.copy_from(0, bytes.data(), count);
        return ScsiResult{.transferred = count};
    };
    const auto cdb = std::span(command.cdb);
    switch (command.opcode()) {
    case kInquiry: {
        if (cdb[1] & 1)
            return check_condition(sense::kInvalidField);
        std::array<std::uint8_t, 36> bytes{};
        bytes[0] = 0x7f; // no unit here, and there cannot be one
        bytes[2] = 5;
        bytes[3] = 0x12;
        bytes[4] = bytes.size() - 5;
        return reply(bytes, load_be(cdb.subspan(3, 2)));
    }
    case kReportLuns:
        return reply(lun_list(luns), load_be(cdb.subspan(6, 4)));
    case kRequestSense:
        return reply(fixed_sense(sense::kLunNotSupported), cdb[4]);
    default:
        return check_condition(sense::kLunNotSupported);
    }
}

block::Task<ScsiResult> ScsiUnit::start_stop_unit(const ScsiCommand &command) {
    const std::uint8_t bits = command.cdb[4];
    const bool start = bits & 1, load_eject = bits & 2;
    if ((bits & 0xf0) != 0 || !load_eject)
        co_return ScsiResult{}; // power conditions and spinning up or down: always ready
    if (!config_.removable)
        co_return check_condition(sense::kInvalidField);
    if (!start && locked_ && !tray_open_)
        co_return check_condition(sense::kRemovalPrevented);
    set_tray_open(!start);
    co_return ScsiResult{};
}

block::Task<ScsiResult> ScsiUnit::prevent_allow(const ScsiCommand &command) {
    set_tray_locked((command.cdb[4] & 1) != 0);
    co_return ScsiResult{};
}

block::Task<ScsiResult> ScsiUnit::read_capacity_10(const ScsiCommand &command) {
    const std::uint64_t count = blocks();
    if (count == 0)
        co_return check_condition(sense::kNoMedium);
    std::array<std::uint8_t, 8> bytes{};
    store_be(bytes.data(), std::min<std::uint64_t>(count - 1, 0xffffffff), 4);
    store_be(&bytes[4], block_size(), 4);
    co_return reply(command, bytes, bytes.size());
}

block::Task<ScsiResult> ScsiUnit::read(const ScsiCommand &command) {
    const BlockRange range = block_range(command.cdb);
    if (ScsiResult bad = check_range(range); bad.status != kGood)
        co_return bad;
    const std::uint64_t length = static_cast<std::uint64_t>(range.count) * block_size();
    if (length > command.in.size())
        co_return check_condition(sense::kInvalidField);
    const block::IoVector to = command.in.slice(0, length);
    auto done = co_await backend().read(range.lba * block_size(), to);
    if (!done)
        co_return failed(done.error(), true, length);
    co_return ScsiResult{.transferred = length};
}

block::Task<ScsiResult> ScsiUnit::verify(const ScsiCommand &command) {
    const BlockRange range = block_range(command.cdb);
    if (ScsiResult bad = check_range(range); bad.status != kGood)
        co_return bad;
    const unsigned byte_check = command.cdb[1] >> 1 & 3;
    if (byte_check == 0)
        co_return ScsiResult{}; // the host's storage is trusted to hold what was written
    const std::uint64_t length = static_cast<std::uint64_t>(range.count) * block_size();
    if (byte_check != 1 || length > command.out.size())
        co_return check_condition(sense::kInvalidField);
    constexpr std::uint64_t kPiece = 256 << 10;
    std::vector<std::uint8_t> mine(static_cast<std::size_t>(std::min(length, kPiece))), theirs(mine.size());
    for (std::uint64_t at = 0; at < length; at += kPiece) {
        const auto count = static_cast<std::size_t>(std::min(kPiece, length - at));
        const block::IoVector to(mine.data(), count);
        auto done = co_await backend().read(range.lba * block_size() + at, to);
        if (!done)
            co_return failed(done.error(), true, length);
        command.out.copy_to(at, theirs.data(), count);
        if (!std::equal(mine.begin(), mine.begin() + static_cast<std::ptrdiff_t>(count), theirs.begin()))
            co_return check_condition(sense::kMiscompare);
    }
    co_return ScsiResult{.transferred = length};
}

block::Task<ScsiResult> ScsiUnit::synchronize_cache(const ScsiCommand &) {
    auto done = co_await backend().flush();
    if (!done)
        co_return failed(done.error(), false);
    co_return ScsiResult{};
}

} // namespace rhea::hw::scsi
