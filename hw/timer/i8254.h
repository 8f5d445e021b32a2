// Intel 8254 programmable interval timer ("isa-pit") with port 0x61, which gates and reads its
// counter 2.
//
// Ports 0x40..0x43 and 0x61. Counter 0's OUT is IRQ 0. The clock is 1.193182 MHz of the machine's
// virtual clock. An expiry that the host noticed late is not made up for. Under the machine lock.
#pragma once
#include <array>
#include <cstdint>
#include <memory>

#include "hw/timer/i8254_counter.h"
#include "rhea/core/clock.h"
#include "rhea/core/device.h"
#include "rhea/core/irq.h"
#include "rhea/core/memory.h"
#include "rhea/core/register_bank.h"

namespace rhea::hw {

class I8254 final : public core::Device {
  public:
    static constexpr std::int64_t kHz = 1'193'182;

    /// `kernel`: the timer is there, and the object only stands for it: it has no ports, drives no
    /// wire and exchanges state.
    I8254(core::Clocks& clocks, core::IrqLine irq0, core::KernelIrqchip* kernel = nullptr);

    void map(core::MemoryRegion& io_root);

    /// OUT of a counter now (0..2).
    [[nodiscard]] bool output(unsigned counter);

    [[nodiscard]] std::string_view type() const override { return "isa-pit"; }
    void reset() override;
    void serialize(core::Archive& archive) override;

  private:
    [[nodiscard]] I8254Counter::Tick now() const;
    void write_control(std::uint8_t value);
    void read_back(std::uint8_t value);
    std::uint8_t read_port61();
    void write_port61(std::uint8_t value);
    void update();
    void arm_timer();
    void on_timer();
    void fetch();
    void hand_over();

    core::KernelIrqchip* kernel_;
    core::Clocks& clocks_;
    core::IrqLine irq0_;
    std::array<I8254Counter, 3> counters_;
    std::uint8_t port61_ = 0;
    core::Timer timer_;
    core::RegisterBank registers_, port61_bank_;
    std::unique_ptr<core::MemoryRegion> region_, port61_region_;
};

}  // namespace rhea::hw
