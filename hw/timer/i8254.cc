#include "hw/timer/i8254.h"

namespace rhea::hw {
namespace {

constexpr core::hwaddr kPort = 0x40;
constexpr core::hwaddr kNmiStatusPort = 0x61;

// Control word
constexpr unsigned kSelectReadBack = 3;
constexpr std::uint8_t kReadBackNoCount = 0x20;
constexpr std::uint8_t kReadBackNoStatus = 0x10;

// Port 0x61, NMI status and control (82371AB 8.5.12)
constexpr std::uint8_t kGate2 = 0x01;
constexpr std::uint8_t kPort61Writable = 0x0f;
constexpr std::uint8_t kRefreshToggle = 0x10;
constexpr std::uint8_t kOut2 = 0x20;
/// The refresh request toggles every 15.085 us.
constexpr std::int64_t kRefreshNs = 15'085;

}  // namespace

I8254::I8254(core::Clocks& clocks, core::IrqLine irq0, core::KernelIrqchip* kernel)
    : kernel_(kernel),
      clocks_(clocks),
      irq0_(irq0),
      timer_(clocks, core::ClockType::kVirtual, [this] { on_timer(); }),
      registers_("isa-pit", 4),
      port61_bank_("isa-pit port61", 1) {
    for (unsigned i = 0; i < counters_.size(); ++i) {
        static constexpr std::array<std::string_view, 3> kNames = {"counter 0", "counter 1",
                                                                   "counter 2"};
        registers_.add(
            {.offset = i,
             .name = kNames[i],
             .on_read = [this, i](std::uint64_t) -> std::uint64_t {
                 return counters_[i].read(now());
             },
             .write_value = [this, i](std::uint64_t, std::uint64_t value) -> std::uint64_t {
                 counters_[i].write(static_cast<std::uint8_t>(value), now());
                 update();
                 return 0;
             }});
    }
    registers_.add({.offset = 3,
                    .name = "control word",
                    .write_value = [this](std::uint64_t, std::uint64_t value) -> std::uint64_t {
                        write_control(static_cast<std::uint8_t>(value));
                        return 0;
                    }});
    port61_bank_.add({.offset = 0,
                      .name = "NMISC",
                      .on_read = [this](std::uint64_t) -> std::uint64_t { return read_port61(); },
                      .write_value = [this](std::uint64_t, std::uint64_t value) -> std::uint64_t {
                          write_port61(static_cast<std::uint8_t>(value));
                          return 0;
                      }});
    const core::AccessSizes bytes{.min = 1, .max = 1};
    region_ = core::MemoryRegion::io("isa-pit", 4, registers_, bytes);
    port61_region_ = core::MemoryRegion::io("port61", 1, port61_bank_, bytes);
    I8254::reset();
}

void I8254::map(core::MemoryRegion& io_root) {
    io_root.add(kPort, *region_);
    io_root.add(kNmiStatusPort, *port61_region_);
}

I8254Counter::Tick I8254::now() const {
    return static_cast<I8254Counter::Tick>(static_cast<__int128>(clocks_.virtual_ns()) * kHz /
                                           core::kNanosecondsPerSecond);
}

bool I8254::output(unsigned counter) {
    return counters_[counter % counters_.size()].output(now());
}

void I8254::reset() {
    port61_ = 0;
    counters_[0].reset(true);
    counters_[1].reset(true);
    counters_[2].reset(false);
    update();
    hand_over();
}

void I8254::write_control(std::uint8_t value) {
    const unsigned select = value >> 6;
    if (select == kSelectReadBack) {
        read_back(value);
        return;
    }
    if ((value >> 4 & 3) == 0) {
        counters_[select].latch_count(now());
        return;
    }
    counters_[select].write_control(value);
    update();
}

void I8254::read_back(std::uint8_t value) {
    for (unsigned i = 0; i < counters_.size(); ++i) {
        if (!(value & 2u << i)) {
            continue;
        }
        if (!(value & kReadBackNoCount)) {
            counters_[i].latch_count(now());
        }
        if (!(value & kReadBackNoStatus)) {
            counters_[i].latch_status(now());
        }
    }
}

std::uint8_t I8254::read_port61() {
    const bool toggle = clocks_.virtual_ns() / kRefreshNs & 1;
    return static_cast<std::uint8_t>(port61_ | (toggle ? kRefreshToggle : 0) |
                                     (counters_[2].output(now()) ? kOut2 : 0));
}

void I8254::write_port61(std::uint8_t value) {
    port61_ = value & kPort61Writable;
    counters_[2].set_gate(value & kGate2, now());
}

/// Counter 0 changed: drives IRQ 0 and arms the timer for the next change.
void I8254::update() {
    irq0_.set(counters_[0].output(now()));
    arm_timer();
}

void I8254::arm_timer() {
    const I8254Counter::Tick next = counters_[0].next_change(now());
    if (next == I8254Counter::kNever) {
        timer_.disarm();
        return;
    }
    // Rounded up, so that the tick has come when the timer fires.
    timer_.arm(static_cast<std::int64_t>(
        (static_cast<__int128>(next) * core::kNanosecondsPerSecond + kHz - 1) / kHz));
}

void I8254::on_timer() {
    if (counters_[0].mode() == 2) {
        irq0_.lower();  // OUT was low for one tick
        irq0_.raise();
        arm_timer();
    } else {
        update();
    }
}

void I8254::serialize(core::Archive& archive) {
    if (!archive.restoring()) {
        fetch();
    }
    static constexpr std::array<std::string_view, 3> kSections = {"counter0", "counter1",
                                                                  "counter2"};
    for (unsigned i = 0; i < counters_.size(); ++i) {
        archive.section(kSections[i], 1,
                        [this, i](core::Archive& a) { counters_[i].serialize(a); });
    }
    archive.field("port61", port61_);
    if (archive.restoring()) {
        hand_over();
        arm_timer();  // the wire's level is the state of who listens to it
    }
    if (kernel_ != nullptr) {
        timer_.disarm();  // it runs elsewhere
    }
}

}  // namespace rhea::hw
