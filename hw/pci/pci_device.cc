#include "hw/pci/pci_device.h"

#include <fmt/format.h>

#include <bit>
#include <cassert>
#include <charconv>

#include "hw/pci/pci_bus.h"

namespace rhea::hw {

using namespace pci_reg;

namespace {

constexpr std::uint16_t kCommandWritable =
    kCommandIo | kCommandMemory | kCommandBusMaster | 1u << 6 | 1u << 8 | kCommandIntxDisable;
constexpr std::uint16_t kStatusClearable = 0xf900;
constexpr std::uint8_t kHeaderMultifunction = 0x80;
constexpr unsigned kRomIndex = 6;
// BAR type bits (PCI 3.0, 6.2.5.1)
constexpr std::uint32_t kBarIo = 1;
constexpr std::uint32_t kBar64 = 4;
constexpr std::uint32_t kBarPrefetchable = 8;
constexpr std::uint32_t kRomEnable = 1;
constexpr std::uint64_t kIoSpaceSize = 0x10000;
constexpr int kBarPriority = 1;

std::uint32_t type_bits(PciBarKind kind) {
    switch (kind) {
        case PciBarKind::kIo:
            return kBarIo;
        case PciBarKind::kMemory32:
            return 0;
        case PciBarKind::kMemory64:
            return kBar64;
        case PciBarKind::kMemory64Prefetchable:
            return kBar64 | kBarPrefetchable;
    }
    return 0;
}

/// "05", "0x5" or "5.1": slot and function, hexadecimal.
std::optional<PciAddress> parse_address(std::string_view text) {
    PciAddress address;
    const auto number = [&text](unsigned& value) {
        if (text.starts_with("0x") || text.starts_with("0X")) {
            text.remove_prefix(2);
        }
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
        text.remove_prefix(static_cast<std::size_t>(end - text.data()));
        return error == std::errc{};
    };
    if (!number(address.slot)) {
        return std::nullopt;
    }
    if (text.starts_with('.')) {
        text.remove_prefix(1);
        if (!number(address.function)) {
            return std::nullopt;
        }
    }
    const bool valid = text.empty() && address.slot < PciBus::kSlots && address.function < PciBus::kFunctions;
    return valid ? std::optional(address) : std::nullopt;
}

}  // namespace

PciDevice::PciDevice(const PciIdentity& identity) : multifunction_(identity.multifunction) {
    add_properties();
    config_.set16(kVendorId, identity.vendor);
    config_.set16(kDeviceId, identity.device);
    config_.set32(kRevision, identity.class_code << 8 | identity.revision);
    config_.set16(kSubsystemVendorId, identity.subsystem_vendor);
    config_.set16(kSubsystemId, identity.subsystem);
    config_.set8(kInterruptPin, identity.interrupt_pin);
    config_.set8(kHeaderType, identity.multifunction ? kHeaderMultifunction : 0);
    config_.writable16(kCommand, kCommandWritable);
    config_.clearable16(kStatus, kStatusClearable);
    config_.writable8(kCacheLineSize, 0xff);
    config_.writable8(kLatencyTimer, 0xff);
    config_.writable8(kInterruptLine, 0xff);
    config_.on_change(kCommand, 2, [this] {
        place_bars();
        interrupt_changed();
    });
    config_.on_change(kBar0, 24, [this] { place_bars(); });
    config_.on_change(kExpansionRom, 4, [this] { place_bars(); });
}

void PciDevice::add_properties() {
    core::Property addr{.name = "addr", .type = "str", .description = "Place on the bus: SLOT or SLOT.FUNCTION in hexadecimal; else the first free",
                        .default_text = {}, .set = {}, .get = {}};
    addr.set = [this](std::string_view text) -> util::Result<void> {
        wanted_address_ = parse_address(text);
        if (!wanted_address_) {
            return util::fail("property 'addr' takes a slot from 0 to 1f and a function from 0 to 7 in hexadecimal "
                              "(example: 06.0), not '{}'", text);
        }
        return {};
    };
    addr.get = [this] {
        return wanted_address_ ? fmt::format("{:02x}.{:x}", wanted_address_->slot, wanted_address_->function)
                               : std::string();
    };
    properties_.add(std::move(addr));
    properties_.add_bool("multifunction", multifunction_, "function 0 of a slot with several");
}

util::Result<void> PciDevice::realize() {
    config_.freeze_reset_values();
    return {};
}

void PciDevice::add_bar(unsigned index, core::MemoryRegion& region, PciBarKind kind) {
    assert(index < kRomIndex && !bars_[index].region && std::has_single_bit(region.size()));
    const unsigned offset = kBar0 + index * 4;
    bars_[index] = {.region = &region, .kind = kind, .offset = offset};
    const std::uint64_t mask = ~(region.size() - 1);
    config_.set32(offset, type_bits(kind));
    config_.writable32(offset,
                       static_cast<std::uint32_t>(mask) & (kind == PciBarKind::kIo ? ~3u : ~15u));
    if (type_bits(kind) & kBar64) {
        assert(index + 1 < kRomIndex);
        config_.writable32(offset + 4, static_cast<std::uint32_t>(mask >> 32));
    }
    if (bus_) {
        add_bar_region(bars_[index]);
    }
}

void PciDevice::add_rom(core::MemoryRegion& region) {
    assert(std::has_single_bit(region.size()) && region.size() >= 2048);
    bars_[kRomIndex] = {.region = &region, .offset = kExpansionRom, .is_rom = true};
    config_.writable32(kExpansionRom,
                       (~static_cast<std::uint32_t>(region.size() - 1) & ~0x7ffu) | kRomEnable);
    if (bus_) {
        add_bar_region(bars_[kRomIndex]);
    }
}

void PciDevice::add_bar_region(const Bar& bar) {
    bar.region->set_enabled(false);
    core::MemoryRegion& window =
        bar.kind == PciBarKind::kIo ? bus_->io_window() : bus_->memory_window();
    window.add(0, *bar.region, kBarPriority);
}

void PciDevice::attach_to(PciBus& bus, PciAddress address) {
    bus_ = &bus;
    address_ = address;
    config_.set8(kHeaderType, multifunction_ ? kHeaderMultifunction : 0);
    config_.freeze_reset_values();
    for (const Bar& bar : bars_) {
        if (bar.region) {
            add_bar_region(bar);
        }
    }
}

/// Off the bus: the pin goes down, the BARs go out of the windows.
void PciDevice::detach() {
    set_intx(false);
    core::AddressSpace::begin_transaction();
    for (const Bar& bar : bars_) {
        if (bar.region && bar.region->parent()) {
            bar.region->parent()->remove(*bar.region);
        }
    }
    core::AddressSpace::commit_transaction();
    bus_ = nullptr;
}

/// Is the BAR's range visible? `base` is where.
bool PciDevice::decodes(const Bar& bar, core::hwaddr& base) const {
    const std::uint16_t command = config_.get16(kCommand);
    const std::uint32_t low = config_.get32(bar.offset);
    const std::uint64_t size = bar.region->size();
    if (bar.is_rom) {
        base = low & ~0x7ffu;
        if (!(low & kRomEnable)) {
            return false;
        }
    } else if (bar.kind == PciBarKind::kIo) {
        base = low & ~3u;
        return (command & kCommandIo) && base != 0 && base + size <= kIoSpaceSize;
    } else {
        base = low & ~15u;
    }
    const bool wide = !bar.is_rom && (type_bits(bar.kind) & kBar64);
    if (wide) {
        base |= static_cast<core::hwaddr>(config_.get32(bar.offset + 4)) << 32;
    }
    // All ones is a size being asked for; the ends of the address range are not usable.
    const core::hwaddr last = base + size - 1;
    const core::hwaddr limit = wide ? ~core::hwaddr{0} : 0xffffffff;
    return (command & kCommandMemory) && base != 0 && last > base && last < limit;
}

void PciDevice::place_bar(const Bar& bar) {
    core::hwaddr base = 0;
    const bool visible = decodes(bar, base);
    if (visible) {
        bar.region->set_offset(base);
    }
    bar.region->set_enabled(visible);
}

void PciDevice::place_bars() {
    if (!bus_) {
        return;
    }
    core::AddressSpace::begin_transaction();
    for (const Bar& bar : bars_) {
        if (bar.region) {
            place_bar(bar);
        }
    }
    core::AddressSpace::commit_transaction();
}

bool PciDevice::intx_asserted() const {
    return intx_level_ && !(config_.get16(kCommand) & kCommandIntxDisable);
}

void PciDevice::set_intx(bool level) {
    if (level == intx_level_) {
        return;
    }
    intx_level_ = level;
    interrupt_changed();
}

void PciDevice::interrupt_changed() {
    const std::uint16_t status = config_.get16(kStatus);
    config_.set16(kStatus, static_cast<std::uint16_t>(intx_level_ ? status | kStatusInterrupt
                                                                  : status & ~kStatusInterrupt));
    if (bus_) {
        bus_->interrupt_changed(*this);
    }
}

core::AddressSpace& PciDevice::dma_space() const {
    return bus_->dma_space();
}

core::MemTxResult PciDevice::dma_read(core::hwaddr addr, void* to, std::size_t length) {
    if (!bus_master() || !bus_) {
        return core::MemTxResult::kAccessError;
    }
    return bus_->dma_space().read(addr, to, length);
}

core::MemTxResult PciDevice::dma_write(core::hwaddr addr, const void* from, std::size_t length) {
    if (!bus_master() || !bus_) {
        return core::MemTxResult::kAccessError;
    }
    return bus_->dma_space().write(addr, from, length);
}

void PciDevice::reset() {
    intx_level_ = false;
    config_.reset();
}

void PciDevice::serialize(core::Archive& archive) {
    archive.field("intx", intx_level_);
    config_.serialize(archive);
}

}  // namespace rhea::hw
