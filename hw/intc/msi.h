// Interrupts as messages: what travels between I/O APICs, MSI-capable devices and local APICs.
//
// Message format: SDM vol. 3, 11.11 "Message Signalled Interrupts" and 11.6.1 (ICR). Implementers
// may be called from any thread that holds the machine lock.
#pragma once
#include <cstdint>

namespace rhea::hw {

/// SDM vol. 3, figure 11-12; the encodings of ICR, I/O APIC entries and MSI data agree.
enum class DeliveryMode : std::uint8_t {
    kFixed = 0,
    kLowestPriority = 1,
    kSmi = 2,
    kRemoteRead = 3,  ///< reserved in MSI and I/O APIC entries
    kNmi = 4,
    kInit = 5,
    kStartUp = 6,  ///< only in the ICR
    kExtInt = 7,
};

struct InterruptMessage {
    std::uint32_t destination = 0;
    bool wide = false;     ///< destination has 32 bits (sent by an x2APIC), else 8
    bool logical = false;  ///< destination mode
    bool level_triggered = false;
    DeliveryMode mode = DeliveryMode::kFixed;
    std::uint8_t vector = 0;
};

/// Takes interrupt messages to the CPUs.
class InterruptMessagePort {
  public:
    virtual ~InterruptMessagePort() = default;
    /// False: no local APIC accepted it.
    virtual bool deliver(const InterruptMessage& message) = 0;
};

/// Takes the memory writes of MSI and MSI-X.
class MsiSink {
  public:
    virtual ~MsiSink() = default;
    virtual void send_msi(std::uint64_t address, std::uint32_t data) = 0;
    /// Are there the three below?
    [[nodiscard]] virtual bool has_descriptors() const { return false; }
    /// Messages that a write to an eventfd sends, without anybody of ours (core::KernelIrqchip); negative: not here.
    virtual int add_descriptor(int, std::uint64_t, std::uint32_t) { return -1; }
    virtual void change_descriptor(int, std::uint64_t, std::uint32_t) {}
    virtual void remove_descriptor(int, int) {}
};

/// Told of the end of level-triggered interrupts (an I/O APIC).
class EoiListener {
  public:
    virtual ~EoiListener() = default;
    virtual void end_of_interrupt(std::uint8_t vector) = 0;
};

/// The 0xfee00000 window: MSI addresses have these top bits (SDM vol. 3, figure 11-14).
inline constexpr std::uint64_t kMsiAddressBase = 0xfee00000;
inline constexpr std::uint64_t kMsiWindowSize = 0x100000;

/// Decodes an MSI's address and data; the address's top bits are not looked at.
[[nodiscard]] constexpr InterruptMessage decode_msi(std::uint64_t address, std::uint32_t data) {
    return {.destination = static_cast<std::uint32_t>(address >> 12) & 0xff,
            .logical = (address & 0x4) != 0,
            .level_triggered = (data & 0x8000) != 0,
            .mode = static_cast<DeliveryMode>((data >> 8) & 7),
            .vector = static_cast<std::uint8_t>(data)};
}

/// The same the other way: a message as a sender of MSIs would write it.
struct MsiWrite {
    std::uint64_t address = 0;
    std::uint32_t data = 0;
};
[[nodiscard]] constexpr MsiWrite encode_msi(const InterruptMessage& message) {
    constexpr std::uint32_t kAssert = 0x4000, kLevel = 0x8000;
    return {.address = kMsiAddressBase | static_cast<std::uint64_t>(message.destination & 0xff) << 12 |
                       (message.logical ? 0x4u : 0u),
            .data = message.vector | static_cast<std::uint32_t>(message.mode) << 8 |
                    (message.level_triggered ? kLevel | kAssert : 0u)};
}

}  // namespace rhea::hw
