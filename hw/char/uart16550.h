// A 16550A UART ("isa-serial") as a state machine with injected ports: no thread, no descriptor.
//
// Source: National Semiconductor PC16550D datasheet (June 1995); section numbers in the code are
// its. The line has no speed of its own: the transmitter is as fast as the back end takes bytes,
// and THRE and TEMT say truly whether it did. Only the receiver's FIFO time-out runs on a clock.
// The modem's inputs are CTS, DSR and DCD asserted, unless set_modem_inputs() says otherwise.
//
// Invariants: the interrupt line's level is that of the highest pending enabled source; no FIFO
// holds more than it has room for, whatever the guest, the back end or a restored state says.
// Under the machine lock.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "rhea/core/archive.h"
#include "rhea/core/char_backend.h"
#include "rhea/core/clock.h"
#include "rhea/core/device.h"
#include "rhea/core/irq.h"
#include "rhea/core/memory.h"

namespace rhea::hw {

class Uart16550 final : public core::Device, private core::IoHandler {
  public:
    static constexpr core::hwaddr kPorts = 8;
    static constexpr std::size_t kFifoSize = 16;

    /// `backend` may be null: what is sent is lost, nothing is received.
    Uart16550(core::Clocks& clocks, core::CharBackend* backend);
    ~Uart16550() override;

    void connect_irq(core::IrqLine line) { irq_line_ = line; }
    /// Another back end, of which the UART becomes the front end; null: none.
    void connect(core::CharBackend* backend);
    /// Places the eight ports.
    void map(core::MemoryRegion& io_root, core::hwaddr base);
    [[nodiscard]] core::IoHandler& registers() { return *this; }

    // Where to place it: the properties iobase and irq, or what follows from the property index.
    [[nodiscard]] std::uint32_t iobase() const;
    [[nodiscard]] std::uint32_t irq() const;
    [[nodiscard]] std::uint32_t index() const { return index_; }
    /// The id that the property chardev gives, for whoever connects; empty: none.
    [[nodiscard]] const std::string& chardev() const { return chardev_; }

    [[nodiscard]] std::string_view type() const override { return "isa-serial"; }
    /// Master reset (8.0, table I).
    void reset() override;
    void serialize(core::Archive& archive) override;

    /// The far end's modem lines, as in MSR bits 7:4 (DCD, RI, DSR, CTS).
    void set_modem_inputs(std::uint8_t lines);

    // The back end's side.

    /// Bytes that can be received now without an overrun.
    [[nodiscard]] std::size_t can_receive() const;
    void receive(std::span<const std::uint8_t> bytes);
    void receive_break();
    /// The back end takes bytes again.
    void transmit();

  private:
    static constexpr std::uint32_t kUnset = 0xffffffff;

    std::uint64_t io_read(core::hwaddr offset, unsigned size) override;
    void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override;

    /// A row of the register table; the first two rows change their meaning with DLAB.
    struct Port {
        std::string_view name;
        std::uint8_t (Uart16550::*read)();
        void (Uart16550::*write)(std::uint8_t value);
    };
    static const std::array<Port, kPorts> kPortTable;
    static const std::array<Port, 2> kDivisorTable;
    [[nodiscard]] const Port& port(core::hwaddr offset) const;

    /// A received character and the line status bits that came with it (PE, FE, BI).
    struct Received {
        std::uint8_t data = 0;
        std::uint8_t errors = 0;
    };

    std::uint8_t read_rbr();
    std::uint8_t read_ier();
    std::uint8_t read_iir();
    std::uint8_t read_lcr();
    std::uint8_t read_mcr();
    std::uint8_t read_lsr();
    std::uint8_t read_msr();
    std::uint8_t read_scr();
    std::uint8_t read_dll();
    std::uint8_t read_dlm();
    void write_thr(std::uint8_t value);
    void write_ier(std::uint8_t value);
    void write_fcr(std::uint8_t value);
    void write_lcr(std::uint8_t value);
    void write_mcr(std::uint8_t value);
    void write_scr(std::uint8_t value);
    void write_dll(std::uint8_t value);
    void write_dlm(std::uint8_t value);
    void write_nothing(std::uint8_t value);

    [[nodiscard]] bool fifo_enabled() const;
    [[nodiscard]] bool loopback() const;
    [[nodiscard]] std::size_t rx_room() const;
    [[nodiscard]] std::size_t trigger_level() const;
    [[nodiscard]] std::uint8_t line_status() const;
    [[nodiscard]] std::uint8_t modem_lines() const;
    [[nodiscard]] std::uint8_t highest_interrupt() const;
    [[nodiscard]] std::int64_t timeout_ns() const;

    [[nodiscard]] Received& rx_at(std::size_t index);
    void receive_one(Received character);
    void clear_rx();
    void clear_tx();
    void drop_sent(std::size_t count);
    void restart_timeout();
    void on_timeout();
    void update_modem_lines();
    void update_irq();
    void tell_backend_of_room();
    void clamp_restored();

    core::CharBackend* backend_ = nullptr;
    core::IrqLine irq_line_;
    core::Clocks& clocks_;
    std::unique_ptr<core::MemoryRegion> region_;
    core::Timer timeout_;

    std::uint32_t index_ = 0, iobase_ = kUnset, irq_ = kUnset;
    std::string chardev_;

    std::uint8_t ier_ = 0, fcr_ = 0, lcr_ = 0, mcr_ = 0, scr_ = 0;
    std::uint16_t divisor_ = 0;
    std::uint8_t sticky_errors_ = 0;     ///< LSR bits 4:1 until LSR is read
    std::uint8_t msr_deltas_ = 0;        ///< MSR bits 3:0 until MSR is read
    std::uint8_t modem_inputs_ = 0;      ///< the far end's lines
    std::uint8_t last_modem_lines_ = 0;  ///< as last seen by the change detectors
    bool thre_pending_ = false;          ///< THR empty interrupt, until IIR read or THR write
    bool timeout_pending_ = false;       ///< character time-out
    bool irq_level_ = false;
    bool backend_waits_ = false;  ///< it was told that there is no room

    std::array<Received, kFifoSize> rx_{};
    std::uint8_t rx_head_ = 0, rx_count_ = 0;
    /// The transmitter shift register, then THR or the FIFO.
    std::array<std::uint8_t, kFifoSize + 1> tx_{};
    std::uint8_t tx_count_ = 0;
};

}  // namespace rhea::hw
