// What firmware is told about booting: the file "bootorder", -boot's wishes, and the disks in CMOS memory.
#include "hw/boot_device.h"
#include "hw/ide/ide_hard_disk.h"
#include "hw/nvram/fw_cfg.h"
#include "hw/pc/pc_machine.h"
#include "hw/timer/mc146818.h"

#include <algorithm>
#include <fmt/format.h>

namespace rhea::hw::pc {
namespace {

/// The number that firmware has for a boot device of -boot.
std::uint8_t boot_nibble(char letter) {
    switch (letter) {
    case 'a':
    case 'b':
        return 1;
    case 'c':
        return 2;
    case 'd':
        return 3;
    default:
        return 0;
    }
}

std::vector<std::uint8_t> little_endian(std::uint32_t value, unsigned size) {
    std::vector<std::uint8_t> bytes;
    for (unsigned i = 0; i < size; ++i)
        bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    return bytes;
}

} // namespace

/// One path a line, in order of bootindex; "HALT" (strict=on) keeps firmware from trying what is not
/// listed.
util::Result<std::vector<std::uint8_t>> X86Machine::boot_order_file() const {
    std::vector<BootEntry> entries;
    for (const auto &device : devices()) {
        const auto *source = dynamic_cast<const BootDevice *>(device.get());
        if (!source)
            continue;
        for (BootEntry &entry : source->boot_entries()) {
            if (entry.index < 0)
                continue;
            if (std::ranges::count(entries, entry.index, &BootEntry::index))
                return util::fail("device '{}': there is another with bootindex={}; each may be used once", device->path(), entry.index);
            entries.push_back(std::move(entry));
        }
    }
    std::ranges::sort(entries, {}, &BootEntry::index);
    std::string text;
    for (const BootEntry &entry : entries)
        text += (text.empty() ? "" : "\n") + entry.path;
    if (config().boot.strict && !text.empty())
        text += "\nHALT";
    std::vector<std::uint8_t> bytes(text.begin(), text.end());
    if (!bytes.empty())
        bytes.push_back(0);
    return bytes;
}

util::Result<void> X86Machine::add_boot_files() {
    auto order = boot_order_file();
    if (!order)
        return util::fail(order.error());
    if (!order->empty()) {
        if (auto done = fw_cfg_->add_file("bootorder", std::move(*order)); !done)
            return done;
    }
    const core::BootOptions &boot = config().boot;
    if (boot.menu_wait_ms) {
        if (auto done = fw_cfg_->add_file("etc/boot-menu-wait", little_endian(*boot.menu_wait_ms, 2)); !done)
            return done;
    }
    if (boot.retry_after_ms) {
        if (auto done = fw_cfg_->add_file("etc/boot-fail-wait", little_endian(static_cast<std::uint32_t>(*boot.retry_after_ms), 4)); !done)
            return done;
    }
    if (!rtc_)
        return {};
    set_cmos_boot_order(boot.once.empty() ? boot.order : boot.once);
    if (!boot.once.empty()) {
        // The first reset is power on.
        add_reset_hook([this, powered = false]() mutable {
            if (powered)
                set_cmos_boot_order(config().boot.order);
            powered = true;
        });
    }
    return {};
}

void X86Machine::set_cmos_boot_order(const std::string &letters) {
    const auto nibble = [&](std::size_t i) { return i < letters.size() ? boot_nibble(letters[i]) : std::uint8_t{0}; };
    rtc_->set_cmos(0x3d, static_cast<std::uint8_t>(nibble(1) << 4 | nibble(0)));
    rtc_->set_cmos(0x38, static_cast<std::uint8_t>(nibble(2) << 4));
}

/// Drive types of the first two disks (47: described behind it), and for all four how the BIOS turns their geometry into
/// one that fits INT 13h: 0 as it is, 1 by LBA.
void PcMachine::set_cmos_disks() {
    constexpr std::uint8_t kTypes = 0x12, kExtendedTypes = 0x19, kParameters = 0x1b, kParametersSize = 9, kTranslation = 0x39;
    std::uint8_t types = 0, translation = 0;
    for (unsigned number = 0; number < 4; ++number) {
        const IdeHardDisk *const drive = ide_disk(number);
        if (!drive)
            continue;
        const DiskGeometry &geometry = drive->disk()->identity().geometry;
        if (geometry.cylinders > 1024 || geometry.heads > 16 || geometry.sectors > 63)
            translation = static_cast<std::uint8_t>(translation | 1u << (2 * number));
        if (number >= 2)
            continue;
        types |= number ? 0x0f : 0xf0;
        rtc_->set_cmos(static_cast<std::uint8_t>(kExtendedTypes + number), 47);
        const auto low = static_cast<std::uint8_t>(geometry.cylinders), high = static_cast<std::uint8_t>(geometry.cylinders >> 8);
        const std::uint8_t parameters[kParametersSize] = {
            low, high, static_cast<std::uint8_t>(geometry.heads), 0xff, 0xff, // no write precompensation
            static_cast<std::uint8_t>(0xc0 | (geometry.heads > 8 ? 8 : 0)), low, high, static_cast<std::uint8_t>(geometry.sectors)};
        for (std::uint8_t i = 0; i < kParametersSize; ++i)
            rtc_->set_cmos(static_cast<std::uint8_t>(kParameters + number * kParametersSize + i), parameters[i]);
    }
    rtc_->set_cmos(kTypes, types);
    rtc_->set_cmos(kTranslation, translation);
}

} // namespace rhea::hw::pc
