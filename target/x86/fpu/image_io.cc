#include "target/x86/fpu/image_io.h"

#include "target/x86/linear_memory.h"

#include <algorithm>
#include <cstring>

namespace rhea::target::x86 {
namespace {

std::uint64_t wrapped(const Cpu &cpu, std::uint64_t linear) { return cpu.code64() ? linear : linear & 0xffffffff; }

/// Calls one(offset, bytes) with pieces of 8, 4, 2 and 1 bytes.
template <class F>
void by_pieces(std::size_t size, F one) {
    for (std::size_t at = 0; at < size;) {
        const std::size_t left = size - at;
        const unsigned piece = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        one(at, piece);
        at += piece;
    }
}

bool whole_in_page(const LinearTarget &target, std::size_t size) {
    return target.host != nullptr && target.length >= size;
}

} // namespace

void read_image(Cpu &cpu, std::uint64_t linear, std::uint8_t *to, std::size_t size) {
    const As as = cpu.as_current();
    const LinearTarget target = resolve(cpu, wrapped(cpu, linear), tcg::Access::kRead, as);
    if (whole_in_page(target, size)) {
        std::memcpy(to, target.host, size);
        return;
    }
    by_pieces(size, [&](std::size_t at, unsigned piece) {
        const std::uint64_t value = read_linear(cpu, wrapped(cpu, linear + at), piece, as);
        std::memcpy(to + at, &value, piece);
    });
}

void write_image(Cpu &cpu, std::uint64_t linear, const std::uint8_t *from, std::size_t size) {
    const As as = cpu.as_current();
    const LinearTarget target = resolve(cpu, wrapped(cpu, linear), tcg::Access::kWrite, as);
    if (whole_in_page(target, size)) {
        std::memcpy(target.host, from, size);
        return;
    }
    probe_write_linear(cpu, wrapped(cpu, linear), size, as);
    by_pieces(size, [&](std::size_t at, unsigned piece) {
        std::uint64_t value = 0;
        std::memcpy(&value, from + at, piece);
        write_linear(cpu, wrapped(cpu, linear + at), value, piece, as);
    });
}

} // namespace rhea::target::x86
