// Registers, interrupts and state; the transmitter and receiver are in uart16550_data.cc.
#include "hw/char/uart16550.h"

#include <algorithm>

#include "hw/char/uart16550_bits.h"

namespace rhea::hw {

using namespace uart;

const std::array<Uart16550::Port, Uart16550::kPorts> Uart16550::kPortTable = {{
    {"RBR/THR", &Uart16550::read_rbr, &Uart16550::write_thr},
    {"IER", &Uart16550::read_ier, &Uart16550::write_ier},
    {"IIR/FCR", &Uart16550::read_iir, &Uart16550::write_fcr},
    {"LCR", &Uart16550::read_lcr, &Uart16550::write_lcr},
    {"MCR", &Uart16550::read_mcr, &Uart16550::write_mcr},
    // Writing LSR and MSR is for factory testing (8.4, 8.8).
    {"LSR", &Uart16550::read_lsr, &Uart16550::write_nothing},
    {"MSR", &Uart16550::read_msr, &Uart16550::write_nothing},
    {"SCR", &Uart16550::read_scr, &Uart16550::write_scr},
}};

const std::array<Uart16550::Port, 2> Uart16550::kDivisorTable = {{
    {"DLL", &Uart16550::read_dll, &Uart16550::write_dll},
    {"DLM", &Uart16550::read_dlm, &Uart16550::write_dlm},
}};

namespace {

/// The divisor latch is undefined after power-on (table I); this is 9600 baud at 1.8432 MHz.
constexpr std::uint16_t kPowerOnDivisor = 12;
/// A modem that is there and ready.
constexpr std::uint8_t kPowerOnModemInputs = kDcd | kDsr | kCts;

struct ComPort {
    std::uint32_t iobase, irq;
};
/// The places that PC firmware and drivers know.
constexpr std::array<ComPort, 4> kComPorts = {{{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}}};

}  // namespace

Uart16550::Uart16550(core::Clocks& clocks, core::CharBackend* backend)
    : clocks_(clocks),
      timeout_(clocks, core::ClockType::kVirtual, [this] { on_timeout(); }),
      divisor_(kPowerOnDivisor),
      modem_inputs_(kPowerOnModemInputs),
      last_modem_lines_(kPowerOnModemInputs) {
    properties_.add_uint("index", index_, "number of the serial port, from 0",
                         kComPorts.size() - 1);
    properties_.add_uint("iobase", iobase_, "first of eight I/O ports (default: by index)",
                         0x10000 - kPorts);
    properties_.add_uint("irq", irq_, "ISA interrupt (default: by index)", 15);
    properties_.add_string("chardev", chardev_, "id of the character device behind it");
    connect(backend);
}

Uart16550::~Uart16550() {
    connect(nullptr);
}

void Uart16550::connect(core::CharBackend* backend) {
    if (backend_ != nullptr) {
        backend_->set_front_end({});
    }
    backend_ = backend;
    backend_waits_ = false;
    if (backend_ == nullptr) {
        return;
    }
    backend_->set_front_end({
        .can_receive =
            [this] {
                const std::size_t room = can_receive();
                backend_waits_ = room == 0;
                return room;
            },
        .receive = [this](std::span<const std::uint8_t> bytes) { receive(bytes); },
        .on_writable = [this] { transmit(); },
        .on_connection = {},
        .on_break = [this] { receive_break(); },
    });
}

void Uart16550::map(core::MemoryRegion& io_root, core::hwaddr base) {
    region_ = core::MemoryRegion::io("serial", kPorts, *this, {.min = 1, .max = 1});
    io_root.add(base, *region_);
}

std::uint32_t Uart16550::iobase() const {
    return iobase_ == kUnset ? kComPorts[index_ % kComPorts.size()].iobase : iobase_;
}

std::uint32_t Uart16550::irq() const {
    return irq_ == kUnset ? kComPorts[index_ % kComPorts.size()].irq : irq_;
}

void Uart16550::reset() {
    ier_ = fcr_ = lcr_ = mcr_ = scr_ = 0;
    divisor_ = kPowerOnDivisor;
    sticky_errors_ = 0;
    clear_rx();
    tx_count_ = 0;
    thre_pending_ = false;
    msr_deltas_ = 0;
    last_modem_lines_ = modem_lines();
    update_irq();
    tell_backend_of_room();
}

std::uint64_t Uart16550::io_read(core::hwaddr offset, unsigned) {
    return (this->*port(offset).read)();
}

void Uart16550::io_write(core::hwaddr offset, std::uint64_t value, unsigned) {
    (this->*port(offset).write)(static_cast<std::uint8_t>(value));
}

const Uart16550::Port& Uart16550::port(core::hwaddr offset) const {
    offset %= kPorts;
    const bool divisor = offset < kDivisorTable.size() && (lcr_ & kDlab) != 0;
    return divisor ? kDivisorTable[offset] : kPortTable[offset];
}

bool Uart16550::fifo_enabled() const {
    return (fcr_ & kFifoEnable) != 0;
}

bool Uart16550::loopback() const {
    return (mcr_ & kLoop) != 0;
}

// --- registers -----------------------------------------------------------------------------------

std::uint8_t Uart16550::read_ier() {
    return ier_;
}

void Uart16550::write_ier(std::uint8_t value) {
    const std::uint8_t risen = value & ~ier_;
    ier_ = value & kIerWritable;
    // Enabling the THRE interrupt while THR is empty raises it at once; drivers start a
    // transmission that way.
    if ((risen & kEtbei) != 0 && (line_status() & kThre) != 0) {
        thre_pending_ = true;
    }
    update_irq();
}

std::uint8_t Uart16550::read_iir() {
    const std::uint8_t interrupt = highest_interrupt();
    // Reading IIR resets the THRE interrupt, but only when it is the one reported (table III).
    if (interrupt == kIirThrEmpty) {
        thre_pending_ = false;
        update_irq();
    }
    return interrupt | (fifo_enabled() ? kIirFifosEnabled : 0);
}

void Uart16550::write_fcr(std::uint8_t value) {
    const bool enable = (value & kFifoEnable) != 0;
    // Changing the mode clears both FIFOs; the other bits count only while bit 0 is written as 1
    // (8.5).
    if (enable != fifo_enabled()) {
        value |= kRcvrFifoReset | kXmitFifoReset;
    } else if (!enable) {
        return;
    }
    fcr_ = enable ? value & kFcrKept : 0;
    if ((value & kRcvrFifoReset) != 0) {
        clear_rx();
    }
    if ((value & kXmitFifoReset) != 0) {
        clear_tx();
    }
    update_irq();
    tell_backend_of_room();
}

std::uint8_t Uart16550::read_lcr() {
    return lcr_;
}

void Uart16550::write_lcr(std::uint8_t value) {
    // A break (bit 6) has no form on a byte stream. In loopback the pin is not looped either.
    lcr_ = value;
}

std::uint8_t Uart16550::read_mcr() {
    return mcr_;
}

void Uart16550::write_mcr(std::uint8_t value) {
    const bool was_loopback = loopback();
    mcr_ = value & kMcrWritable;
    update_modem_lines();
    update_irq();
    if (was_loopback && !loopback()) {
        tell_backend_of_room();
    }
    transmit();
}

std::uint8_t Uart16550::read_lsr() {
    const std::uint8_t status = line_status();
    sticky_errors_ = 0;
    // Reading LSR clears bit 7 unless a later character in the FIFO has an error (8.4 bit 7).
    if (rx_count_ != 0) {
        rx_at(0).errors = 0;
    }
    update_irq();
    return status;
}

std::uint8_t Uart16550::read_msr() {
    const std::uint8_t status = modem_lines() | msr_deltas_;
    msr_deltas_ = 0;
    update_irq();
    return status;
}

std::uint8_t Uart16550::read_scr() {
    return scr_;
}

void Uart16550::write_scr(std::uint8_t value) {
    scr_ = value;
}

std::uint8_t Uart16550::read_dll() {
    return static_cast<std::uint8_t>(divisor_);
}

void Uart16550::write_dll(std::uint8_t value) {
    divisor_ = static_cast<std::uint16_t>((divisor_ & 0xff00) | value);
}

std::uint8_t Uart16550::read_dlm() {
    return static_cast<std::uint8_t>(divisor_ >> 8);
}

void Uart16550::write_dlm(std::uint8_t value) {
    divisor_ = static_cast<std::uint16_t>((divisor_ & 0x00ff) | value << 8);
}

void Uart16550::write_nothing(std::uint8_t) {}

// --- modem lines and interrupts
// --------------------------------------------------------------------

void Uart16550::set_modem_inputs(std::uint8_t lines) {
    modem_inputs_ = lines & kModemLines;
    update_modem_lines();
    update_irq();
}

/// MSR bits 7:4. In loopback the four modem outputs are wired to the four inputs (8.7 bit 4).
std::uint8_t Uart16550::modem_lines() const {
    if (!loopback()) {
        return modem_inputs_;
    }
    struct Wire {
        std::uint8_t output, input;
    };
    static constexpr std::array<Wire, 4> kWires = {
        {{kDtr, kDsr}, {kRts, kCts}, {kOut1, kRi}, {kOut2, kDcd}}};
    std::uint8_t lines = 0;
    for (const Wire& wire : kWires) {
        if ((mcr_ & wire.output) != 0) {
            lines |= wire.input;
        }
    }
    return lines;
}

/// Sets the deltas of what changed; RI's only at its trailing edge (8.8 bit 2).
void Uart16550::update_modem_lines() {
    const std::uint8_t lines = modem_lines();
    const std::uint8_t changed = lines ^ last_modem_lines_;
    last_modem_lines_ = lines;
    std::uint8_t deltas = changed >> 4;
    if ((lines & kRi) != 0) {
        deltas &= static_cast<std::uint8_t>(~kTeri);
    }
    msr_deltas_ |= deltas;
}

/// The IIR's identification bits (table III).
std::uint8_t Uart16550::highest_interrupt() const {
    struct Source {
        std::uint8_t enable;
        bool pending;
        std::uint8_t identification;
    };
    const bool data = fifo_enabled() ? rx_count_ >= trigger_level() : rx_count_ != 0;
    const Source sources[] = {
        {kElsi, sticky_errors_ != 0, kIirLineStatus}, {kErbfi, data, kIirDataAvailable},
        {kErbfi, timeout_pending_, kIirTimeout},      {kEtbei, thre_pending_, kIirThrEmpty},
        {kEdssi, msr_deltas_ != 0, kIirModemStatus},
    };
    for (const Source& source : sources) {
        if (source.pending && (ier_ & source.enable) != 0) {
            return source.identification;
        }
    }
    return kIirNone;
}

void Uart16550::update_irq() {
    const bool level = highest_interrupt() != kIirNone;
    if (level != irq_level_) {
        irq_level_ = level;
        irq_line_.set(level);
    }
}

// --- state
// -----------------------------------------------------------------------------------------

void Uart16550::serialize(core::Archive& archive) {
    archive.field("ier", ier_);
    archive.field("fcr", fcr_);
    archive.field("lcr", lcr_);
    archive.field("mcr", mcr_);
    archive.field("scr", scr_);
    archive.field("divisor", divisor_);
    archive.field("sticky_errors", sticky_errors_);
    archive.field("msr_deltas", msr_deltas_);
    archive.field("modem_inputs", modem_inputs_);
    archive.field("last_modem_lines", last_modem_lines_);
    archive.field("thre_pending", thre_pending_);
    archive.field("timeout_pending", timeout_pending_);
    archive.field("rx_head", rx_head_);
    archive.field("rx_count", rx_count_);
    std::array<std::uint8_t, kFifoSize> data{}, errors{};
    for (std::size_t i = 0; i < kFifoSize; ++i) {
        data[i] = rx_[i].data;
        errors[i] = rx_[i].errors;
    }
    archive.bytes("rx_data", data);
    archive.bytes("rx_errors", errors);
    archive.field("tx_count", tx_count_);
    archive.bytes("tx", tx_);
    std::int64_t timeout = timeout_.armed() ? timeout_.deadline_ns() : -1;
    archive.field("timeout_ns", timeout);
    if (!archive.restoring() || !archive.ok()) {
        return;
    }
    for (std::size_t i = 0; i < kFifoSize; ++i) {
        rx_[i] = {data[i], static_cast<std::uint8_t>(errors[i] & (kPe | kFe | kBi))};
    }
    clamp_restored();
    if (timeout >= 0) {
        timeout_.arm(timeout);
    } else {
        timeout_.disarm();
    }
    // Levels follow from the state; the controller's own state says whether it has seen this one.
    irq_level_ = highest_interrupt() != kIirNone;
    irq_line_.set(irq_level_);
    tell_backend_of_room();
    transmit();
}

/// Nothing that a file says makes an index leave its array.
void Uart16550::clamp_restored() {
    ier_ &= kIerWritable;
    fcr_ &= kFcrKept;
    mcr_ &= kMcrWritable;
    sticky_errors_ &= kErrors;
    msr_deltas_ &= 0x0f;
    modem_inputs_ &= kModemLines;
    last_modem_lines_ &= kModemLines;
    rx_head_ %= kFifoSize;
    const std::uint8_t capacity = fifo_enabled() ? kFifoSize : 1;
    rx_count_ = std::min(rx_count_, capacity);
    tx_count_ = std::min<std::uint8_t>(tx_count_, capacity + 1);
}

}  // namespace rhea::hw
