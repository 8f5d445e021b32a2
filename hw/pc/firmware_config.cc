// What firmware asks of the machine: fw_cfg items and CMOS memory.
#include "hw/nvram/fw_cfg.h"
#include "hw/pc/x86_machine.h"
#include "hw/timer/mc146818.h"

#include <algorithm>

namespace rhea::hw::pc {
namespace {

void append(std::vector<std::uint8_t> &out, std::uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
        out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

/// RAM as the file "etc/e820" lists it: start, size, type, packed.
std::vector<std::uint8_t> e820_file(const RamLayout &ram) {
    std::vector<std::uint8_t> out;
    const auto entry = [&](std::uint64_t start, std::uint64_t size) {
        append(out, start, 8);
        append(out, size, 8);
        append(out, static_cast<std::uint32_t>(E820::kRam), 4);
    };
    entry(0, ram.low);
    if (ram.high)
        entry(1ull << 32, ram.high);
    return out;
}

/// Memory sizes where firmware for PCs has always looked (RBIL, CMOS 15h to 18h, 30h, 31h; 34h, 35h and 5Bh to 5Dh as 64 KiB units).
void set_cmos_sizes(Mc146818 &rtc, const RamLayout &ram) {
    const auto set16 = [&](std::uint8_t at, std::uint64_t value) {
        rtc.set_cmos(at, static_cast<std::uint8_t>(value));
        rtc.set_cmos(static_cast<std::uint8_t>(at + 1), static_cast<std::uint8_t>(value >> 8));
    };
    set16(0x15, 640);
    const std::uint64_t extended = std::min<std::uint64_t>((ram.low - (1u << 20)) >> 10, 0xffff);
    set16(0x17, extended);
    set16(0x30, extended);
    set16(0x34, ram.low > (16u << 20) ? std::min<std::uint64_t>((ram.low - (16u << 20)) >> 16, 0xffff) : 0);
    set16(0x5b, ram.high >> 16);
    rtc.set_cmos(0x5d, static_cast<std::uint8_t>(ram.high >> 32));
}

} // namespace

util::Result<void> X86Machine::build_firmware_config() {
    auto &fw_cfg = add_device<FwCfg>("isa/fw_cfg", memory());
    fw_cfg_ = &fw_cfg;
    fw_cfg.map(io_root());
    fw_cfg.set_u64(fw_cfg_key::kRamSize, config().ram_size);
    fw_cfg.set_u16(fw_cfg_key::kCpuCount, static_cast<std::uint16_t>(config().cpus));
    // As QEMU has it: one more than the highest APIC ID.
    fw_cfg.set_u16(fw_cfg_key::kMaxCpus, static_cast<std::uint16_t>(config().topology.apic_id(config().cpus - 1) + 1));
    fw_cfg.set_u16(fw_cfg_key::kNoGraphic, 1);
    fw_cfg.set_u16(fw_cfg_key::kBootMenu, config().boot.menu);
    fw_cfg.set_u32(fw_cfg_key::kX86Irq0Override, 1);
    if (rtc_)
        set_cmos_sizes(*rtc_, layout_);
    return fw_cfg.add_file("etc/e820", e820_file(layout_));
}

/// Made when firmware asks for them: it has put the PM block of a PC somewhere by then.
util::Result<void> X86Machine::add_acpi_files() {
    if (starts_kernel())
        return {};
    const auto files = [this] { return acpi::build_loader_files([this](std::uint64_t base) { return acpi_tables(base); }); };
    auto done = fw_cfg_->add_file("etc/acpi/rsdp", [files] { return files().rsdp; });
    if (done)
        done = fw_cfg_->add_file("etc/acpi/tables", [files] { return files().tables; });
    if (done)
        done = fw_cfg_->add_file("etc/table-loader", [files] { return files().script; });
    return done;
}

} // namespace rhea::hw::pc
