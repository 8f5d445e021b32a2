#include "linear_memory.h"

#include <algorithm>
#include <cstring>

#include "fpu/x87_guest.h"
#include "paging.h"
#include "rhea/core/page_writers.h"

namespace rhea::target::x86 {
namespace {

using core::kPageMask;
using core::kPageSize;

template <typename T>
T load_as(const std::uint8_t* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}
template <typename T>
void store_as(std::uint8_t* to, std::uint64_t value) {
    const T v = static_cast<T>(value);
    std::memcpy(to, &v, sizeof v);
}

std::uint64_t load_host(const std::uint8_t* from, unsigned size) {
    return size == 8   ? load_as<std::uint64_t>(from)
           : size == 4 ? load_as<std::uint32_t>(from)
           : size == 2 ? load_as<std::uint16_t>(from)
                       : *from;
}
void store_host(std::uint8_t* to, std::uint64_t value, unsigned size) {
    if (size == 8)
        store_as<std::uint64_t>(to, value);
    else if (size == 4)
        store_as<std::uint32_t>(to, value);
    else if (size == 2)
        store_as<std::uint16_t>(to, value);
    else
        *to = static_cast<std::uint8_t>(value);
}

/// The software TLB of the present window, when the access has the window's own privilege.
std::uint8_t* window_lookup(const Cpu& cpu, std::uint64_t linear, bool write, As as) {
    const std::uint64_t window = cpu.s.cold.window;
    if (window == 0 || static_cast<unsigned>(as) != (cpu.mode & kModeWindowMask))
        return nullptr;
    const unsigned index = tcg::tlb_index(linear);
    const auto* tags = reinterpret_cast<const std::uint64_t*>(
        window + (write ? tcg::kWriteTagOffset : tcg::kReadTagOffset));
    if (tags[index] != (linear & kPageMask))
        return nullptr;
    const auto* addends = reinterpret_cast<const std::uint64_t*>(window + tcg::kAddendOffset);
    return reinterpret_cast<std::uint8_t*>(linear + addends[index]);
}

/// RAM that may be accessed by pointer; null for devices, ROM writes and pages with translated
/// code.
std::uint8_t* host_pointer(const Cpu& cpu, core::hwaddr physical, bool write) {
    const core::FlatRange* range = cpu.find_range(physical);
    if (range == nullptr || range->host == nullptr)
        return nullptr;
    const core::hwaddr offset = physical - range->start;
    if (range->size - offset < kPageSize - (physical & ~kPageMask))
        return nullptr;  // the range ends inside the page
    if (write) {
        if (range->readonly)
            return nullptr;
        core::RamBlock* block = range->region->ram_block();
        if (block == nullptr || !core::claim_page(*block, range->region_offset + offset, cpu.index))
            return nullptr;
    }
    return range->host + offset;
}

/// Bytewise access across a page boundary; both pages are resolved before anything is written.
struct Split {
    LinearTarget first, second;
    unsigned first_size;
    Split(Cpu& cpu, std::uint64_t linear, unsigned size, tcg::Access access, As as,
          Vector not_canonical)
        : first_size(static_cast<unsigned>(kPageSize - (linear & ~kPageMask))) {
        (void)size;
        std::uint64_t next = (linear | ~kPageMask) + 1;
        if (!cpu.long_active())
            next &= 0xffffffff;
        first = resolve(cpu, linear, access, as, not_canonical);
        second = resolve(cpu, next, access, as, not_canonical);
    }
    /// Before the first byte is stored: the instruction may have to be started again.
    void check(Cpu& cpu, unsigned size) const {
        first.check(cpu, first_size, true);
        second.check(cpu, size - first_size, true);
    }
    LinearTarget at(unsigned i) const {
        LinearTarget t = i < first_size ? first : second;
        const unsigned offset = i < first_size ? i : i - first_size;
        t.physical += offset;
        if (t.host != nullptr)
            t.host += offset;
        if (t.watched != ~0ull)
            t.watched += offset;
        return t;
    }
};

bool crosses(std::uint64_t linear, std::size_t size) {
    return (linear & ~kPageMask) + size > kPageSize;
}

}  // namespace

bool try_resolve(Cpu& cpu, std::uint64_t linear, tcg::Access access, As as, LinearTarget& out,
                 Fault& fault) {
    const bool write = access == tcg::Access::kWrite;
    if (!cpu.long_active())
        linear &= 0xffffffff;
    out.length = kPageSize - (linear & ~kPageMask);
    if (std::uint8_t* host = window_lookup(cpu, linear, write, as)) {
        out.host = host;
        out.physical = 0;  // not needed: by pointer only
        return true;
    }
    if (!is_canonical(cpu, linear)) {
        fault = {kVectorGP, 0, 0};
        return false;
    }
    const std::uint64_t page = linear & kPageMask;
    std::uint64_t physical = cpu.linear_cache.find(page, as, write);
    if (physical == ~0ull) {
        tcg::Translation translation;
        std::uint32_t error = 0;
        if (!walk_pages(cpu, linear, access, as, translation, error)) {
            fault = {kVectorPF, error, linear};
            return false;
        }
        physical = translation.physical & kPageMask;
        cpu.linear_cache.insert(page, as, write, physical);
    }
    out.physical = physical | (linear & ~kPageMask);
    if (watched_page(cpu.watch, linear)) {
        out.watched = linear;
        out.host = nullptr;
        return true;
    }
    out.host = host_pointer(cpu, out.physical, write);
    return true;
}

LinearTarget resolve(Cpu& cpu, std::uint64_t linear, tcg::Access access, As as,
                     Vector not_canonical) {
    LinearTarget target;
    Fault fault;
    if (!try_resolve(cpu, linear, access, as, target, fault)) {
        if (fault.vector == kVectorGP)
            fault.vector = not_canonical;
        throw Fault(fault);
    }
    return target;
}

std::uint64_t load_target(Cpu& cpu, const LinearTarget& target, unsigned size) {
    target.check(cpu, size, false);
    if (target.host != nullptr)
        return load_host(target.host, size);
    return cpu.host.memory().load(target.physical, size);
}

void store_target(Cpu& cpu, const LinearTarget& target, std::uint64_t value, unsigned size) {
    target.check(cpu, size, true);
    if (target.host != nullptr)
        store_host(target.host, value, size);
    else
        cpu.host.memory().store(target.physical, value, size);
}

std::uint64_t read_linear(Cpu& cpu, std::uint64_t linear, unsigned size, As as,
                          Vector not_canonical) {
    if (!crosses(linear, size))
        return load_target(cpu, resolve(cpu, linear, tcg::Access::kRead, as, not_canonical), size);
    const Split split(cpu, linear, size, tcg::Access::kRead, as, not_canonical);
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i)
        value |= load_target(cpu, split.at(i), 1) << (i * 8);
    return value;
}

void write_linear(Cpu& cpu, std::uint64_t linear, std::uint64_t value, unsigned size, As as,
                  Vector not_canonical) {
    if (!crosses(linear, size)) {
        store_target(cpu, resolve(cpu, linear, tcg::Access::kWrite, as, not_canonical), value,
                     size);
        return;
    }
    const Split split(cpu, linear, size, tcg::Access::kWrite, as, not_canonical);
    split.check(cpu, size);
    for (unsigned i = 0; i < size; ++i)
        store_target(cpu, split.at(i), (value >> (i * 8)) & 0xff, 1);
}

void check_writable_linear(Cpu& cpu, std::uint64_t linear, std::size_t size, As as,
                           Vector not_canonical) {
    const LinearTarget target = resolve(cpu, linear, tcg::Access::kWrite, as, not_canonical);
    if (size > target.length)
        resolve(cpu, linear + target.length, tcg::Access::kWrite, as, not_canonical);
}

void probe_write_linear(Cpu& cpu, std::uint64_t linear, std::size_t size, As as,
                        Vector not_canonical) {
    const LinearTarget target = resolve(cpu, linear, tcg::Access::kWrite, as, not_canonical);
    if (size == 0)
        return;
    const std::size_t in_page = std::min(size, target.length);
    LinearTarget second; // CR2 shows its first byte
    if (size > in_page)
        second = resolve(cpu, linear + in_page, tcg::Access::kWrite, as, not_canonical);
    target.check(cpu, static_cast<unsigned>(in_page), true);
    second.check(cpu, static_cast<unsigned>(size - in_page), true);
}

std::uint64_t read_physical(Cpu& cpu, core::hwaddr physical, unsigned size) {
    const core::FlatRange* range = cpu.find_range(physical);
    if (range != nullptr && range->host != nullptr &&
        range->size - (physical - range->start) >= size)
        return load_host(range->host + (physical - range->start), size);
    x87_guest()->release(&cpu.s); // page walks come here from slow paths
    return cpu.host.memory().load(physical, size);
}

void write_physical(Cpu& cpu, core::hwaddr physical, std::uint64_t value, unsigned size) {
    cpu.host.memory().store(physical, value, size);
}

}  // namespace rhea::target::x86
