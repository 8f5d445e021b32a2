// A device's registers as a table instead of a switch over magic offsets.
//
//   bank.add({.offset = 0x08, .size = 4, .name = "STATUS", .reset = 0x10, .write_mask = 0x3,
//             .clear_mask = 0xc, .on_write = [this](uint64_t old, uint64_t now) { … }});
//
// The bank is an IoHandler for a MemoryRegion of its own. A read or write wider or narrower than the
// register touches the covered bytes of each register that it overlaps.
#pragma once
#include "rhea/core/archive.h"
#include "rhea/core/memory.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace rhea::core {

struct Register {
    hwaddr offset = 0;
    unsigned size = 1;              ///< bytes: 1, 2, 4, 8
    std::string_view name = {};     ///< as in the datasheet
    std::uint64_t reset = 0;
    std::uint64_t write_mask = ~0ull; ///< bits that a write sets
    std::uint64_t clear_mask = 0;     ///< bits that a write of one clears (RW1C)
    /// Replaces the stored value on reads; side effects of reading go here.
    std::function<std::uint64_t(std::uint64_t stored)> on_read = {};
    /// After the stored value changed by the masks above.
    std::function<void(std::uint64_t old_value, std::uint64_t new_value)> on_write = {};
    /// When set, replaces the masks: sees the raw written value, returns what is stored.
    std::function<std::uint64_t(std::uint64_t stored, std::uint64_t written)> write_value = {};
};

class RegisterBank final : public IoHandler {
public:
    /// `name` appears in guest_errors log lines.
    RegisterBank(std::string name, hwaddr size);
    void add(Register reg);
    void reset();
    /// All stored values, by register name.
    void serialize(Archive &archive);

    std::uint64_t get(std::string_view name) const;
    void set(std::string_view name, std::uint64_t value); ///< no handlers run

    std::uint64_t io_read(hwaddr offset, unsigned size) override;
    void io_write(hwaddr offset, std::uint64_t value, unsigned size) override;

    const std::vector<Register> &registers() const { return registers_; } ///< for docs, fuzzers, tracing

private:
    std::string name_;
    hwaddr size_;
    std::vector<Register> registers_;
    std::vector<std::uint64_t> values_;
    std::vector<std::int16_t> index_by_byte_; ///< register covering each byte, or -1
};

} // namespace rhea::core
