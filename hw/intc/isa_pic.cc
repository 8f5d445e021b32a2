#include "hw/intc/isa_pic.h"

namespace rhea::hw {
namespace {

constexpr unsigned kCascade = 2;
constexpr std::uint8_t kTimerInput = 0x01;
constexpr core::hwaddr kMasterPort = 0x20;
constexpr core::hwaddr kSlavePort = 0xa0;
constexpr core::hwaddr kElcrPort = 0x4d0;
// 82371AB 8.5.8: IRQ 0, 1, 2, 8 and 13 are always edge-triggered.
constexpr std::uint8_t kMasterElcrMask = 0xf8;
constexpr std::uint8_t kSlaveElcrMask = 0xde;

}  // namespace

IsaPic::IsaPic(core::KernelIrqchip* kernel)
    : kernel_(kernel),
      master_(1u << kCascade, kMasterElcrMask),
      slave_(0, kSlaveElcrMask),
      master_ports_("isa-pic master", 2),
      slave_ports_("isa-pic slave", 2),
      elcr_ports_("isa-pic elcr", 2) {
    add_chip_ports(master_ports_, master_);
    add_chip_ports(slave_ports_, slave_);
    add_elcr_port(0, "ELCR1", master_);
    add_elcr_port(1, "ELCR2", slave_);
    const core::AccessSizes bytes{.min = 1, .max = 1};
    master_region_ = core::MemoryRegion::io("isa-pic-master", 2, master_ports_, bytes);
    slave_region_ = core::MemoryRegion::io("isa-pic-slave", 2, slave_ports_, bytes);
    elcr_region_ = core::MemoryRegion::io("isa-pic-elcr", 2, elcr_ports_, bytes);
}

void IsaPic::add_chip_ports(core::RegisterBank& bank, I8259& chip) {
    for (const bool a0 : {false, true}) {
        bank.add(
            {.offset = a0,
             .name = a0 ? "ICW2-4/OCW1" : "ICW1/OCW2-3",
             .on_read = [this, &chip, a0](std::uint64_t) -> std::uint64_t {
                 const std::uint8_t value = chip.read(a0);
                 update();  // a poll is an acknowledge
                 return value;
             },
             .write_value = [this, &chip, a0](std::uint64_t, std::uint64_t value) -> std::uint64_t {
                 chip.write(a0, static_cast<std::uint8_t>(value));
                 update();
                 return 0;
             }});
    }
}

void IsaPic::add_elcr_port(core::hwaddr offset, std::string_view name, I8259& chip) {
    elcr_ports_.add(
        {.offset = offset,
         .name = name,
         .on_read = [&chip](std::uint64_t) -> std::uint64_t { return chip.elcr(); },
         .write_value = [this, &chip](std::uint64_t, std::uint64_t value) -> std::uint64_t {
             chip.set_elcr(static_cast<std::uint8_t>(value));
             update();
             return 0;
         }});
}

void IsaPic::map(core::MemoryRegion& io_root) {
    io_root.add(kMasterPort, *master_region_);
    io_root.add(kSlavePort, *slave_region_);
    io_root.add(kElcrPort, *elcr_region_);
}

void IsaPic::set_irq(int input, bool level) {
    if (input < 0 || input > 15 || input == static_cast<int>(kCascade)) {
        return;
    }
    I8259& chip = input < 8 ? master_ : slave_;
    chip.set_input(static_cast<unsigned>(input) & 7, level);
    update();
}

std::uint8_t IsaPic::acknowledge_interrupt() {
    std::uint8_t vector = master_.vector(7);
    const int input = master_.acknowledge();
    if (input == static_cast<int>(kCascade)) {
        const int slave_input = slave_.acknowledge();
        vector = slave_.vector(slave_input < 0 ? 7 : static_cast<unsigned>(slave_input));
    } else if (input >= 0) {
        vector = master_.vector(static_cast<unsigned>(input));
    }
    update();
    return vector;
}

void IsaPic::update() {
    master_.set_input(kCascade, slave_.output());
    const bool level = master_.output();
    if (level != output_level_) {
        output_level_ = level;
        output_.set(level);
    }
}

void IsaPic::reset() {
    master_.reset();
    slave_.reset();
    update();
    hand_over();
}

void IsaPic::fetch() {
    if (kernel_ == nullptr) {
        return;
    }
    const auto state = kernel_->pics();
    master_.set_state(state[0]);
    slave_.set_state(state[1]);
    update();
}

void IsaPic::hand_over() {
    if (kernel_ == nullptr) {
        return;
    }
    core::PicState master = master_.state();
    // The 8254 beside those chips raises its wire for a moment only. Were the wire high, that would
    // be no edge, and KVM's 8254 waits with the next one until the guest has had this one.
    master.lines &= static_cast<std::uint8_t>(~kTimerInput);
    kernel_->set_pics({master, slave_.state()});
}

void IsaPic::serialize(core::Archive& archive) {
    if (!archive.restoring()) {
        fetch();
    }
    archive.section("master", 1, [this](core::Archive& a) { master_.serialize(a); });
    archive.section("slave", 1, [this](core::Archive& a) { slave_.serialize(a); });
    archive.field("output", output_level_);
    if (archive.restoring()) {
        hand_over();
        // The wire into KVM's local APICs (split) has no state of its own; it is told, for no edge may come by itself.
        output_.set(output_level_);
    }
}

}  // namespace rhea::hw
