#include "rhea/core/register_bank.h"

#include "rhea/util/log.h"

#include <algorithm>
#include <cassert>

namespace rhea::core {
namespace {
std::uint64_t mask_of(unsigned size) { return size >= 8 ? ~0ull : (1ull << (size * 8)) - 1; }
} // namespace

RegisterBank::RegisterBank(std::string name, hwaddr size)
    : name_(std::move(name)), size_(size), index_by_byte_(static_cast<std::size_t>(size), -1) {}

void RegisterBank::add(Register reg) {
    assert(reg.offset + reg.size <= size_);
    const auto index = static_cast<std::int16_t>(registers_.size());
    for (unsigned i = 0; i < reg.size; ++i) {
        assert(index_by_byte_[static_cast<std::size_t>(reg.offset + i)] == -1 && "registers overlap");
        index_by_byte_[static_cast<std::size_t>(reg.offset + i)] = index;
    }
    values_.push_back(reg.reset & mask_of(reg.size));
    registers_.push_back(std::move(reg));
}

void RegisterBank::reset() {
    for (std::size_t i = 0; i < registers_.size(); ++i)
        values_[i] = registers_[i].reset & mask_of(registers_[i].size);
}

void RegisterBank::serialize(Archive &archive) {
    for (std::size_t i = 0; i < registers_.size(); ++i)
        archive.field(registers_[i].name, values_[i]);
}

std::uint64_t RegisterBank::get(std::string_view name) const {
    for (std::size_t i = 0; i < registers_.size(); ++i) {
        if (registers_[i].name == name)
            return values_[i];
    }
    assert(false && "no such register");
    return 0;
}

void RegisterBank::set(std::string_view name, std::uint64_t value) {
    for (std::size_t i = 0; i < registers_.size(); ++i) {
        if (registers_[i].name == name) {
            values_[i] = value & mask_of(registers_[i].size);
            return;
        }
    }
    assert(false && "no such register");
}

std::uint64_t RegisterBank::io_read(hwaddr offset, unsigned size) {
    std::uint64_t result = 0;
    for (unsigned lane = 0; lane < size;) {
        const hwaddr at = offset + lane;
        const int index = at < size_ ? index_by_byte_[static_cast<std::size_t>(at)] : -1;
        if (index < 0) {
            util::log_write(util::kLogGuestErrors, "{}: read of offset {:#x}, where no register is\n", name_, at);
            ++lane;
            continue;
        }
        const Register &reg = registers_[static_cast<std::size_t>(index)];
        std::uint64_t value = values_[static_cast<std::size_t>(index)];
        if (reg.on_read)
            value = reg.on_read(value);
        const auto skip = static_cast<unsigned>(at - reg.offset);
        const unsigned take = std::min(reg.size - skip, size - lane);
        result |= ((value >> (skip * 8)) & mask_of(take)) << (lane * 8);
        lane += take;
    }
    return result;
}

void RegisterBank::io_write(hwaddr offset, std::uint64_t value, unsigned size) {
    for (unsigned lane = 0; lane < size;) {
        const hwaddr at = offset + lane;
        const int index = at < size_ ? index_by_byte_[static_cast<std::size_t>(at)] : -1;
        if (index < 0) {
            util::log_write(util::kLogGuestErrors, "{}: write to offset {:#x}, where no register is\n", name_, at);
            ++lane;
            continue;
        }
        const Register &reg = registers_[static_cast<std::size_t>(index)];
        std::uint64_t &stored = values_[static_cast<std::size_t>(index)];
        const std::uint64_t old = stored;
        const auto skip = static_cast<unsigned>(at - reg.offset);
        const unsigned take = std::min(reg.size - skip, size - lane);
        const std::uint64_t lanes = mask_of(take) << (skip * 8);
        const std::uint64_t written = ((value >> (lane * 8)) & mask_of(take)) << (skip * 8);
        if (reg.write_value) {
            stored = reg.write_value(old, (old & ~lanes) | written) & mask_of(reg.size);
        } else {
            const std::uint64_t settable = reg.write_mask & lanes & ~reg.clear_mask;
            stored = ((old & ~settable) | (written & settable)) & ~(written & reg.clear_mask);
        }
        if (reg.on_write)
            reg.on_write(old, stored);
        lane += take;
    }
}

} // namespace rhea::core
