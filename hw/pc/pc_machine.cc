#include "hw/pc/pc_machine.h"

#include "hw/char/debugcon.h"
#include "hw/char/uart16550.h"
#include "hw/input/a20_gate.h"
#include "hw/input/i8042.h"
#include "hw/input/port92.h"
#include "hw/intc/local_apic.h"
#include "hw/pci/i440fx.h"
#include "hw/pci/piix3.h"
#include "hw/pci/piix4_pm.h"
#include "hw/timer/i8254.h"
#include "hw/timer/mc146818.h"
#include "rhea/hw/machines.h"

#include <cstring>
#include <fmt/format.h>
#include <unistd.h>

namespace rhea::hw::pc {
namespace {

constexpr std::uint64_t kFourGiB = 1ull << 32;
/// RAM of 3.5 GiB and more leaves the last GiB below 4 GiB to devices.
constexpr std::uint64_t kLowRamMax = 0xe0000000, kLowRamWhenSplit = 0xc0000000;
constexpr std::uint64_t kFirmwareMax = 8u << 20;
constexpr std::uint16_t kPmBase = 0x600;

} // namespace

void PcMachine::build_ram() {
    const std::uint64_t size = config().ram_size;
    layout_.low = size < kLowRamMax ? size : kLowRamWhenSplit;
    layout_.high = size - layout_.low;
    core::RamBlock &block = add_ram_block("pc.ram", size);
    ram_region_ = &own_region(core::MemoryRegion::ram("pc.ram", block));
    memory_root().add(0, own_region(core::MemoryRegion::alias("ram-below-4g", *ram_region_, 0, layout_.low)));
    if (layout_.high)
        memory_root().add(kFourGiB, own_region(core::MemoryRegion::alias("ram-above-4g", *ram_region_, layout_.low, layout_.high)));
    // What answers where there is no RAM: PCI devices and the firmware's ROM.
    pci_memory_ = &own_region(core::MemoryRegion::container("pci", 0));
    memory_root().add(0, *pci_memory_, -1);
}

util::Result<void> PcMachine::load_firmware() {
    const std::string &name = config().firmware;
    if (name.empty() && !config().kernel.empty())
        return {}; // the kernel is started directly
    const std::string wanted = name.empty() ? "bios-256k.bin" : name;
    std::string path = wanted;
    if (::access(path.c_str(), R_OK) != 0) {
        std::vector<std::string> folders = config().firmware_paths;
        folders.insert(folders.end(), {"/usr/share/seabios", "/usr/share/qemu", "/usr/share/ovmf"});
        bool found = false;
        for (const std::string &folder : folders) {
            path = folder + "/" + wanted;
            if ((found = ::access(path.c_str(), R_OK) == 0))
                break;
        }
        if (!found)
            return util::fail("-bios: could not find firmware '{}' (install the Debian package seabios, name a file, or use -L DIR)", wanted);
    }
    auto file = FileMapping::open(path, "-bios");
    if (!file)
        return util::fail(file.error());
    const auto bytes = (*file)->bytes();
    if (bytes.size() > kFirmwareMax || bytes.size() % 0x10000 != 0)
        return util::fail("-bios: '{}' has {} bytes; a firmware image has a multiple of 64 KiB, 8 MiB at most", path, bytes.size());
    core::RamBlock &block = add_ram_block("pc.bios", bytes.size());
    std::memcpy(block.host(), bytes.data(), bytes.size());
    core::MemoryRegion &bios = own_region(core::MemoryRegion::rom("pc.bios", block));
    pci_memory_->add(kFourGiB - bytes.size(), bios);
    const std::uint64_t isa_size = std::min<std::uint64_t>(bytes.size(), 0x20000);
    pci_memory_->add(0x100000 - isa_size, own_region(core::MemoryRegion::alias("isa-bios", bios, bytes.size() - isa_size, isa_size)), 1);
    return {};
}

/// The devices are the same wherever the chips are, so that a saved machine moves between accelerators: those whose chip is in the kernel
/// only stand for it.
void PcMachine::build_interrupt_controllers(core::Accelerator &accelerator) {
    kernel_chips_ = accelerator.kernel_irqchip();
    core::KernelIrqchip *const all = kernel_chips_ && !kernel_chips_->local_apics_only() ? kernel_chips_ : nullptr;
    InterruptMessagePort *messages = &apic_bus_;
    if (kernel_chips_) {
        kernel_apics_ = std::make_unique<KernelApicBus>(*kernel_chips_);
        kernel_apics_->map(memory_root());
        messages = kernel_apics_.get();
    } else {
        apic_bus_.map(memory_root());
    }
    pic_ = &add_device<IsaPic>("isa/pic", all);
    io_apic_ = &add_device<IoApic>("ioapic", *messages, all);
    if (all) {
        router_ = &add_device<GsiRouter>("gsi", *accelerator.kernel_interrupts());
        // The kernel's 8254 ticks until its own turn to be reset comes, behind the controllers'.
        add_reset_hook([this] {
            pic_->reset();
            io_apic_->reset();
        });
        return;
    }
    pic_->map(io_root());
    io_apic_->map(memory_root());
    core::IrqLine lint0 = apic_bus_.lint0();
    if (kernel_chips_) {
        ext_int_ = std::make_unique<ExtIntWire>(*pic_);
        lint0 = ext_int_->line();
        io_apic_->set_route_listener([this](unsigned pin, const InterruptMessage &message) {
            const MsiWrite msi = encode_msi(message);
            kernel_chips_->set_pin_route(pin, msi.address, msi.data);
        });
        kernel_chips_->set_eoi_handler([this](std::uint8_t vector) { io_apic_->end_of_interrupt(vector); });
    } else {
        apic_bus_.add_eoi_listener(*io_apic_);
    }
    int_splitter_ = std::make_unique<IrqSplitter>(std::vector<core::IrqLine>{lint0, io_apic_->pin(0)});
    pic_->connect_output(int_splitter_->line());
    router_ = &add_device<GsiRouter>("gsi", pic_, io_apic_);
}

util::Result<void> PcMachine::build_cpus(core::Accelerator &accelerator) {
    for (unsigned index = 0; index < config().cpus; ++index) {
        auto vcpu = accelerator.create_vcpu(index, clocks(), requests());
        if (!vcpu)
            return util::fail(vcpu.error());
        auto &apic = add_device<LocalApic>(fmt::format("cpu/{}/apic", index), apic_bus_, clocks(), pic_,
                                           LocalApic::Config{.id = config().topology.apic_id(index), .cpu = index, .bootstrap = index == 0, .kernel = kernel_chips_});
        if (!kernel_chips_) {
            (*vcpu)->connect_apic(&apic);
            apic.connect(**vcpu);
        } else if (ext_int_ && index == 0) {
            ext_int_->connect(**vcpu);
        }
        add_vcpu(std::move(*vcpu));
    }
    return {};
}

void PcMachine::build_platform_devices() {
    static constexpr std::uint16_t kSerialBase[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
    static constexpr unsigned kSerialIrq[] = {4, 3, 4, 3};
    if (kernel_chips_ && !kernel_chips_->local_apics_only())
        add_device<I8254>("isa/pit", clocks(), core::IrqLine{}, kernel_chips_);
    else
        add_device<I8254>("isa/pit", clocks(), router_->isa(0)).map(io_root());
    rtc_ = &add_device<Mc146818>("isa/rtc", clocks(), router_->isa(8),
                                 Mc146818::Config{.offset_ns = config().rtc_offset_ns, .local_time = config().rtc_local});
    rtc_->map(io_root());
    for (std::size_t i = 0; i < config().serials.size() && i < 4; ++i) {
        if (!config().serials[i])
            continue;
        auto &uart = add_device<Uart16550>(fmt::format("isa/serial{}", i), clocks(), config().serials[i]);
        uart.connect_irq(router_->isa(kSerialIrq[i]));
        uart.map(io_root(), kSerialBase[i]);
        serial_bases_.push_back(kSerialBase[i]);
    }
    if (config().debugcon)
        add_device<DebugConsole>("isa/debugcon", config().debugcon, io_root());
}

util::Result<void> PcMachine::build_chipset() {
    MsiSink *const msi = kernel_apics_ ? static_cast<MsiSink *>(kernel_apics_.get()) : &apic_bus_;
    pci_bus_ = std::make_unique<PciBus>(PciBus::Ports{.memory = *pci_memory_, .io = io_root(), .dma = memory(), .msi = msi});
    add_bus(*pci_bus_);
    auto &bridge = add_device<I440fx>("pci/00.0", *pci_bus_,
                                      I440fx::Ports{.memory_root = memory_root(), .pci_memory = *pci_memory_,
                                                    .ram = *ram_region_, .io_root = io_root(), .requests = requests()});
    std::array<core::IrqLine, Piix3::kIsaIrqs> lines;
    for (unsigned number = 0; number < Piix3::kIsaIrqs; ++number)
        lines[number] = router_->line(IrqSource::kPirq, number);
    auto &isa = add_device<Piix3>("pci/01.0", lines);
    const bool direct = !config().kernel.empty();
    Piix4Pm::Config pm;
    pm.pm_base = direct ? kPmBase : std::uint16_t{0};
    pm.removable_slots = [this] { return removable_slots(); };
    pm.eject_slot = [this](unsigned slot) { slot_ejected(slot); };
    pm_ = &add_device<Piix4Pm>("pci/01.3", clocks(), requests(), router_->line(IrqSource::kSci, 9), io_root(), pm);
    if (auto done = pci_bus_->attach(isa, {1, 0}); !done)
        return done;
    if (auto done = pci_bus_->attach(*pm_, {1, 3}); !done)
        return done;
    if (auto done = build_ide(); !done)
        return done;
    pci_bus_->connect_pirqs(isa.pirqs());

    auto &gate = add_device<A20Gate>("isa/a20", [this](bool open) {
        for (const auto &vcpu : vcpus()) {
            if (open)
                vcpu->clear_request(core::kRequestA20);
            else
                vcpu->request(core::kRequestA20);
            vcpu->request(0); // its change matters, either way
        }
    });
    add_device<I8042>("isa/i8042", I8042::Ports{.requests = requests(), .keyboard_irq = router_->isa(1),
                                                .mouse_irq = router_->isa(12), .a20 = gate.line()})
        .map(io_root());
    add_device<Port92>("isa/port92", requests(), gate.line()).map(io_root());
    if (direct) {
        // What firmware would have left: shadow RAM open, PCI interrupts routed as the ACPI tables say.
        add_reset_hook([this, &bridge] {
            bridge.open_shadow_ram();
            for (unsigned pirq = 0; pirq < 4; ++pirq)
                pci_bus_->config_write(1 << 3, 0x60 + pirq, pirq < 2 ? 10 : 11, 1);
        });
    }
    return {};
}

bool PcMachine::press_power_button() {
    pm_->pm().press_power_button();
    return true;
}

util::Result<void> PcMachine::prepare_kernel() {
    if (config().kernel.empty()) {
        if (!config().initrd.empty())
            return util::fail("-initrd needs -kernel");
        if (!config().append.empty())
            return util::fail("-append needs -kernel");
        return {};
    }
    auto boot = load_kernel({.kernel = config().kernel, .initrd = config().initrd, .append = config().append, .ram = layout_,
                             .cpus = config().topology, .serial_ports = com_ports()});
    if (!boot)
        return util::fail(boot.error());
    kernel_ = std::make_shared<KernelBoot>(std::move(*boot));
    add_reset_hook([this] {
        kernel_->write_to(memory());
        vcpus().front()->set_boot_state(kernel_->state);
    });
    return {};
}

util::Result<void> PcMachine::build(core::Accelerator &accelerator) {
    core::AddressSpace::begin_transaction();
    build_ram();
    auto done = load_firmware();
    if (done)
        done = accelerator.attach(memory(), io());
    if (done) {
        build_interrupt_controllers(accelerator);
        done = build_cpus(accelerator);
    }
    if (done) {
        build_platform_devices();
        done = build_chipset();
    }
    if (done)
        done = build_firmware_config();
    if (done)
        done = realize_devices();
    if (done)
        done = build_drives();
    if (done)
        done = build_option_devices();
    if (done)
        done = add_boot_files();
    core::AddressSpace::commit_transaction();
    if (!done)
        return done;
    return prepare_kernel();
}

} // namespace rhea::hw::pc
