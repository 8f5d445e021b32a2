#include "rhea/tcg/window_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
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

void WindowMemory::init_window(unsigned window) {
    for (std::uint32_t offset : {kReadTagOffset, kWriteTagOffset, kExecTagOffset}) {
        std::uint64_t* tags = array(window, offset);
        for (unsigned i = 0; i < kTlbEntries; ++i) {
            tags[i] = invalid_tag(i);
        }
    }
    auto* victims = reinterpret_cast<VictimEntry*>(array(window, kVictimOffset));
    for (unsigned i = 0; i < kVictims; ++i) {
        victims[i].read_tag = victims[i].write_tag = invalid_victim_tag(i);
    }
    std::fill_n(reinterpret_cast<JumpEntry*>(array(window, kJumpOffset)), kJumpCacheEntries, JumpEntry{});
}

void WindowMemory::discard(unsigned window) {
    ::madvise(array(window, kStatePagesSize), kWindowSize - kStatePagesSize, MADV_DONTNEED);
}

}  // namespace rhea::tcg
