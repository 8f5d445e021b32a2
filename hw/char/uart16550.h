// A 16550A UART as a pure state machine ("isa-serial"): no thread, no descriptor; ports are injected.
//
// Source: National Semiconductor PC16550D datasheet. Transmission is as fast as the back end takes bytes: a byte written to THR
// goes out at once, so THRE and TEMT are set again before the guest looks; when the back end is full, bytes wait in the FIFO and
// THRE stays clear until it drains. Reception interrupts at the trigger level or after the character timeout (four characters'
// time). Under the machine lock.
#pragma once
#include "rhea/core/char_backend.h"
#include "rhea/core/clock.h"
#include "rhea/core/device.h"
#include "rhea/core/irq.h"
#include "rhea/core/memory.h"
#include "rhea/core/register_bank.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace rhea::hw {

class Uart16550 final : public core::Device {
public:
    /// `backend` may be null: what is sent is lost, nothing is received.
    Uart16550(core::Clocks &clocks, core::CharBackend *backend);

    void connect_irq(core::IrqLine line) { irq_line_ = line; }
    /// Places the eight ports.
    void map(core::MemoryRegion &io_root, core::hwaddr base);
    core::IoHandler &registers() { return bank_; }
    std::uint32_t iobase() const { return iobase_; }
    std::uint32_t irq() const { return irq_; }

    std::string_view type() const override { return "isa-serial"; }
    void reset() override;
    void serialize(core::Archive &archive) override;

private:
    std::uint64_t read_data();
    void write_data(std::uint8_t value);
    void write_ier(std::uint8_t value);
    std::uint8_t read_iir();
    void write_fcr(std::uint8_t value);
    void write_mcr(std::uint8_t value);
    std::uint8_t read_lsr();
    std::uint8_t read_msr();
    void set_modem_lines(std::uint8_t lines);

    bool fifo_enabled() const { return fcr_ & 1; }
    std::size_t receive_capacity() const { return fifo_enabled() ? 16 : 1; }
    std::size_t trigger_level() const;
    bool loopback() const { return mcr_ & 0x10; }
    bool dlab() const { return lcr_ & 0x80; }
    std::int64_t character_ns() const;
    void receive_byte(std::uint8_t value);
    void drain_transmitter();
    void update_irq();
    std::size_t can_receive() const;

    core::Clocks &clocks_;
    core::CharBackend *backend_;
    core::IrqLine irq_line_;
    core::RegisterBank bank_;
    std::unique_ptr<core::MemoryRegion> region_;
    core::Timer timeout_timer_;
    std::uint32_t iobase_ = 0x3f8, irq_ = 4, index_ = 0;

    std::uint8_t ier_ = 0, fcr_ = 0, lcr_ = 0, mcr_ = 0, lsr_ = 0x60, msr_ = 0, scr_ = 0;
    std::uint16_t divisor_ = 12;
    bool thr_interrupt_ = false;      ///< THRE interrupt pending (cleared by reading IIR or writing THR)
    bool timeout_interrupt_ = false;  ///< character timeout
    bool break_pending_ = false;
    std::vector<std::uint8_t> receive_;  ///< oldest first
    std::vector<std::uint8_t> transmit_;
};

} // namespace rhea::hw
