// MC146818A real-time clock with CMOS memory ("mc146818rtc").
//
// Ports 0x70/0x71 (128 bytes) and 0x72/0x73 (128 more, memory only). The guest's wall clock is the
// host clock plus an offset that the guest moves by setting the time. Nothing runs by itself: time
// registers and interrupt flags are computed when looked at, and a timer is armed only while an
// enabled interrupt is to come. IRQ 8 stays up until register C is read. Under the machine lock.
#pragma once
#include <array>
#include <cstdint>
#include <memory>

#include "rhea/core/clock.h"
#include "rhea/core/device.h"
#include "rhea/core/irq.h"
#include "rhea/core/memory.h"
#include "rhea/core/register_bank.h"

namespace rhea::hw {

class Mc146818 final : public core::Device {
  public:
    struct Config {
        std::int64_t offset_ns = 0;  ///< guest wall clock minus host wall clock
        bool local_time = false;     ///< keep local time of the host's zone, not UTC
    };

    Mc146818(core::Clocks& clocks, core::IrqLine irq8, Config config);

    void map(core::MemoryRegion& io_root);

    /// CMOS memory for the machine's firmware data; index 0x0e..0xff but 0x32 (century). Survives
    /// reset, as battery-backed memory does.
    void set_cmos(std::uint8_t index, std::uint8_t value) { memory_[index] = value; }
    [[nodiscard]] std::uint8_t cmos(std::uint8_t index) const { return memory_[index]; }
    /// The guest's wall clock in nanoseconds since 1970.
    [[nodiscard]] std::int64_t guest_ns() const;

    [[nodiscard]] std::string_view type() const override { return "mc146818rtc"; }
    void reset() override;
    void serialize(core::Archive& archive) override;

  private:
    std::uint8_t read(std::uint8_t index);
    void write(std::uint8_t index, std::uint8_t value);
    [[nodiscard]] bool is_time(std::uint8_t index) const;
    [[nodiscard]] bool stopped() const;
    [[nodiscard]] bool divider_reset() const;
    [[nodiscard]] std::uint8_t& reg(std::uint8_t index) { return memory_[index]; }
    void time_to_registers(std::int64_t seconds);
    [[nodiscard]] std::int64_t registers_to_time() const;
    [[nodiscard]] std::uint8_t encode(int value) const;
    [[nodiscard]] int decode(std::uint8_t value) const;
    [[nodiscard]] std::uint8_t encode_hour(int hour) const;
    [[nodiscard]] int decode_hour(std::uint8_t value) const;
    void write_control(std::uint8_t index, std::uint8_t value);
    void set_guest_seconds(std::int64_t seconds, std::int64_t nanoseconds);
    [[nodiscard]] std::int64_t periodic_half_periods() const;
    [[nodiscard]] std::int64_t next_alarm(std::int64_t after_seconds) const;
    [[nodiscard]] std::int64_t next_periodic(std::int64_t after_ns) const;
    void catch_up();
    void update_irq();
    void arm_timer();

    core::Clocks& clocks_;
    core::IrqLine irq8_;
    std::int64_t offset_ns_;
    std::int64_t seen_ns_ = 0;  ///< guest time up to which interrupt flags are computed
    std::uint8_t index_ = 0, extended_index_ = 0;
    std::array<std::uint8_t, 256> memory_{};
    core::Timer timer_;
    core::RegisterBank ports_;
    std::unique_ptr<core::MemoryRegion> region_;
};

}  // namespace rhea::hw
