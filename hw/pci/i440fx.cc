#include "hw/pci/i440fx.h"

#include <cassert>

namespace rhea::hw {
namespace {

constexpr unsigned kPam0 = 0x59;
constexpr unsigned kPamCount = 7;
constexpr unsigned kSmram = 0x72;
constexpr std::uint8_t kPamReadEnable = 1;
constexpr std::uint8_t kPamWriteEnable = 2;
constexpr std::uint8_t kSmramOpen = 1u << 6;
constexpr std::uint8_t kSmramLocked = 1u << 4;
constexpr std::uint8_t kSmramEnable = 1u << 3;
constexpr std::uint8_t kSmramReset = 0x02;
constexpr std::uint8_t kSmramWritable = 0x78;

constexpr core::hwaddr kVgaStart = 0xa0000;
constexpr std::uint64_t kVgaSize = 0x20000;
constexpr int kOverlayPriority = 1;

/// Table 3-3 of the datasheet: which nibble governs which addresses.
struct SegmentPlace {
    unsigned reg;    ///< PAM register
    unsigned shift;  ///< of the nibble
    core::hwaddr start;
    std::uint64_t size;
};

constexpr std::array<SegmentPlace, 13> kPlaces = {{
    {0x59, 4, 0xf0000, 0x10000},
    {0x5a, 0, 0xc0000, 0x4000},
    {0x5a, 4, 0xc4000, 0x4000},
    {0x5b, 0, 0xc8000, 0x4000},
    {0x5b, 4, 0xcc000, 0x4000},
    {0x5c, 0, 0xd0000, 0x4000},
    {0x5c, 4, 0xd4000, 0x4000},
    {0x5d, 0, 0xd8000, 0x4000},
    {0x5d, 4, 0xdc000, 0x4000},
    {0x5e, 0, 0xe0000, 0x4000},
    {0x5e, 4, 0xe4000, 0x4000},
    {0x5f, 0, 0xe8000, 0x4000},
    {0x5f, 4, 0xec000, 0x4000},
}};

}  // namespace

std::uint64_t I440fx::WriteThrough::io_read(core::hwaddr offset, unsigned size) {
    return pci->load(base + offset, size);
}

void I440fx::WriteThrough::io_write(core::hwaddr offset, std::uint64_t value, unsigned size) {
    ram->store(base + offset, value, size);
}

I440fx::I440fx(PciBus& bus, const Ports& ports)
    : PciDevice({.vendor = 0x8086, .device = 0x1237, .class_code = 0x060000, .revision = 2}),
      config_ports_(bus, ports.requests),
      pci_space_("pci", ports.pci_memory),
      ram_space_("ram", ports.ram) {
    static_assert(kPlaces.size() == kSegments);
    for (unsigned i = 0; i < kSegments; ++i) {
        make_segment(i, ports);
    }
    vga_window_ = make_pci_view("vga-window", ports.pci_memory, kVgaStart, kVgaSize);
    ports.memory_root.add(kVgaStart, *vga_window_.whole, kOverlayPriority);

    for (unsigned i = 0; i < kPamCount; ++i) {
        config().writable8(kPam0 + i, i == 0 ? 0x30 : 0x33);
    }
    config().set8(kSmram, kSmramReset);
    config().writable8(kSmram, kSmramWritable);
    config().on_change(kPam0, kPamCount, [this] { update_memory(); });
    config().on_change(kSmram, 1, [this] {
        if (this->config().get8(kSmram) & kSmramLocked) {
            // "When D_LCK is set, D_OPEN is reset to 0 and all of these bits become read-only."
            this->config().set8(
                kSmram, this->config().get8(kSmram) & static_cast<std::uint8_t>(~kSmramOpen));
            this->config().writable8(kSmram, 0);
        }
        update_memory();
    });
    config_ports_.map(ports.io_root);
    [[maybe_unused]] const auto attached = bus.attach(*this, {.slot = 0});
    assert(attached && "the host bridge comes first");
    update_memory();
}

I440fx::PciView I440fx::make_pci_view(std::string name, core::MemoryRegion& pci, core::hwaddr start,
                                      std::uint64_t size) {
    PciView view;
    view.whole = core::MemoryRegion::container(name, size);
    view.background = core::MemoryRegion::io(name + "-abort", size, master_abort_);
    view.alias = core::MemoryRegion::alias(name + "-pci", pci, start, size);
    view.whole->add(0, *view.background);
    view.whole->add(0, *view.alias, 1);
    return view;
}

void I440fx::open_shadow_ram() {
    for (unsigned i = 0; i < kPamCount; ++i) {
        config().set8(kPam0 + i, i == 0 ? 0x30 : 0x33);
    }
    update_memory();
}

void I440fx::make_segment(unsigned index, const Ports& ports) {
    const SegmentPlace& place = kPlaces[index];
    Segment& segment = segments_[index];
    segment.handler.pci = &pci_space_;
    segment.handler.ram = &ram_space_;
    segment.handler.base = place.start;
    segment.pci = make_pci_view("pam-pci", ports.pci_memory, place.start, place.size);
    segment.read_only = core::MemoryRegion::alias("pam-rom", ports.ram, place.start, place.size);
    segment.read_only->set_readonly(true);
    segment.write_through =
        core::MemoryRegion::io("pam-write-through", place.size, segment.handler);
    for (core::MemoryRegion* region :
         {segment.pci.whole.get(), segment.read_only.get(), segment.write_through.get()}) {
        region->set_enabled(false);
        ports.memory_root.add(place.start, *region, kOverlayPriority);
    }
}

void I440fx::update_memory() {
    core::AddressSpace::begin_transaction();
    for (unsigned i = 0; i < kSegments; ++i) {
        const std::uint8_t attributes = config().get8(kPlaces[i].reg) >> kPlaces[i].shift & 3;
        // Both enabled: DRAM as it lies below.
        segments_[i].pci.whole->set_enabled(attributes == 0);
        segments_[i].read_only->set_enabled(attributes == kPamReadEnable);
        segments_[i].write_through->set_enabled(attributes == kPamWriteEnable);
    }
    constexpr std::uint8_t kShown = kSmramOpen | kSmramEnable;
    vga_window_.whole->set_enabled((config().get8(kSmram) & kShown) != kShown);
    core::AddressSpace::commit_transaction();
}

void I440fx::reset() {
    config().writable8(kSmram, kSmramWritable);
    config_ports_.reset();
    PciDevice::reset();
}

void I440fx::serialize(core::Archive& archive) {
    archive.section("pci", 1, [this](core::Archive& a) { PciDevice::serialize(a); });
    archive.section("ports", 1, [this](core::Archive& a) { config_ports_.serialize(a); });
}

}  // namespace rhea::hw
