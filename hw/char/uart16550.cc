#include "hw/char/uart16550.h"

#include <algorithm>

namespace rhea::hw {
namespace {

// LSR
constexpr std::uint8_t kDataReady = 0x01, kOverrun = 0x02, kBreak = 0x10, kThrEmpty = 0x20, kTransmitterEmpty = 0x40;
// IER
constexpr std::uint8_t kIerReceive = 0x01, kIerTransmit = 0x02, kIerLine = 0x04, kIerModem = 0x08;
// MSR: CTS, DSR, RI, DCD in the high nibble, their deltas in the low one
constexpr std::uint8_t kConnected = 0x10 | 0x20 | 0x80;
constexpr std::uint64_t kClockHz = 1'843'200;
constexpr std::size_t kTransmitFifo = 16;

} // namespace

Uart16550::Uart16550(core::Clocks &clocks, core::CharBackend *backend)
    : clocks_(clocks), backend_(backend), bank_("isa-serial", 8),
      timeout_timer_(clocks, core::ClockType::kVirtual, [this] {
          timeout_interrupt_ = !receive_.empty();
          update_irq();
      }) {
    properties_.add_uint("iobase", iobase_, "first of eight I/O ports");
    properties_.add_uint("irq", irq_, "ISA interrupt", 15);
    properties_.add_uint("index", index_, "number of the serial port, from 0", 3);

    const auto get = [](auto function) { return [function](std::uint64_t) { return std::uint64_t{function()}; }; };
    const auto put = [](auto function) {
        return [function](std::uint64_t stored, std::uint64_t value) {
            function(static_cast<std::uint8_t>(value));
            return stored;
        };
    };
    bank_.add({.offset = 0, .name = "RBR/THR/DLL", .on_read = get([this] { return read_data(); }),
               .write_value = put([this](std::uint8_t v) { write_data(v); })});
    bank_.add({.offset = 1, .name = "IER/DLM",
               .on_read = get([this] { return dlab() ? static_cast<std::uint8_t>(divisor_ >> 8) : ier_; }),
               .write_value = put([this](std::uint8_t v) { write_ier(v); })});
    bank_.add({.offset = 2, .name = "IIR/FCR", .on_read = get([this] { return read_iir(); }),
               .write_value = put([this](std::uint8_t v) { write_fcr(v); })});
    bank_.add({.offset = 3, .name = "LCR", .on_read = get([this] { return lcr_; }),
               .write_value = put([this](std::uint8_t v) { lcr_ = v; })});
    bank_.add({.offset = 4, .name = "MCR", .on_read = get([this] { return mcr_; }),
               .write_value = put([this](std::uint8_t v) { write_mcr(v); })});
    bank_.add({.offset = 5, .name = "LSR", .on_read = get([this] { return read_lsr(); }),
               .write_value = put([](std::uint8_t) {})}); // factory test only
    bank_.add({.offset = 6, .name = "MSR", .on_read = get([this] { return read_msr(); }),
               .write_value = put([](std::uint8_t) {})});
    bank_.add({.offset = 7, .name = "SCR", .on_read = get([this] { return scr_; }),
               .write_value = put([this](std::uint8_t v) { scr_ = v; })});
    if (backend_) {
        backend_->set_front_end({.can_receive = [this] { return can_receive(); },
                                 .receive =
                                     [this](std::span<const std::uint8_t> bytes) {
                                         for (std::uint8_t byte : bytes)
                                             receive_byte(byte);
                                     },
                                 .on_writable = [this] { drain_transmitter(); },
                                 .on_connection = {},
                                 .on_break =
                                     [this] {
                                         receive_byte(0);
                                         lsr_ |= kBreak;
                                         update_irq();
                                     }});
    }
    reset();
}

void Uart16550::map(core::MemoryRegion &io_root, core::hwaddr base) {
    region_ = core::MemoryRegion::io("serial", 8, bank_, {.min = 1, .max = 1});
    io_root.add(base, *region_);
}

void Uart16550::reset() {
    ier_ = fcr_ = lcr_ = mcr_ = scr_ = 0;
    lsr_ = kThrEmpty | kTransmitterEmpty;
    msr_ = kConnected;
    divisor_ = 12;
    thr_interrupt_ = timeout_interrupt_ = false;
    receive_.clear();
    transmit_.clear();
    timeout_timer_.disarm();
    update_irq();
    if (backend_)
        backend_->accept_input();
}

std::size_t Uart16550::can_receive() const {
    if (loopback())
        return 0;
    return receive_capacity() - std::min(receive_capacity(), receive_.size());
}

std::size_t Uart16550::trigger_level() const {
    static constexpr std::size_t kLevels[] = {1, 4, 8, 14};
    return fifo_enabled() ? kLevels[fcr_ >> 6] : 1;
}

std::int64_t Uart16550::character_ns() const {
    const std::uint64_t bits = 1 + 5 + (lcr_ & 3) + ((lcr_ & 8) ? 1 : 0) + ((lcr_ & 4) ? 2 : 1);
    const std::uint64_t divisor = divisor_ ? divisor_ : 1;
    return static_cast<std::int64_t>(bits * 16 * divisor * 1'000'000'000 / kClockHz);
}

std::uint64_t Uart16550::read_data() {
    if (dlab())
        return divisor_ & 0xff;
    std::uint8_t value = 0;
    if (!receive_.empty()) {
        value = receive_.front();
        receive_.erase(receive_.begin());
    }
    timeout_interrupt_ = false;
    lsr_ = static_cast<std::uint8_t>(receive_.empty() ? lsr_ & ~(kDataReady | kBreak) : lsr_);
    if (!receive_.empty() && fifo_enabled())
        timeout_timer_.arm(clocks_.virtual_ns() + 4 * character_ns());
    else
        timeout_timer_.disarm();
    update_irq();
    if (backend_ && !loopback() && receive_.size() < receive_capacity())
        backend_->accept_input();
    return value;
}

void Uart16550::write_data(std::uint8_t value) {
    if (dlab()) {
        divisor_ = static_cast<std::uint16_t>((divisor_ & 0xff00) | value);
        return;
    }
    thr_interrupt_ = false;
    if (loopback()) {
        receive_byte(value);
        thr_interrupt_ = true;
        update_irq();
        return;
    }
    const std::size_t room = fifo_enabled() ? kTransmitFifo : 1;
    if (transmit_.size() < room)
        transmit_.push_back(value); // a byte written to a full FIFO is lost, as on the chip
    lsr_ &= static_cast<std::uint8_t>(~(kThrEmpty | kTransmitterEmpty));
    update_irq();
    drain_transmitter();
}

void Uart16550::drain_transmitter() {
    if (transmit_.empty())
        return;
    const std::size_t taken = backend_ ? std::min(backend_->write(transmit_), transmit_.size()) : transmit_.size();
    transmit_.erase(transmit_.begin(), transmit_.begin() + static_cast<std::ptrdiff_t>(taken));
    if (!transmit_.empty())
        return; // on_writable continues
    lsr_ |= kThrEmpty | kTransmitterEmpty;
    thr_interrupt_ = true;
    update_irq();
}

void Uart16550::write_ier(std::uint8_t value) {
    if (dlab()) {
        divisor_ = static_cast<std::uint16_t>((divisor_ & 0xff) | (value << 8));
        return;
    }
    // Enabling the transmitter interrupt while THR is empty requests it at once.
    if ((value & kIerTransmit) && !(ier_ & kIerTransmit) && (lsr_ & kThrEmpty))
        thr_interrupt_ = true;
    ier_ = value & 0x0f;
    update_irq();
}

void Uart16550::write_fcr(std::uint8_t value) {
    if ((value ^ fcr_) & 1) {
        receive_.clear();
        transmit_.clear();
        value |= 6;
    }
    if (!(value & 1))
        value = 0; // other bits are only written together with the enable bit
    if (value & 2) {
        receive_.clear();
        timeout_interrupt_ = false;
        timeout_timer_.disarm();
        lsr_ &= static_cast<std::uint8_t>(~(kDataReady | kBreak));
    }
    if (value & 4) {
        transmit_.clear();
        lsr_ |= kThrEmpty | kTransmitterEmpty;
    }
    fcr_ = value & 0xc9;
    if (receive_.empty())
        lsr_ &= static_cast<std::uint8_t>(~kDataReady);
    update_irq();
    if (backend_ && !loopback())
        backend_->accept_input();
}

void Uart16550::set_modem_lines(std::uint8_t lines) {
    const auto changed = static_cast<std::uint8_t>((msr_ ^ lines) & 0xf0);
    std::uint8_t deltas = static_cast<std::uint8_t>(changed >> 4);
    if (lines & 0x40)
        deltas &= static_cast<std::uint8_t>(~0x04); // TERI reports only the trailing edge of RI
    msr_ = static_cast<std::uint8_t>((lines & 0xf0) | (msr_ & 0x0f) | deltas);
    update_irq();
}

void Uart16550::write_mcr(std::uint8_t value) {
    const bool was_loopback = loopback();
    mcr_ = value & 0x1f;
    if (loopback()) {
        // RTS->CTS, DTR->DSR, OUT1->RI, OUT2->DCD
        set_modem_lines(static_cast<std::uint8_t>(((mcr_ & 2) << 3) | ((mcr_ & 1) << 5) | ((mcr_ & 4) << 4) | ((mcr_ & 8) << 4)));
    } else if (was_loopback) {
        set_modem_lines(kConnected);
        if (backend_)
            backend_->accept_input();
    }
    update_irq();
}

std::uint8_t Uart16550::read_lsr() {
    const std::uint8_t value = lsr_;
    lsr_ &= static_cast<std::uint8_t>(~(kOverrun | kBreak));
    if (value & (kOverrun | kBreak))
        update_irq();
    return value;
}

std::uint8_t Uart16550::read_msr() {
    const std::uint8_t value = msr_;
    msr_ &= 0xf0;
    if (value & 0x0f)
        update_irq();
    return value;
}

std::uint8_t Uart16550::read_iir() {
    const std::uint8_t fifo_bits = fifo_enabled() ? 0xc0 : 0;
    std::uint8_t id = 0x01;
    if ((ier_ & kIerLine) && (lsr_ & (kOverrun | kBreak)))
        id = 0x06;
    else if ((ier_ & kIerReceive) && timeout_interrupt_ && receive_.size() < trigger_level())
        id = 0x0c;
    else if ((ier_ & kIerReceive) && receive_.size() >= trigger_level())
        id = 0x04;
    else if ((ier_ & kIerTransmit) && thr_interrupt_) {
        id = 0x02;
        thr_interrupt_ = false; // reading IIR clears it when it is the source reported
        update_irq();
    } else if ((ier_ & kIerModem) && (msr_ & 0x0f))
        id = 0x00;
    return id | fifo_bits;
}

void Uart16550::receive_byte(std::uint8_t value) {
    if (receive_.size() >= receive_capacity()) {
        lsr_ |= kOverrun;
        if (!fifo_enabled())
            receive_.back() = value; // the 16450 keeps the newest character
    } else {
        receive_.push_back(value);
    }
    lsr_ |= kDataReady;
    if (fifo_enabled())
        timeout_timer_.arm(clocks_.virtual_ns() + 4 * character_ns());
    update_irq();
}

void Uart16550::update_irq() {
    const bool line = (ier_ & kIerLine) && (lsr_ & (kOverrun | kBreak));
    const bool receive = (ier_ & kIerReceive) && (timeout_interrupt_ || receive_.size() >= trigger_level());
    const bool transmit = (ier_ & kIerTransmit) && thr_interrupt_;
    const bool modem = (ier_ & kIerModem) && (msr_ & 0x0f);
    irq_line_.set(line || receive || transmit || modem);
}

void Uart16550::serialize(core::Archive &archive) {
    archive.field("ier", ier_);
    archive.field("fcr", fcr_);
    archive.field("lcr", lcr_);
    archive.field("mcr", mcr_);
    archive.field("lsr", lsr_);
    archive.field("msr", msr_);
    archive.field("scr", scr_);
    archive.field("divisor", divisor_);
    archive.field("thr_interrupt", thr_interrupt_);
    archive.field("timeout_interrupt", timeout_interrupt_);
    archive.bytes("receive", receive_, 16);
    archive.bytes("transmit", transmit_, kTransmitFifo);
    std::int64_t deadline = timeout_timer_.armed() ? timeout_timer_.deadline_ns() : 0;
    archive.field("timeout_deadline", deadline);
    if (archive.restoring() && archive.ok()) {
        timeout_timer_.disarm();
        if (deadline)
            timeout_timer_.arm(deadline);
        update_irq();
    }
}

} // namespace rhea::hw
