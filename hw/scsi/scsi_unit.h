// A SCSI logical unit: the command interpreter, without a bus, a transport or properties.
//
// execute() runs in the context of its drive, one command after another or several at a time; ATAPI and USB storage use it
// like virtio-scsi does. Commands are rows of a table (opcode, handler). reset(), serialize() and the setters are for when no
// command is in flight; attention() is for any thread. Sources: SPC-4 for what all units have; ScsiDisk, ScsiCdrom.
#pragma once
#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "hw/scsi/scsi_command.h"
#include "rhea/block/backend.h"
#include "rhea/core/archive.h"

namespace rhea::hw::scsi {

/// What a unit says about itself, and how it is set up.
struct UnitConfig {
    block::BlockBackend *backend = nullptr;
    std::string vendor = "QEMU", product = {}, version = "2.5+"; ///< what guests of the virtual platform know
    std::string serial = {}, device_id = {}; ///< device_id: in VPD page 0x83
    std::uint64_t wwn = 0;
    std::uint32_t block_size = 512, physical_block_size = 512;
    std::uint32_t discard_granularity = 0; ///< bytes; 0: discarding is not offered
    std::uint64_t min_io_size = 0, opt_io_size = 0, max_io_size = 0x7fffffff, max_unmap_size = 1u << 30; ///< bytes
    std::uint16_t rotation_rate = 0;
    bool removable = false, dpofua = false;
    std::uint8_t version_code = 5; ///< SPC-3
    std::uint8_t physical_interface = 1; ///< GET CONFIGURATION's core feature: 1 SCSI, 2 ATAPI
    bool command_queueing = true;
    /// The LUNs of its target (REPORT LUNS), as in the first two bytes of an 8-byte LUN.
    std::function<std::vector<std::uint16_t>()> luns = {};
};

class ScsiUnit {
public:
    explicit ScsiUnit(UnitConfig config);
    virtual ~ScsiUnit();
    ScsiUnit(const ScsiUnit &) = delete;
    ScsiUnit &operator=(const ScsiUnit &) = delete;

    const UnitConfig &config() const { return config_; }
    block::BlockBackend &backend() const { return *config_.backend; }
    /// Length of a block that LBAs count.
    std::uint32_t block_size() const { return config_.block_size; }
    std::uint64_t blocks() const { return has_medium() ? backend().length() / config_.block_size : 0; }
    bool has_medium() const { return !tray_open_ && backend().has_medium(); }
    bool tray_open() const { return tray_open_; }
    bool tray_locked() const { return locked_; }

    block::Task<ScsiResult> execute(const ScsiCommand &command);
    /// The next command is told of this (a unit attention condition); a later one of lower rank is forgotten.
    void attention(const Sense &sense);
    /// Power on and resets; `sense` is what the initiator is told.
    void reset(const Sense &sense = sense::kPowerOn);
    /// The drive's medium came (the tray is closed behind it) or went (the tray is open). Any thread.
    virtual void medium_changed(bool present);
    /// Bytes that the command wants to send (out) or to get (in), as its CDB says; for transports that need buffers.
    struct Transfer {
        std::uint64_t length = 0;
        bool out = false;
    };
    Transfer transfer(std::span<const std::uint8_t> cdb) const;

    virtual void serialize(core::Archive &archive);

protected:
    using Handler = block::Task<ScsiResult> (ScsiUnit::*)(const ScsiCommand &);
    struct Row {
        Handler handler = nullptr;
        bool needs_medium = false, writes = false;
        bool despite_attention = false; ///< executed while a unit attention waits (INQUIRY, REPORT LUNS, REQUEST SENSE)
    };
    /// A handler of a derived class.
    template <typename T> static Handler handler(block::Task<ScsiResult> (T::*function)(const ScsiCommand &)) {
        return static_cast<Handler>(function);
    }
    void add(Opcode opcode, Row row) { rows_[opcode] = row; }

    virtual std::uint8_t peripheral_type() const = 0;
    virtual std::vector<std::uint8_t> vpd_pages() const = 0;
    /// The page's contents behind its header; empty: there is no such page.
    virtual std::vector<std::uint8_t> vpd_page(std::uint8_t page) const;
    /// A mode page with its header. `changeable`: the bits that MODE SELECT can change. Empty: there is no such page.
    virtual std::vector<std::uint8_t> mode_page(std::uint8_t page, bool changeable) const = 0;
    virtual std::vector<std::uint8_t> mode_pages() const = 0;
    virtual std::uint8_t mode_device_specific() const { return 0; }
    virtual bool has_block_descriptor() const { return true; }
    /// Takes over a page that differs from the present one in changeable bits only.
    virtual block::Task<ScsiResult> apply_mode_page(std::span<const std::uint8_t>) { co_return ScsiResult{}; }

    ScsiResult reply(const ScsiCommand &command, std::span<const std::uint8_t> bytes, std::size_t allocation) const;
    /// The result for a request that failed: by the drive's error policy. `length`: what the command says that it moved when the error
    /// is to be ignored, or an initiator asks for the rest again and again.
    ScsiResult failed(const util::Error &error, bool is_read, std::uint64_t length = 0);
    void set_tray_open(bool open);
    void set_tray_locked(bool locked);
    /// Checks the range against the medium.
    ScsiResult check_range(const BlockRange &range) const;

    // Handlers that all units have: scsi_unit.cc, scsi_inquiry.cc, scsi_mode.cc
    block::Task<ScsiResult> do_nothing(const ScsiCommand &command);
    block::Task<ScsiResult> inquiry(const ScsiCommand &command);
    block::Task<ScsiResult> request_sense(const ScsiCommand &command);
    block::Task<ScsiResult> report_luns(const ScsiCommand &command);
    block::Task<ScsiResult> mode_sense(const ScsiCommand &command);
    block::Task<ScsiResult> mode_select(const ScsiCommand &command);
    block::Task<ScsiResult> start_stop_unit(const ScsiCommand &command);
    block::Task<ScsiResult> prevent_allow(const ScsiCommand &command);
    block::Task<ScsiResult> read_capacity_10(const ScsiCommand &command);
    block::Task<ScsiResult> read(const ScsiCommand &command);
    block::Task<ScsiResult> verify(const ScsiCommand &command);
    block::Task<ScsiResult> synchronize_cache(const ScsiCommand &command);

    UnitConfig config_;

private:
    ScsiResult vpd(const ScsiCommand &command);
    std::vector<std::uint8_t> mode_block_descriptor(bool long_lba) const;
    bool take_attention(Sense &sense, bool only_look = false);

    std::array<Row, 256> rows_{};
    std::atomic<bool> tray_open_{false}, locked_{false};
    Sense last_{}; ///< of the last command that failed: REQUEST SENSE
    std::mutex attention_mutex_;
    Sense attention_{};
    std::atomic<bool> has_attention_{false};
};

/// The answer of a target to a command for a LUN that it does not have.
ScsiResult missing_lun(const ScsiCommand &command, const std::vector<std::uint16_t> &luns);
/// The parameter data of REPORT LUNS.
std::vector<std::uint8_t> lun_list(const std::vector<std::uint16_t> &luns);

} // namespace rhea::hw::scsi
