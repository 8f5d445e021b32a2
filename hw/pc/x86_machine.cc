#include "hw/pc/x86_machine.h"

#include "hw/char/debugcon.h"
#include "hw/char/uart16550.h"
#include "hw/intc/local_apic.h"
#include "hw/timer/i8254.h"
#include "hw/timer/mc146818.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <unistd.h>

namespace rhea::hw::pc {
namespace {

constexpr std::uint64_t kFourGiB = 1ull << 32;
constexpr std::uint64_t kFirmwareMax = 8u << 20;

} // namespace

void X86Machine::build_ram(std::uint64_t split_at, std::uint64_t low_when_split) {
    const std::uint64_t size = config().ram_size;
    layout_.low = size < split_at ? size : low_when_split;
    layout_.high = size - layout_.low;
    core::RamBlock &block = add_ram_block("pc.ram", size);
    ram_region_ = &own_region(core::MemoryRegion::ram("pc.ram", block));
    memory_root().add(0, own_region(core::MemoryRegion::alias("ram-below-4g", *ram_region_, 0, layout_.low)));
    if (layout_.high)
        memory_root().add(kFourGiB, own_region(core::MemoryRegion::alias("ram-above-4g", *ram_region_, layout_.low, layout_.high)));
}

util::Result<X86Machine::Firmware> X86Machine::load_firmware(std::string_view default_name) {
    const std::string &name = config().firmware;
    if (name.empty() && starts_kernel())
        return Firmware{};
    const std::string wanted = name.empty() ? std::string(default_name) : name;
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
    return Firmware{std::move(*file), &block};
}

void X86Machine::map_firmware(core::MemoryRegion &bios, std::uint64_t size, core::MemoryRegion &where) {
    where.add(kFourGiB - size, bios);
    const std::uint64_t isa_size = std::min<std::uint64_t>(size, 0x20000);
    where.add(0x100000 - isa_size, own_region(core::MemoryRegion::alias("isa-bios", bios, size - isa_size, isa_size)), 1);
}

IoApic &X86Machine::add_io_apic(std::string path, unsigned first_gsi, InterruptMessagePort &messages) {
    auto &io_apic = add_device<IoApic>(std::move(path), messages);
    if (kernel_chips_) {
        io_apic.set_route_listener([this, first_gsi](unsigned pin, const InterruptMessage &message) {
            const MsiWrite msi = encode_msi(message);
            kernel_chips_->set_pin_route(first_gsi + pin, msi.address, msi.data);
        });
    } else {
        apic_bus_.add_eoi_listener(io_apic);
    }
    return io_apic;
}

/// The devices are the same wherever the chips are, so that a saved machine moves between accelerators: those whose chip is in the kernel
/// only stand for it.
void X86Machine::build_interrupt_controllers(core::Accelerator &accelerator, Chips chips) {
    kernel_chips_ = accelerator.kernel_irqchip();
    InterruptMessagePort *messages = &apic_bus_;
    if (kernel_chips_) {
        kernel_apics_ = std::make_unique<KernelApicBus>(*kernel_chips_);
        kernel_apics_->map(memory_root());
        messages = kernel_apics_.get();
    } else {
        apic_bus_.map(memory_root());
    }
    if (all_chips_in_kernel()) {
        pic_ = &add_device<IsaPic>("isa/pic", kernel_chips_);
        auto &io_apic = add_device<IoApic>("ioapic", *messages, kernel_chips_);
        router_ = &add_device<GsiRouter>("gsi", *accelerator.kernel_interrupts());
        // The kernel's 8254 ticks until its own turn to be reset comes, behind the controllers'.
        add_reset_hook([this, &io_apic] {
            pic_->reset();
            io_apic.reset();
        });
        return;
    }
    if (chips.pic) {
        pic_ = &add_device<IsaPic>("isa/pic");
        pic_->map(io_root());
    }
    auto &io_apic = add_io_apic("ioapic", 0, *messages);
    io_apic.map(memory_root());
    if (chips.second_io_apic) {
        second_io_apic_ = &add_io_apic("ioapic2", IoApic::kPins, *messages);
        second_io_apic_->map(memory_root(), kSecondIoApicBase);
    }
    if (kernel_chips_) {
        kernel_chips_->set_eoi_handler([this, &io_apic](std::uint8_t vector) {
            io_apic.end_of_interrupt(vector);
            if (second_io_apic_)
                second_io_apic_->end_of_interrupt(vector);
        });
    }
    if (pic_) {
        core::IrqLine lint0 = apic_bus_.lint0();
        if (kernel_chips_) {
            ext_int_ = std::make_unique<ExtIntWire>(*pic_);
            lint0 = ext_int_->line();
        }
        int_splitter_ = std::make_unique<IrqSplitter>(std::vector<core::IrqLine>{lint0, io_apic.pin(0)});
        pic_->connect_output(int_splitter_->line());
    }
    router_ = &add_device<GsiRouter>("gsi", pic_, &io_apic);
}

util::Result<void> X86Machine::build_cpus(core::Accelerator &accelerator) {
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

void X86Machine::build_pit() {
    if (all_chips_in_kernel())
        add_device<I8254>("isa/pit", clocks(), core::IrqLine{}, kernel_chips_);
    else
        add_device<I8254>("isa/pit", clocks(), router_->isa(0)).map(io_root());
}

void X86Machine::build_rtc() {
    rtc_ = &add_device<Mc146818>("isa/rtc", clocks(), router_->isa(8),
                                 Mc146818::Config{.offset_ns = config().rtc_offset_ns, .local_time = config().rtc_local});
    rtc_->map(io_root());
}

/// COM1 to COM4 are numbers 0 to 3.
void X86Machine::build_serial(unsigned number, core::CharBackend *characters) {
    static constexpr unsigned kIrqs[] = {4, 3, 4, 3};
    if (!characters)
        return;
    auto &uart = add_device<Uart16550>(fmt::format("isa/serial{}", number), clocks(), characters);
    uart.connect_irq(router_->isa(kIrqs[number]));
    uart.map(io_root(), kComBases[number]);
    serial_bases_.push_back(kComBases[number]);
}

void X86Machine::build_debugcon() {
    if (config().debugcon)
        add_device<DebugConsole>("isa/debugcon", config().debugcon, io_root());
}

util::Result<void> X86Machine::prepare_kernel() {
    if (!starts_kernel()) {
        if (!config().initrd.empty())
            return util::fail("-initrd needs -kernel");
        if (!config().append.empty())
            return util::fail("-append needs -kernel");
        return {};
    }
    auto boot = load_kernel({.kernel = config().kernel, .initrd = config().initrd, .append = kernel_command_line(), .ram = layout_,
                             .acpi_tables = [this](std::uint64_t base) { return acpi_tables(base); }});
    if (!boot)
        return util::fail(boot.error());
    complete_boot(*boot);
    kernel_ = std::make_shared<KernelBoot>(std::move(*boot));
    add_reset_hook([this] {
        kernel_->write_to(memory());
        vcpus().front()->set_boot_state(kernel_->state);
    });
    return {};
}

util::Result<void> X86Machine::build(core::Accelerator &accelerator) {
    core::AddressSpace::begin_transaction();
    auto done = build_parts(accelerator);
    core::AddressSpace::commit_transaction();
    return done ? prepare_kernel() : done;
}

} // namespace rhea::hw::pc
