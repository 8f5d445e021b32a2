#include "hw/ide/ide_channel.h"

#include "hw/ide/ide_device.h"

#include <fmt/format.h>

namespace rhea::hw {

using namespace ata;

namespace {
/// What the host reads where nobody drives the wires. Real ones have a resistor at DD7, so that BSY is not seen; firmware that waits
/// for DRQ to go, too, would wait for it in vain with the other bits set.
constexpr std::uint8_t kFloating = 0x00;
} // namespace

IdeChannel::IdeChannel(unsigned number, core::IrqLine irq, Controller &controller)
    : Bus(fmt::format("ide.{}", number), "IDE"), number_(number), irq_(irq), controller_(controller),
      command_region_(core::MemoryRegion::io(fmt::format("ide{}-command", number), kRegisters, *this)),
      control_region_(core::MemoryRegion::io(fmt::format("ide{}-control", number), 1, control_port_, {.min = 1, .max = 1})) {}

util::Result<void> IdeChannel::plug(core::Device &device) {
    auto *const drive = dynamic_cast<IdeDevice *>(&device);
    if (!drive)
        return util::fail("{} is not an IDE drive", device.type());
    std::uint32_t unit = drive->wanted_unit();
    if (unit == IdeDevice::kAnyUnit)
        unit = drives_[0] ? 1 : 0;
    if (unit >= kDrives)
        return util::fail("bus '{}' takes two drives, unit=0 and unit=1, not unit={}", name(), unit);
    if (drives_[unit])
        return util::fail("unit {} of bus '{}' is taken by '{}'; choose another with unit= or bus=", unit, name(), drives_[unit]->path());
    drives_[unit] = drive;
    drive->attach(*this, unit);
    if (drive->path().empty())
        drive->set_path(fmt::format("{}/{}", name(), unit));
    return {};
}

void IdeChannel::unplug(core::Device &device) {
    for (IdeDevice *&drive : drives_) {
        if (drive == &device)
            drive = nullptr;
    }
}

AtaDrive *IdeChannel::disk(unsigned unit) const { return drives_[unit] ? drives_[unit]->drive() : nullptr; }

// ---- command block --------------------------------------------------------------------------------------------------

std::uint64_t IdeChannel::io_read(core::hwaddr offset, unsigned size) {
    if (offset == kData && size >= 2) {
        AtaDrive *const drive = selected();
        return drive ? drive->read_data(size) : ~std::uint64_t{0};
    }
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i)
        value |= static_cast<std::uint64_t>(read_register(static_cast<unsigned>(offset) + i)) << (8 * i);
    return value;
}

void IdeChannel::io_write(core::hwaddr offset, std::uint64_t value, unsigned size) {
    if (offset == kData && size >= 2) {
        if (AtaDrive *const drive = selected())
            drive->write_data(static_cast<std::uint32_t>(value), size);
        return;
    }
    for (unsigned i = 0; i < size; ++i)
        write_register(static_cast<unsigned>(offset) + i, static_cast<std::uint8_t>(value >> (8 * i)));
}

std::uint8_t IdeChannel::read_register(unsigned reg) {
    const bool high_order = control_ & kHighOrderByte;
    if (AtaDrive *const drive = selected())
        return reg == kData ? 0 : drive->read_register(reg, high_order);
    AtaDrive *const other = stand_in();
    if (!other || reg == kData)
        return kFloating;
    if (reg == kStatus || reg == kError)
        return 0;
    return other->read_register(reg, high_order);
}

void IdeChannel::write_register(unsigned reg, std::uint8_t value) {
    if (reg == kData)
        return;
    if (reg == kStatus) {
        write_command(value);
        return;
    }
    control_ &= static_cast<std::uint8_t>(~kHighOrderByte);
    const AtaDrive *const drive = selected();
    if (drive && !drive->accepts_writes())
        return;
    for (unsigned unit = 0; unit < kDrives; ++unit) {
        if (AtaDrive *const each = disk(unit))
            each->write_register(reg, value);
    }
    if (reg == kDevice) {
        slave_selected_ = value & kDeviceSelect;
        interrupt_changed();
    }
}

void IdeChannel::write_command(std::uint8_t command) {
    AtaDrive *const drive = selected();
    if (command == kExecuteDiagnostic) {
        if ((drive && !drive->accepts_writes()) || (!drive && !stand_in()))
            return;
        slave_selected_ = false;
        for (unsigned unit = 0; unit < kDrives; ++unit) {
            if (AtaDrive *const each = disk(unit))
                each->diagnose(unit == 0);
        }
        interrupt_changed();
    } else if (drive) {
        drive->execute(command);
    }
}

// ---- control block --------------------------------------------------------------------------------------------------

std::uint64_t IdeChannel::ControlPort::io_read(core::hwaddr, unsigned) { return channel_.alternate_status(); }
void IdeChannel::ControlPort::io_write(core::hwaddr, std::uint64_t value, unsigned) {
    channel_.write_control(static_cast<std::uint8_t>(value));
}

std::uint8_t IdeChannel::alternate_status() const {
    if (const AtaDrive *const drive = selected())
        return drive->alternate_status();
    return stand_in() ? std::uint8_t{0} : kFloating;
}

void IdeChannel::write_control(std::uint8_t value) {
    const std::uint8_t changed = control_ ^ value;
    control_ = value;
    if (changed & kSoftReset) {
        if (value & kSoftReset)
            slave_selected_ = false;
        for (unsigned unit = 0; unit < kDrives; ++unit) {
            if (AtaDrive *const each = disk(unit))
                value & kSoftReset ? each->hold_reset() : each->release_reset();
        }
    }
    interrupt_changed();
}

void IdeChannel::interrupt_changed() {
    const AtaDrive *const drive = selected();
    const bool level = drive && drive->intrq() && !(control_ & kInterruptDisable);
    if (level == irq_level_)
        return;
    irq_level_ = level;
    if (level)
        bm_status_ |= kBmInterrupt;
    irq_.set(level);
}

// ---- state ----------------------------------------------------------------------------------------------------------

void IdeChannel::reset() {
    slave_selected_ = false;
    control_ = 0;
    bm_command_ = bm_status_ = 0;
    bm_table_ = 0;
    interrupt_changed();
}

void IdeChannel::serialize(core::Archive &archive) {
    archive.field("slave_selected", slave_selected_);
    archive.field("control", control_);
    archive.field("irq_level", irq_level_);
    archive.field("bm_command", bm_command_);
    archive.field("bm_status", bm_status_);
    archive.field("bm_table", bm_table_);
    if (archive.restoring()) {
        bm_command_ &= kBmStart | kBmToMemory;
        bm_status_ &= kBmActive | kBmError | kBmInterrupt | kBmDriveCapable;
        bm_table_ &= ~3u;
    }
}

} // namespace rhea::hw
