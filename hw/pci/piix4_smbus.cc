#include "hw/pci/piix4_smbus.h"

namespace rhea::hw {
namespace {

constexpr std::uint64_t kDeviceError = 1u << 2;  // SMBHSTSTS.DEV_ERR
constexpr std::uint64_t kFailed = 1u << 4;       // SMBHSTSTS.FAILED
constexpr std::uint64_t kKill = 1u << 1;         // SMBHSTCNT.KILL
constexpr std::uint64_t kStart = 1u << 6;        // SMBHSTCNT.START
constexpr std::string_view kStatus = "SMBHSTSTS";

}  // namespace

Piix4Smbus::Piix4Smbus()
    : registers_("piix4-smbus", kSize),
      region_(core::MemoryRegion::io("piix4-smbus", kSize, registers_)) {
    using Value = std::uint64_t;
    registers_.add({.offset = 0x0, .name = kStatus, .write_mask = 0, .clear_mask = 0x1e});
    registers_.add({.offset = 0x1, .name = "SMBSLVSTS", .write_mask = 0, .clear_mask = 0x3c});
    registers_.add(
        {.offset = 0x2, .name = "SMBHSTCNT", .write_value = [this](Value, Value written) -> Value {
             if (written & kKill) {
                 registers_.set(kStatus, registers_.get(kStatus) | kFailed);
             } else if (written & kStart) {
                 registers_.set(kStatus, registers_.get(kStatus) | kDeviceError);
             }
             return written & 0x1f;
         }});
    registers_.add({.offset = 0x3, .name = "SMBHSTCMD"});
    registers_.add({.offset = 0x4, .name = "SMBHSTADD"});
    registers_.add({.offset = 0x5, .name = "SMBHSTDAT0"});
    registers_.add({.offset = 0x6, .name = "SMBHSTDAT1"});
    registers_.add({.offset = 0x7, .name = "SMBBLKDAT"});
    registers_.add({.offset = 0x8, .name = "SMBSLVCNT", .write_mask = 0x0f});
    registers_.add({.offset = 0x9, .name = "SMBSHDWCMD", .write_mask = 0});
    registers_.add({.offset = 0xa, .size = 2, .name = "SMBSLVEVT"});
    registers_.add({.offset = 0xc, .size = 2, .name = "SMBSLVDAT", .write_mask = 0});
}

}  // namespace rhea::hw
