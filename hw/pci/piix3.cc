#include "hw/pci/piix3.h"

namespace rhea::hw {
namespace {

constexpr unsigned kPirqRouteControl = 0x60;  // PIRQRCA..PIRQRCD
constexpr std::uint8_t kRouteDisabled = 0x80;
constexpr std::uint8_t kRouteIrq = 0x0f;
/// IRQ 0, 1, 2, 8 and 13 are reserved values.
constexpr unsigned kRoutable = 0xdef8;

/// Registers without effect here, with their reset values (2.2.6 to 2.2.20).
struct PlainRegister {
    std::uint8_t offset, value, writable;
};
constexpr PlainRegister kPlain[] = {
    {0x4c, 0x4d, 0x7f},                      // IORT: I/O recovery timers
    {0x4e, 0x03, 0xff},                      // XBCS: X-Bus chip select
    {0x4f, 0x00, 0x01}, {0x69, 0x02, 0xfe},  // TOM: top of memory for ISA masters
    {0x6a, 0x00, 0xff},                      // MSTAT
    {0x70, 0x80, 0xef},                      // MBIRQ0: motherboard device IRQ
    {0x76, 0x0c, 0xbf},                      // MBDMA0
    {0x77, 0x0c, 0xbf},                      // MBDMA1
    {0x78, 0x02, 0xff},                      // PCSC: programmable chip select
    {0x79, 0x00, 0xff}, {0x80, 0x00, 0x7f},  // APICBASE
    {0x82, 0x00, 0x0f},                      // DLC: deterministic latency
    {0xa0, 0x08, 0x1f},                      // SMICNTL
    {0xa2, 0x00, 0xff},                      // SMIEN
    {0xa3, 0x00, 0x01}, {0xa4, 0x00, 0xff},  // SEE
    {0xa5, 0x00, 0xff}, {0xa6, 0x00, 0xff},
    {0xa7, 0x00, 0xff}, {0xa8, 0x0f, 0xff},  // FTMR: fast-off timer
    {0xac, 0x00, 0xff},                      // CTLTMR
    {0xae, 0x00, 0xff},                      // CTHTMR
};

}  // namespace

Piix3::Piix3(std::array<core::IrqLine, kIsaIrqs> irqs)
    : PciDevice(
          {.vendor = 0x8086, .device = 0x7000, .class_code = 0x060100, .multifunction = true}),
      irqs_(irqs) {
    // The bridge decodes ISA whatever the guest says.
    config().set16(pci_reg::kCommand, 0x0007);
    config().writable16(pci_reg::kCommand, 0x0008);
    config().set16(pci_reg::kStatus, 0x0200);
    for (unsigned i = 0; i < kPirqs; ++i) {
        config().set8(kPirqRouteControl + i, kRouteDisabled);
        config().writable8(kPirqRouteControl + i, kRouteDisabled | kRouteIrq);
    }
    for (const PlainRegister& reg : kPlain) {
        config().set8(reg.offset, reg.value);
        config().writable8(reg.offset, reg.writable);
    }
    config().on_change(kPirqRouteControl, kPirqs, [this] { update(); });
}

/// The ISA IRQs that some PIRQ raises now, a bit each.
unsigned Piix3::raised_irqs() {
    unsigned raised = 0;
    for (unsigned i = 0; i < kPirqs; ++i) {
        const std::uint8_t route = config().get8(kPirqRouteControl + i);
        if ((pirq_levels_ >> i & 1) && !(route & kRouteDisabled)) {
            raised |= 1u << (route & kRouteIrq);
        }
    }
    return raised & kRoutable;
}

void Piix3::update() {
    const unsigned raised = raised_irqs();
    const unsigned changed = raised ^ driven_;
    driven_ = raised;
    for (unsigned irq = 0; irq < kIsaIrqs; ++irq) {
        if (changed >> irq & 1) {
            irqs_[irq].set(raised >> irq & 1);
        }
    }
}

void Piix3::set_irq(int input, bool level) {
    if (input < 0 || input >= static_cast<int>(kPirqs)) {
        return;
    }
    const auto mask = static_cast<std::uint8_t>(1u << input);
    pirq_levels_ = static_cast<std::uint8_t>(level ? pirq_levels_ | mask : pirq_levels_ & ~mask);
    update();
}

void Piix3::serialize(core::Archive& archive) {
    archive.field("pirq_levels", pirq_levels_);
    archive.field("driven", driven_);
    PciDevice::serialize(archive);
}

}  // namespace rhea::hw
