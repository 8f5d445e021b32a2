#include "hw/pci/pci_msi.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cassert>

#include "hw/pci/pci_bus.h"

namespace rhea::hw {
namespace {

constexpr std::uint8_t kMsiId = 0x05;
constexpr std::uint8_t kMsixId = 0x11;

// MSI capability (6.8.1), 64-bit form with masks
constexpr unsigned kMsiLength = 0x18;
constexpr unsigned kControl = 2;
constexpr unsigned kAddressLow = 4;
constexpr unsigned kAddressHigh = 8;
constexpr unsigned kData = 0x0c;
constexpr unsigned kMask = 0x10;
constexpr unsigned kPending = 0x14;
constexpr std::uint16_t kMsiEnable = 1u << 0;
constexpr std::uint16_t kMsiCapableShift = 1;
constexpr std::uint16_t kMsiMultipleShift = 4;
constexpr std::uint16_t kMsi64Bit = 1u << 7;
constexpr std::uint16_t kMsiPerVectorMask = 1u << 8;

// MSI-X capability (6.8.2)
constexpr unsigned kMsixLength = 12;
constexpr unsigned kTable = 4;
constexpr unsigned kPendingBits = 8;
constexpr std::uint16_t kMsixFunctionMask = 1u << 14;
constexpr std::uint16_t kMsixEnable = 1u << 15;
constexpr unsigned kEntrySize = 16;
constexpr unsigned kMaxMsixVectors = 2048;
constexpr std::uint32_t kEntryMasked = 1;

}  // namespace

PciMsi::PciMsi(PciDevice& device, unsigned vectors)
    : device_(device),
      vectors_(vectors),
      offset_(device.config().add_capability(kMsiId, kMsiLength)) {
    assert(std::has_single_bit(vectors) && vectors <= 32);
    PciConfigSpace& config = device_.config();
    const auto log2 = static_cast<std::uint16_t>(std::countr_zero(vectors));
    config.set16(offset_ + kControl, static_cast<std::uint16_t>(log2 << kMsiCapableShift |
                                                                kMsi64Bit | kMsiPerVectorMask));
    config.writable16(offset_ + kControl, kMsiEnable | 7u << kMsiMultipleShift);
    config.writable32(offset_ + kAddressLow, ~3u);
    config.writable32(offset_ + kAddressHigh, ~0u);
    config.writable16(offset_ + kData, 0xffff);
    config.writable32(offset_ + kMask, static_cast<std::uint32_t>((1ull << vectors) - 1));
    config.on_change(offset_, kMsiLength, [this] { send_unmasked(); });
}

bool PciMsi::enabled() const {
    return device_.config().get16(offset_ + kControl) & kMsiEnable;
}

/// How many vectors the guest gave us.
unsigned PciMsi::allocated() const {
    const unsigned log2 = device_.config().get16(offset_ + kControl) >> kMsiMultipleShift & 7;
    return std::min(1u << std::min(log2, 5u), vectors_);
}

bool PciMsi::notify(unsigned vector) {
    if (!enabled()) {
        return false;
    }
    PciConfigSpace& config = device_.config();
    const unsigned number = vector % allocated();
    const std::uint32_t bit = 1u << number;
    if (config.get32(offset_ + kMask) & bit) {
        config.set32(offset_ + kPending, config.get32(offset_ + kPending) | bit);
    } else {
        send(number);
    }
    return true;
}

void PciMsi::send(unsigned vector) {
    const PciConfigSpace& config = device_.config();
    if (!device_.bus_master() || !device_.attached()) {
        return;
    }
    const std::uint64_t address = config.get32(offset_ + kAddressLow) |
                                  static_cast<std::uint64_t>(config.get32(offset_ + kAddressHigh))
                                      << 32;
    const std::uint32_t data = config.get16(offset_ + kData);
    device_.bus().send_msi(address, (data & ~(allocated() - 1)) | vector);
}

void PciMsi::send_unmasked() {
    PciConfigSpace& config = device_.config();
    std::uint32_t pending = config.get32(offset_ + kPending);
    if (!enabled()) {
        return;
    }
    for (std::uint32_t ready = pending & ~config.get32(offset_ + kMask); ready != 0;
         ready &= ready - 1) {
        const auto vector = static_cast<unsigned>(std::countr_zero(ready));
        pending &= ~(1u << vector);
        config.set32(offset_ + kPending, pending);
        if (vector < allocated()) {
            send(vector);
        }
    }
}

PciMsix::PciMsix(PciDevice& device, unsigned vectors, const Place& place)
    : device_(device), entries_(vectors) {
    assert(vectors >= 1 && vectors <= kMaxMsixVectors && place.bar < 6);
    assert((place.table & 7) == 0 && (place.pending_bits & 7) == 0);
    const std::uint64_t pending_size = (vectors + 63) / 64 * 8;
    table_region_ = core::MemoryRegion::io("msix-table", vectors * std::uint64_t{kEntrySize}, *this,
                                           {.min = 4, .max = 4, .unaligned = false});
    pending_region_ = core::MemoryRegion::io("msix-pba", pending_size, pending_bits_,
                                             {.min = 4, .max = 4, .unaligned = false});
    place.region.add(place.table, *table_region_, 1);
    place.region.add(place.pending_bits, *pending_region_, 1);
    PciConfigSpace& config = device_.config();
    offset_ = config.add_capability(kMsixId, kMsixLength);
    config.set16(offset_ + kControl, static_cast<std::uint16_t>(vectors - 1));
    config.writable16(offset_ + kControl, kMsixFunctionMask | kMsixEnable);
    config.set32(offset_ + kTable, static_cast<std::uint32_t>(place.table) | place.bar);
    config.set32(offset_ + kPendingBits,
                 static_cast<std::uint32_t>(place.pending_bits) | place.bar);
    config.on_change(offset_ + kControl, 2, [this] {
        update_descriptors();
        send_pending();
    });
}

bool PciMsix::enabled() const {
    return device_.config().get16(offset_ + kControl) & kMsixEnable;
}

bool PciMsix::masked(const Entry& entry) const {
    return (entry.control & kEntryMasked) ||
           (device_.config().get16(offset_ + kControl) & kMsixFunctionMask);
}

bool PciMsix::notify(unsigned vector) {
    if (!enabled()) {
        return false;
    }
    if (vector >= entries_.size()) {
        return true;  // the guest chose a vector that does not exist: there is nothing to send
    }
    Entry& entry = entries_[vector];
    if (masked(entry)) {
        entry.pending = true;
    } else if (device_.bus_master() && device_.attached()) {
        device_.bus().send_msi(address(entry), entry.data);
    }
    return true;
}

/// Whoever wrote to a descriptor the moment its vector was masked has found nobody who sends: that message waits, too.
void PciMsix::collect(unsigned vector) {
    Entry& entry = entries_[vector];
    std::uint64_t count = 0;
    if (entry.fd >= 0 && !direct(vector) && ::read(entry.fd, &count, sizeof count) == sizeof count) {
        entry.pending = true;
    }
}

void PciMsix::send_pending() {
    if (!enabled()) {
        return;
    }
    for (unsigned i = 0; i < entries_.size(); ++i) {
        collect(i);
        if (entries_[i].pending && !masked(entries_[i])) {
            entries_[i].pending = false;
            notify(i);
        }
    }
}

std::uint32_t PciMsix::Entry::*PciMsix::field(core::hwaddr offset) const {
    static constexpr std::uint32_t Entry::*kFields[] = {&Entry::address_low, &Entry::address_high,
                                                        &Entry::data, &Entry::control};
    return kFields[offset % kEntrySize / 4];
}

std::uint64_t PciMsix::io_read(core::hwaddr offset, unsigned) {
    const auto index = static_cast<std::size_t>(offset / kEntrySize);
    return index < entries_.size() ? entries_[index].*field(offset) : 0;
}

void PciMsix::io_write(core::hwaddr offset, std::uint64_t value, unsigned) {
    const auto index = static_cast<std::size_t>(offset / kEntrySize);
    if (index >= entries_.size()) {
        return;
    }
    std::uint32_t Entry::*const member = field(offset);
    const auto word = static_cast<std::uint32_t>(value);
    entries_[index].*member = member == &Entry::address_low ? word & ~3u
                              : member == &Entry::control   ? word & kEntryMasked
                                                            : word;
    update_descriptor(static_cast<unsigned>(index));
    send_pending();
}

void PciMsix::set_descriptor(unsigned vector, int fd) {
    Entry& entry = entries_[vector];
    if (entry.number >= 0 && fd != entry.fd) {
        device_.bus().msi()->remove_descriptor(entry.number, entry.fd);
        entry.number = -1;
    }
    entry.fd = fd;
    update_descriptor(vector);
}

void PciMsix::update_descriptors() {
    for (unsigned vector = 0; vector < vectors(); ++vector) {
        update_descriptor(vector);
    }
}

void PciMsix::update_descriptor(unsigned vector) {
    Entry& entry = entries_[vector];
    if (entry.fd < 0) {
        return;
    }
    const bool was_direct = direct(vector);
    MsiSink* const sink = device_.attached() ? device_.bus().msi() : nullptr;
    const bool wanted = sink && enabled() && !masked(entry) && device_.bus_master();
    if (wanted && was_direct) {
        sink->change_descriptor(entry.number, address(entry), entry.data);
    } else if (wanted) {
        entry.number = sink->add_descriptor(entry.fd, address(entry), entry.data);
    } else if (was_direct) {
        sink->remove_descriptor(entry.number, entry.fd);
        entry.number = -1;
    }
    if (direct(vector) != was_direct && direct_changed_) {
        direct_changed_(vector);
    }
}

std::uint64_t PciMsix::PendingBits::io_read(core::hwaddr offset, unsigned size) {
    std::uint64_t bits = 0;
    for (unsigned i = 0; i < size * 8; ++i) {
        const auto index = static_cast<std::size_t>(offset * 8 + i);
        if (index < msix_.entries_.size()) {
            msix_.collect(static_cast<unsigned>(index));
            bits |= std::uint64_t{msix_.entries_[index].pending} << i;
        }
    }
    return bits;
}

void PciMsix::reset() {
    for (unsigned vector = 0; vector < vectors(); ++vector) {
        collect(vector); // and forget it
        entries_[vector] = {.fd = entries_[vector].fd, .number = entries_[vector].number};
    }
    update_descriptors();
}

void PciMsix::serialize(core::Archive& archive) {
    std::vector<std::uint8_t> packed;
    constexpr std::size_t kPacked = kEntrySize + 1;
    const auto word = [&packed](std::size_t at) {
        return static_cast<std::uint32_t>(packed[at]) | packed[at + 1] << 8 | packed[at + 2] << 16 |
               static_cast<std::uint32_t>(packed[at + 3]) << 24;
    };
    for (unsigned vector = 0; vector < vectors(); ++vector) {
        if (!archive.restoring()) {
            collect(vector);
        }
        const Entry& entry = entries_[vector];
        for (const std::uint32_t value :
             {entry.address_low, entry.address_high, entry.data, entry.control}) {
            for (unsigned i = 0; i < 4; ++i) {
                packed.push_back(static_cast<std::uint8_t>(value >> i * 8));
            }
        }
        packed.push_back(entry.pending);
    }
    archive.bytes("table", packed, entries_.size() * kPacked);
    if (!archive.restoring()) {
        return;
    }
    if (packed.size() != entries_.size() * kPacked) {
        archive.fail("the MSI-X table has another number of vectors");
        return;
    }
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        const std::size_t at = i * kPacked;
        entries_[i] = {.address_low = word(at) & ~3u,
                       .address_high = word(at + 4),
                       .data = word(at + 8),
                       .control = word(at + 12) & kEntryMasked,
                       .pending = packed[at + 16] != 0,
                       .fd = entries_[i].fd,
                       .number = entries_[i].number};
    }
    update_descriptors();
}

}  // namespace rhea::hw
