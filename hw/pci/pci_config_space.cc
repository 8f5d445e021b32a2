#include "hw/pci/pci_config_space.h"

#include <algorithm>
#include <cassert>

namespace rhea::hw {

std::uint32_t PciConfigSpace::read(unsigned offset, unsigned size) {
    if (!read_observers_.empty()) {
        notify(read_observers_, offset, size);
    }
    std::uint32_t value = 0;
    for (unsigned i = 0; i < size && i < 4; ++i) {
        const std::uint32_t byte = offset + i < kSize ? data_[offset + i] : 0xff;
        value |= byte << i * 8;
    }
    return value;
}

void PciConfigSpace::write(unsigned offset, std::uint32_t value, unsigned size) {
    for (unsigned i = 0; i < size && i < 4 && offset + i < kSize; ++i) {
        const unsigned at = offset + i;
        const auto byte = static_cast<std::uint8_t>(value >> i * 8);
        const std::uint8_t mask = write_mask_[at];
        const auto kept = static_cast<std::uint8_t>((data_[at] & ~mask) | (byte & mask));
        data_[at] = static_cast<std::uint8_t>(kept & ~(byte & clear_mask_[at]));
    }
    notify(change_observers_, offset, size);
}

std::uint16_t PciConfigSpace::get16(unsigned offset) const {
    return static_cast<std::uint16_t>(data_[offset] | data_[offset + 1] << 8);
}

std::uint32_t PciConfigSpace::get32(unsigned offset) const {
    return get16(offset) | static_cast<std::uint32_t>(get16(offset + 2)) << 16;
}

void PciConfigSpace::set16(unsigned offset, std::uint16_t value) {
    data_[offset] = static_cast<std::uint8_t>(value);
    data_[offset + 1] = static_cast<std::uint8_t>(value >> 8);
}

void PciConfigSpace::set32(unsigned offset, std::uint32_t value) {
    set16(offset, static_cast<std::uint16_t>(value));
    set16(offset + 2, static_cast<std::uint16_t>(value >> 16));
}

void PciConfigSpace::writable16(unsigned offset, std::uint16_t mask) {
    write_mask_[offset] = static_cast<std::uint8_t>(mask);
    write_mask_[offset + 1] = static_cast<std::uint8_t>(mask >> 8);
}

void PciConfigSpace::writable32(unsigned offset, std::uint32_t mask) {
    writable16(offset, static_cast<std::uint16_t>(mask));
    writable16(offset + 2, static_cast<std::uint16_t>(mask >> 16));
}

void PciConfigSpace::clearable16(unsigned offset, std::uint16_t mask) {
    clear_mask_[offset] = static_cast<std::uint8_t>(mask);
    clear_mask_[offset + 1] = static_cast<std::uint8_t>(mask >> 8);
}

void PciConfigSpace::reserve(unsigned offset, unsigned length) {
    for (unsigned i = offset; i < offset + length && i < kSize; ++i) {
        reserved_[i] = true;
    }
}

unsigned PciConfigSpace::add_capability(std::uint8_t id, unsigned length) {
    const auto taken = [&](unsigned at) {
        return std::find(reserved_.begin() + at, reserved_.begin() + std::min(at + length, kSize),
                         true) != reserved_.begin() + std::min(at + length, kSize);
    };
    unsigned at = next_capability_;
    while (at + length <= kSize && taken(at)) {
        at += 4;
    }
    assert(at + length <= kSize && "no room for another PCI capability");
    next_capability_ = (at + length + 3) & ~3u;
    reserve(at, length);
    data_[at] = id;
    data_[at + 1] = 0;
    // At the end of the list, so that guests meet capabilities in the order of addition.
    data_[last_capability_ ? last_capability_ + 1 : pci_reg::kCapabilities] =
        static_cast<std::uint8_t>(at);
    last_capability_ = at;
    set16(pci_reg::kStatus, get16(pci_reg::kStatus) | pci_reg::kStatusCapabilities);
    return at;
}

void PciConfigSpace::on_change(unsigned offset, unsigned length, std::function<void()> handler) {
    change_observers_.push_back({offset, length, std::move(handler)});
}

void PciConfigSpace::before_read(unsigned offset, unsigned length, std::function<void()> handler) {
    read_observers_.push_back({offset, length, std::move(handler)});
}

void PciConfigSpace::notify(const std::vector<Observer>& observers, unsigned offset,
                            unsigned length) {
    for (const Observer& observer : observers) {
        if (offset < observer.offset + observer.length && observer.offset < offset + length) {
            observer.handler();
        }
    }
}

void PciConfigSpace::reset() {
    data_ = reset_values_;
    notify(change_observers_, 0, kSize);
}

void PciConfigSpace::serialize(core::Archive& archive) {
    Bytes bytes = data_;
    archive.bytes("config", bytes);
    if (!archive.restoring()) {
        return;
    }
    // What the guest cannot write is this device's identity: state of another device is refused.
    constexpr unsigned kIdentity[] = {pci_reg::kVendorId, pci_reg::kVendorId + 1,
                                      pci_reg::kDeviceId, pci_reg::kDeviceId + 1};
    for (const unsigned at : kIdentity) {
        if (bytes[at] != data_[at]) {
            archive.fail("the stored PCI configuration is that of another device");
            return;
        }
    }
    // Constant bits stay, whatever the file says; the header's status and a device's own read-only
    // registers are restored.
    for (unsigned at = 0; at < kSize; ++at) {
        const bool constant = at < pci_reg::kFirstDeviceRegister && at != pci_reg::kStatus;
        const std::uint8_t mask = constant ? write_mask_[at] | clear_mask_[at] : 0xff;
        data_[at] = static_cast<std::uint8_t>((data_[at] & ~mask) | (bytes[at] & mask));
    }
    notify(change_observers_, 0, kSize);
}

}  // namespace rhea::hw
