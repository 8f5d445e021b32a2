#include "rhea/tcg/window_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace rhea::tcg {

namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;

/// `size` bytes of zero memory, aligned to a window; null when there are none.
std::uint8_t* map_aligned(std::size_t size) {
    const std::size_t reserved = size + kWindowSize;
    void* p =
        ::mmap(nullptr, reserved, kReadWrite, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        return nullptr;
    }
    auto* start = static_cast<std::uint8_t*>(p);
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(start) & (kWindowSize - 1);
    if (before != 0) {
        ::munmap(start, before);
    }
    const std::size_t after = reserved - before - size;
    if (after != 0) {
        ::munmap(start + before + size, after);
    }
    return start + before;
}

/// Puts the same pages at the start of every window. False: not possible here.
bool alias_state_pages(std::uint8_t* base, unsigned windows) {
    const int fd = ::memfd_create("rhea-state", MFD_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    bool ok = ::ftruncate(fd, kStatePagesSize) == 0;
    for (unsigned i = 0; ok && i < windows; ++i) {
        ok = ::mmap(base + std::size_t{i} * kWindowSize, kStatePagesSize, kReadWrite,
                    MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED;
    }
    ::close(fd);
    return ok;
}

}  // namespace

util::Result<std::unique_ptr<WindowMemory>> WindowMemory::create(unsigned windows) {
    assert(windows == kWindows || windows == 1);
    std::uint8_t* base = map_aligned(std::size_t{windows} * kWindowSize);
    if (base != nullptr && windows > 1 && !alias_state_pages(base, windows)) {
        ::munmap(base, std::size_t{windows} * kWindowSize);
        windows = 1;
        base = map_aligned(kWindowSize);
    }
    if (base == nullptr) {
        return util::fail("no memory for a virtual CPU's state: {}", std::strerror(errno));
    }
    return std::unique_ptr<WindowMemory>(new WindowMemory(base, windows));
}

WindowMemory::~WindowMemory() {
    ::munmap(base_, std::size_t{windows_} * kWindowSize);
}

void init_tables(std::uint64_t window) {
    const auto word = [window](std::uint32_t offset) {
        return reinterpret_cast<std::uint64_t*>(window + offset);
    };
    for (std::uint32_t offset : {kReadTagOffset, kWriteTagOffset, kExecTagOffset}) {
        word(offset)[0] = invalid_tag(0);
    }
    *reinterpret_cast<VictimEntry*>(word(kVictimOffset)) = {invalid_victim_tag(0),
                                                            invalid_victim_tag(0), 0, 0};
    reinterpret_cast<CodePageLine*>(word(kCodePageOffset))->tag = invalid_victim_tag(0);
    for (unsigned i = 0; i < kJumpWays; ++i) {
        reinterpret_cast<JumpEntry*>(word(kJumpOffset))[i].pc = invalid_pc(i);
    }
}

void clear_tables(std::uint64_t window) {
    ::madvise(reinterpret_cast<void*>(window + kStatePagesSize), kWindowSize - kStatePagesSize,
              MADV_DONTNEED);
    init_tables(window);
}

}  // namespace rhea::tcg
