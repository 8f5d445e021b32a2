#include "tcg/backend/interp/interp_memory.h"

#include <array>
#include <cstring>

#include "tcg/ir/int_ops.h"

namespace rhea::tcg::interp {
namespace {

constexpr std::uint64_t kPageSize = 4096;

bool misaligned(std::uint64_t address, unsigned size, unsigned flags) {
    return (flags & kMemAlign16) && (address & (size - 1)) != 0;
}

/// What the op leaves in memory.
std::uint64_t combine(ir::Op op, std::uint64_t old, std::uint64_t a, std::uint64_t b) {
    switch (op) {
        case ir::Op::atomic_add:
            return old + a;
        case ir::Op::atomic_and:
            return old & a;
        case ir::Op::atomic_or:
            return old | a;
        case ir::Op::atomic_xor:
            return old ^ a;
        case ir::Op::atomic_xchg:
            return a;
        default:
            return old == a ? b : old;  // atomic_cmpxchg
    }
}

template <class T>
std::uint64_t atomic_on_host(ir::Op op, void* host, std::uint64_t a, std::uint64_t b) {
    auto* place = static_cast<T*>(host);
    const auto operand = static_cast<T>(a);
    switch (op) {
        case ir::Op::atomic_add:
            return __atomic_fetch_add(place, operand, __ATOMIC_SEQ_CST);
        case ir::Op::atomic_and:
            return __atomic_fetch_and(place, operand, __ATOMIC_SEQ_CST);
        case ir::Op::atomic_or:
            return __atomic_fetch_or(place, operand, __ATOMIC_SEQ_CST);
        case ir::Op::atomic_xor:
            return __atomic_fetch_xor(place, operand, __ATOMIC_SEQ_CST);
        case ir::Op::atomic_xchg:
            return __atomic_exchange_n(place, operand, __ATOMIC_SEQ_CST);
        default: {
            T expected = operand;
            __atomic_compare_exchange_n(place, &expected, static_cast<T>(b), false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
            return expected;
        }
    }
}

std::uint64_t atomic_on_host(ir::Op op, void* host, unsigned size, std::uint64_t a,
                             std::uint64_t b) {
    switch (size) {
        case 1:
            return atomic_on_host<std::uint8_t>(op, host, a, b);
        case 2:
            return atomic_on_host<std::uint16_t>(op, host, a, b);
        case 4:
            return atomic_on_host<std::uint32_t>(op, host, a, b);
        default:
            return atomic_on_host<std::uint64_t>(op, host, a, b);
    }
}

/// Constant sizes, so that an aligned access is one host instruction: another vCPU never sees half
/// of it.
void copy_access(void* to, const void* from, unsigned size) {
    switch (size) {
        case 1:
            std::memcpy(to, from, 1);
            return;
        case 2:
            std::memcpy(to, from, 2);
            return;
        case 4:
            std::memcpy(to, from, 4);
            return;
        case 8:
            std::memcpy(to, from, 8);
            return;
        case 10:  // x87
            std::memcpy(to, from, 10);
            return;
        default:
            std::memcpy(to, from, 16);
            return;
    }
}

}  // namespace

Memory::Memory(VcpuHead& head, std::uint32_t cold_offset, const MemoryCallbacks& callbacks)
    : head_(head),
      cold_(*reinterpret_cast<const VcpuCold*>(reinterpret_cast<const std::uint8_t*>(&head) +
                                               cold_offset)),
      callbacks_(callbacks) {}

std::uint8_t* Memory::lookup(std::uint64_t address, unsigned size, std::uint32_t tag_offset) const {
    const unsigned index = tlb_index(address);
    const auto* tags = reinterpret_cast<const std::uint64_t*>(cold_.window + tag_offset);
    // One unsigned compare covers a wrong tag and an access that reaches over the page's end.
    if (address - tags[index] > kPageSize - size)
        return nullptr;
    const auto* addends = reinterpret_cast<const std::uint64_t*>(cold_.window + kAddendOffset);
    return reinterpret_cast<std::uint8_t*>(address + addends[index]);
}

bool Memory::load(std::uint64_t address, unsigned size, unsigned flags, Value& value) {
    value = {};
    const std::uint32_t tags = (flags & kMemWriteIntent) ? kWriteTagOffset : kReadTagOffset;
    if (!misaligned(address, size, flags)) {
        if (const std::uint8_t* host = lookup(address, size, tags)) {
            copy_access(&value, host, size);
            return true;
        }
    }
    callbacks_.load(&head_, address, size, flags, &value);
    if (size < 8)
        value.low = ir::low_bits(value.low, size * 8);
    return !faulted();
}

bool Memory::store(std::uint64_t address, unsigned size, unsigned flags, const Value& value) {
    if (!misaligned(address, size, flags)) {
        if (std::uint8_t* host = lookup(address, size, kWriteTagOffset)) {
            copy_access(host, &value, size);
            return true;
        }
    }
    callbacks_.store(&head_, address, size, flags, &value);
    return !faulted();
}

bool Memory::load_wide(std::uint64_t address, unsigned flags, Value& low, Value& high) {
    constexpr unsigned kSize = 32;
    std::array<Value, 2> pair{};
    const std::uint8_t* host = nullptr;
    if (!misaligned(address, kSize, flags))
        host = lookup(address, kSize, kReadTagOffset);
    if (host != nullptr)
        std::memcpy(pair.data(), host, kSize);
    else
        callbacks_.load(&head_, address, kSize, flags, pair.data());
    low = pair[0];
    high = pair[1];
    return host != nullptr || !faulted();
}

bool Memory::store_wide(std::uint64_t address, unsigned flags, const Value& low, const Value& high) {
    constexpr unsigned kSize = 32;
    const std::array<Value, 2> pair{low, high};
    if (!misaligned(address, kSize, flags)) {
        if (std::uint8_t* host = lookup(address, kSize, kWriteTagOffset)) {
            std::memcpy(host, pair.data(), kSize);
            return true;
        }
    }
    callbacks_.store(&head_, address, kSize, flags, pair.data());
    return !faulted();
}

bool Memory::touch(std::uint64_t address, unsigned size) {
    if (callbacks_.touch != nullptr)
        callbacks_.touch(&head_, address, size);
    return !faulted();
}

bool Memory::check_write(std::uint64_t address, unsigned size, unsigned flags) {
    if (!misaligned(address, size, flags) && lookup(address, size, kWriteTagOffset) != nullptr)
        return true;
    callbacks_.probe_write(&head_, address, size, flags);
    return !faulted();
}

bool Memory::atomic(ir::Op op, std::uint64_t address, unsigned size, std::uint64_t a,
                    std::uint64_t b, std::uint64_t& old) {
    void* host = lookup(address, size, kWriteTagOffset);
    if (host == nullptr) {
        host = callbacks_.probe_write(&head_, address, size, 0);
        if (faulted())
            return false;
    }
    if (host == nullptr)
        return atomic_exclusive(op, address, size, a, b, old);
    old = atomic_on_host(op, host, size, a, b);
    return true;
}

bool Memory::atomic_exclusive(ir::Op op, std::uint64_t address, unsigned size, std::uint64_t a,
                              std::uint64_t b, std::uint64_t& old) {
    if (callbacks_.begin_exclusive)
        callbacks_.begin_exclusive(&head_);
    Value value;
    callbacks_.load(&head_, address, size, kMemWriteIntent, &value);
    old = value.low;
    if (!faulted()) {
        value.low = combine(op, old, a, b);
        callbacks_.store(&head_, address, size, 0, &value);
    }
    if (callbacks_.end_exclusive)
        callbacks_.end_exclusive(&head_);
    return !faulted();
}

}  // namespace rhea::tcg::interp
