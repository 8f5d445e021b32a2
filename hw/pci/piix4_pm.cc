#include "hw/pci/piix4_pm.h"

namespace rhea::hw {
namespace {

constexpr core::hwaddr kApmPort = 0xb2;

constexpr unsigned kPmBase = 0x40;
constexpr unsigned kDeviceActivityB = 0x58;  // DEVACTB
constexpr unsigned kPmRegMisc = 0x80;
constexpr unsigned kSmbusBase = 0x90;
constexpr unsigned kSmbusHostConfig = 0xd2;
constexpr unsigned kSmbusRevision = 0xd6;

constexpr std::uint32_t kIoSpaceIndicator = 1;
constexpr std::uint32_t kPmBaseMask = 0xffc0;
constexpr std::uint32_t kSmbusBaseMask = 0xfff0;
constexpr std::uint8_t kPmIoEnable = 1;   // PMREGMISC.PMIOSE
constexpr std::uint8_t kSmbusEnable = 1;  // SMBHSTCFG.SMB_HST_EN
constexpr std::uint32_t kApmcEnable = 1u << 25;
constexpr std::uint8_t kSciLine = 9;

}  // namespace

Piix4Pm::Piix4Pm(core::Clocks& clocks, core::MachineRequests& requests, core::IrqLine sci,
                 core::MemoryRegion& io_root, const Config& config)
    : PciDevice({.vendor = 0x8086,
                 .device = 0x7113,
                 .class_code = 0x068000,
                 .revision = 3,
                 .interrupt_pin = 1}),
      settings_(config),
      pm_(clocks, requests, sci, config.pm),
      hotplug_({.raise_gpe = [this] { pm_.raise_gpe(PciHotplug::kGpe); },
                .eject =
                    [this](unsigned slot) {
                        if (settings_.eject_slot) {
                            settings_.eject_slot(slot);
                        }
                    },
                .removable = [this] { return settings_.removable_slots ? settings_.removable_slots() : 0u; }}),
      apm_("piix4-apm", 2),
      apm_region_(core::MemoryRegion::io("piix4-apm", 2, apm_, {.min = 1, .max = 1})) {
    add_config_registers();
    apm_.add({.offset = 0, .name = "APMC", .on_write = [this](std::uint64_t, std::uint64_t value) {
                  if (value == settings_.acpi_enable) {
                      pm_.set_acpi_enabled(true);
                  } else if (value == settings_.acpi_disable) {
                      pm_.set_acpi_enabled(false);
                  }
              }});
    apm_.add({.offset = 1, .name = "APMS"});
    for (core::MemoryRegion* region : {&pm_.region(), &smbus_.region()}) {
        region->set_enabled(false);
        io_root.add(0, *region, 1);
    }
    io_root.add(settings_.gpe_base, pm_.gpe_region(), 1);
    io_root.add(PciHotplug::kBase, hotplug_.region(), 1);
    io_root.add(kApmPort, *apm_region_);
    update_mappings();
}

void Piix4Pm::add_config_registers() {
    PciConfigSpace& space = this->config();
    space.set16(pci_reg::kStatus, 0x0280);
    space.set8(pci_reg::kInterruptLine, kSciLine);
    space.set32(kPmBase, (settings_.pm_base & kPmBaseMask) | kIoSpaceIndicator);
    space.writable32(kPmBase, kPmBaseMask);
    space.set8(kPmRegMisc, settings_.pm_base != 0 ? kPmIoEnable : 0);
    space.writable8(kPmRegMisc, kPmIoEnable);
    space.set32(kSmbusBase, kIoSpaceIndicator);
    space.writable32(kSmbusBase, kSmbusBaseMask);
    space.writable8(kSmbusHostConfig, 0x0f);
    space.writable8(kSmbusHostConfig + 1, 0xff);  // SMBSLVC
    space.writable8(kSmbusHostConfig + 2, 0xff);  // SMBSHDW1
    space.writable8(kSmbusHostConfig + 3, 0xff);  // SMBSHDW2
    space.set8(kSmbusRevision, 0);
    // CNTA, CNTB, GPICTL, DEVRESD, DEVACTA, DEVACTB, DEVRESA … DEVRESJ: storage.
    for (unsigned offset = 0x44; offset < 0x7c; offset += 4) {
        space.writable32(offset, 0xffffffff);
    }
    // "SMIs on port 0xb2 are set up already": firmware then leaves out its SMM initialisation,
    // which could not work here.
    space.set32(kDeviceActivityB, kApmcEnable);
    space.reserve(kPmBase, 0x100 - kPmBase);
    space.on_change(kPmBase, 4, [this] { update_mappings(); });
    space.on_change(kPmRegMisc, 1, [this] { update_mappings(); });
    space.on_change(kSmbusBase, 4, [this] { update_mappings(); });
    space.on_change(kSmbusHostConfig, 1, [this] { update_mappings(); });
}

void Piix4Pm::update_mappings() {
    const auto place = [](core::MemoryRegion& region, core::hwaddr base, bool enabled) {
        if (enabled && base != 0) {
            region.set_offset(base);
        }
        region.set_enabled(enabled && base != 0);
    };
    core::AddressSpace::begin_transaction();
    place(pm_.region(), config().get32(kPmBase) & kPmBaseMask,
          config().get8(kPmRegMisc) & kPmIoEnable);
    place(smbus_.region(), config().get32(kSmbusBase) & kSmbusBaseMask,
          config().get8(kSmbusHostConfig) & kSmbusEnable);
    core::AddressSpace::commit_transaction();
}

void Piix4Pm::reset() {
    pm_.reset();
    smbus_.reset();
    hotplug_.reset();
    apm_.reset();
    PciDevice::reset();
}

void Piix4Pm::serialize(core::Archive& archive) {
    archive.section("pci", 1, [this](core::Archive& a) { PciDevice::serialize(a); });
    archive.section("pm", 1, [this](core::Archive& a) { pm_.serialize(a); });
    archive.section("smbus", 1, [this](core::Archive& a) { smbus_.serialize(a); });
    archive.section("hotplug", 1, [this](core::Archive& a) { hotplug_.serialize(a); });
    archive.section("apm", 1, [this](core::Archive& a) { apm_.serialize(a); });
}

}  // namespace rhea::hw
