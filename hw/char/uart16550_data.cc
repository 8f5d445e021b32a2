// The transmitter and the receiver.
#include <algorithm>

#include "hw/char/uart16550.h"
#include "hw/char/uart16550_bits.h"

namespace rhea::hw {

using namespace uart;

namespace {

constexpr std::int64_t kCrystalHz = 1'843'200;
/// The time-out comes after four character times without a character or a read (8.11).
constexpr std::int64_t kTimeoutCharacters = 4;

}  // namespace

std::uint8_t Uart16550::line_status() const {
    std::uint8_t status = sticky_errors_;
    if (rx_count_ != 0) {
        status |= kDr;
    }
    // One character sits in the shift register; the holding register or FIFO is what follows it.
    if (tx_count_ <= 1) {
        status |= kThre;
    }
    if (tx_count_ == 0) {
        status |= kTemt;
    }
    if (fifo_enabled()) {
        for (std::size_t i = 0; i < rx_count_; ++i) {
            if (rx_[(rx_head_ + i) % kFifoSize].errors != 0) {
                status |= kErrorInFifo;
            }
        }
    }
    return status;
}

// --- transmitter
// -----------------------------------------------------------------------------------

void Uart16550::write_thr(std::uint8_t value) {
    // The write resets the THRE interrupt (table III); an edge-triggered controller has to see
    // that the line went low.
    thre_pending_ = false;
    update_irq();
    const std::size_t room = 1 + (fifo_enabled() ? kFifoSize : 1);
    if (tx_count_ < room) {
        tx_[tx_count_++] = value;
    } else if (!fifo_enabled()) {
        tx_[tx_count_ - 1] = value;  // THR is overwritten; a full FIFO ignores the write
    }
    const bool was_full = tx_count_ > 1;
    transmit();
    // The character went on into the shift register or further: THR is empty again.
    if (!was_full && tx_count_ <= 1 && !thre_pending_) {
        thre_pending_ = true;
        update_irq();
    }
}

void Uart16550::transmit() {
    if (tx_count_ == 0) {
        return;
    }
    if (loopback()) {
        for (std::size_t i = 0; i < tx_count_; ++i) {
            receive_one({tx_[i], 0});
        }
        drop_sent(tx_count_);
        return;
    }
    const std::size_t count = tx_count_;
    const std::size_t sent =
        backend_ == nullptr ? count : std::min(count, backend_->write(std::span(tx_).first(count)));
    drop_sent(sent);
}

void Uart16550::drop_sent(std::size_t count) {
    const bool thr_was_full = tx_count_ > 1;
    count = std::min<std::size_t>(count, tx_count_);
    std::copy(tx_.begin() + static_cast<std::ptrdiff_t>(count), tx_.begin() + tx_count_,
              tx_.begin());
    tx_count_ -= static_cast<std::uint8_t>(count);
    if (thr_was_full && tx_count_ <= 1) {
        thre_pending_ = true;
    }
    update_irq();
}

/// Clears THR or the FIFO; the shift register is not touched (8.5 bit 2).
void Uart16550::clear_tx() {
    if (tx_count_ > 1) {
        tx_count_ = 1;
        thre_pending_ = true;
    }
}

// --- receiver
// --------------------------------------------------------------------------------------

Uart16550::Received& Uart16550::rx_at(std::size_t index) {
    return rx_[(rx_head_ + index) % kFifoSize];
}

std::size_t Uart16550::rx_room() const {
    const std::size_t capacity = fifo_enabled() ? kFifoSize : 1;
    return capacity > rx_count_ ? capacity - rx_count_ : 0;
}

std::size_t Uart16550::trigger_level() const {
    static constexpr std::array<std::size_t, 4> kLevels = {1, 4, 8, 14};
    return kLevels[fcr_ >> 6];
}

std::size_t Uart16550::can_receive() const {
    // In loopback SIN is disconnected; what comes waits outside instead of being lost.
    return loopback() ? 0 : rx_room();
}

void Uart16550::receive(std::span<const std::uint8_t> bytes) {
    if (loopback()) {
        return;
    }
    for (const std::uint8_t byte : bytes) {
        receive_one({byte, 0});
    }
    update_irq();
}

void Uart16550::receive_break() {
    if (loopback()) {
        return;
    }
    // One zero character is loaded, however long the break is (8.4 bit 4).
    receive_one({0, kBi});
    update_irq();
}

void Uart16550::receive_one(Received character) {
    if (rx_room() == 0) {
        sticky_errors_ |= kOe;
        // Without FIFO the unread character is lost, with it the newly arrived one (8.4 bit 1).
        if (!fifo_enabled()) {
            rx_at(0) = character;
            sticky_errors_ |= character.errors;
        }
        return;
    }
    rx_at(rx_count_) = character;
    // An error shows in LSR when its character is at the top of the FIFO.
    if (rx_count_++ == 0) {
        sticky_errors_ |= character.errors;
    }
    restart_timeout();
}

std::uint8_t Uart16550::read_rbr() {
    if (rx_count_ == 0) {
        return rx_[rx_head_].data;  // the last character read; nothing in RBR changed since
    }
    const std::uint8_t data = rx_at(0).data;
    --rx_count_;
    if (rx_count_ != 0) {
        rx_head_ = (rx_head_ + 1) % kFifoSize;
        sticky_errors_ |= rx_at(0).errors;
    } else {
        rx_at(0).errors = 0;
    }
    timeout_pending_ = false;
    restart_timeout();
    update_irq();
    tell_backend_of_room();
    return data;
}

void Uart16550::clear_rx() {
    rx_head_ = 0;
    rx_count_ = 0;
    timeout_pending_ = false;
    timeout_.disarm();
}

/// A character on the line is start, data, parity and stop bits, each 16 clocks of the divided
/// crystal.
std::int64_t Uart16550::timeout_ns() const {
    const std::int64_t bits = 1 + (5 + (lcr_ & kWordLength)) + ((lcr_ & kPen) != 0 ? 1 : 0) +
                              ((lcr_ & kStb) != 0 ? 2 : 1);
    const std::int64_t divisor = divisor_ == 0 ? 1 : divisor_;
    return kTimeoutCharacters * bits * divisor * 16 * core::kNanosecondsPerSecond / kCrystalHz;
}

/// The time-out is of use only where no data interrupt will come.
void Uart16550::restart_timeout() {
    if (fifo_enabled() && rx_count_ != 0 && rx_count_ < trigger_level()) {
        timeout_.arm(clocks_.virtual_ns() + timeout_ns());
    } else {
        timeout_.disarm();
    }
}

void Uart16550::on_timeout() {
    if (fifo_enabled() && rx_count_ != 0) {
        timeout_pending_ = true;
        update_irq();
    }
}

void Uart16550::tell_backend_of_room() {
    if (backend_waits_ && backend_ != nullptr && can_receive() != 0) {
        backend_waits_ = false;
        backend_->accept_input();
    }
}

}  // namespace rhea::hw
