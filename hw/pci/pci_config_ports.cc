#include "hw/pci/pci_config_ports.h"

namespace rhea::hw {
namespace {

constexpr core::hwaddr kPort = 0xcf8;
constexpr core::hwaddr kResetControl = 1;  // 0xcf9
constexpr core::hwaddr kData = 4;          // 0xcfc

// CONFADD
constexpr std::uint32_t kEnable = 1u << 31;
constexpr std::uint32_t kWritable = 0x80fffffc;

// RCR
constexpr std::uint8_t kSystemReset = 1u << 1;
constexpr std::uint8_t kResetCpu = 1u << 2;

std::uint64_t ones(unsigned size) {
    return (std::uint64_t{1} << size * 8) - 1;
}

}  // namespace

PciConfigPorts::PciConfigPorts(PciBus& bus, core::MachineRequests& requests)
    : bus_(bus), requests_(requests), region_(core::MemoryRegion::io("pci-config", 8, *this)) {}

void PciConfigPorts::map(core::MemoryRegion& io_root) {
    io_root.add(kPort, *region_);
}

void PciConfigPorts::reset() {
    address_ = 0;
    reset_control_ = 0;
}

std::uint64_t PciConfigPorts::io_read(core::hwaddr offset, unsigned size) {
    if (offset >= kData) {
        const unsigned bus = address_ >> 16 & 0xff;
        if (!(address_ & kEnable) || bus != 0) {
            return ones(size);
        }
        return bus_.config_read(address_ >> 8 & 0xff,
                                (address_ & 0xfc) + static_cast<unsigned>(offset - kData), size);
    }
    if (offset == 0 && size == 4) {
        return address_;
    }
    return offset == kResetControl && size == 1 ? reset_control_ : ones(size);
}

void PciConfigPorts::io_write(core::hwaddr offset, std::uint64_t value, unsigned size) {
    if (offset >= kData) {
        if ((address_ & kEnable) && (address_ >> 16 & 0xff) == 0) {
            bus_.config_write(address_ >> 8 & 0xff,
                              (address_ & 0xfc) + static_cast<unsigned>(offset - kData),
                              static_cast<std::uint32_t>(value), size);
        }
    } else if (offset == 0 && size == 4) {
        // Only a doubleword access is CONFADD; narrower ones are ordinary I/O.
        address_ = static_cast<std::uint32_t>(value) & kWritable;
    } else if (offset == kResetControl && size == 1) {
        write_reset_control(static_cast<std::uint8_t>(value));
    }
}

void PciConfigPorts::write_reset_control(std::uint8_t value) {
    // "A transition of bit 2 from 0 to 1 initiates the reset" (hard or soft, by bit 1).
    const bool rising = (value & kResetCpu) && !(reset_control_ & kResetCpu);
    reset_control_ = value & (kSystemReset | kResetCpu);
    if (rising) {
        requests_.request_reset(core::ShutdownCause::kGuestReset);
    }
}

void PciConfigPorts::serialize(core::Archive& archive) {
    archive.field("address", address_);
    archive.field("reset_control", reset_control_);
}

}  // namespace rhea::hw
