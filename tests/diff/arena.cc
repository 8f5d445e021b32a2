#include "tests/diff/arena.h"

#include <stdexcept>
#include <sys/mman.h>

namespace rhea::target::x86::diff {
namespace {

void map(std::uint64_t address, std::size_t size, int protection) {
    void *wanted = reinterpret_cast<void *>(address);
    if (mmap(wanted, size, protection, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != wanted) {
        throw std::runtime_error("cannot map the test arena at its fixed address");
    }
}

} // namespace

Arena::Arena() {
    map(kCodeAddress, kCodeSize, PROT_READ | PROT_WRITE | PROT_EXEC);
    map(kDataAddress, kWritableSize + kReadOnlySize, PROT_READ | PROT_WRITE);
    for (std::size_t n = 0; n < kReadOnlySize; n++) {
        read_only()[n] = static_cast<std::uint8_t>(n * 37 + (n >> 8));
    }
    mprotect(read_only(), kReadOnlySize, PROT_READ);
}

Arena::~Arena() {
    munmap(reinterpret_cast<void *>(kCodeAddress), kCodeSize);
    munmap(data(), kWritableSize + kReadOnlySize);
}

} // namespace rhea::target::x86::diff
