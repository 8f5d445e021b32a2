#include "tests/diff/arena.h"

#include <stdexcept>
#include <sys/mman.h>
#include <unistd.h>

namespace rhea::target::x86::diff {
namespace {

void map(std::uint64_t address, std::size_t size, int protection, int fd, off_t offset) {
    void *wanted = reinterpret_cast<void *>(address);
    if (mmap(wanted, size, protection, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, offset) != wanted) {
        throw std::runtime_error("cannot map the test arena at its fixed address");
    }
}

} // namespace

Arena::Arena() : fd_(memfd_create("diff-arena", MFD_CLOEXEC)) {
    if (fd_ < 0 || ftruncate(fd_, kArenaSize) != 0) {
        throw std::runtime_error("no memory for the test arena");
    }
    map(kCodeAddress, kCodeSize, PROT_READ | PROT_WRITE | PROT_EXEC, fd_, 0);
    map(kDataAddress, kWritableSize + kReadOnlySize, PROT_READ | PROT_WRITE, fd_, kCodeSize);
    for (std::size_t n = 0; n < kReadOnlySize; n++) {
        read_only()[n] = static_cast<std::uint8_t>(n * 37 + (n >> 8));
    }
    mprotect(read_only(), kReadOnlySize, PROT_READ);
}

Arena::~Arena() {
    munmap(reinterpret_cast<void *>(kCodeAddress), kCodeSize);
    munmap(data(), kWritableSize + kReadOnlySize);
    close(fd_);
}

} // namespace rhea::target::x86::diff
