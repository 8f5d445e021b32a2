#include "rhea/tcg/code_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "rhea/util/membarrier.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10U  // since Linux 6.3
#endif

namespace rhea::tcg {

namespace {

struct Mappings {
    std::uint8_t* write = nullptr;
    std::uint8_t* exec = nullptr;
};

constexpr std::size_t kHugePageSize = std::size_t{2} << 20;
constexpr std::size_t kForgetEvery = std::size_t{256} << 10; ///< bytes of new code
static_assert(kHugePageSize % CodeMemory::kSlabSize == 0);

/// At an address where huge pages can be.
std::uint8_t* map(std::size_t size, int protection, int flags, int fd) {
    void* p = ::mmap(nullptr, size + kHugePageSize, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        return nullptr;
    }
    auto* const reserved = static_cast<std::uint8_t*>(p);
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(reserved) % kHugePageSize;
    std::uint8_t* const at = reserved + before;
    if (before != 0) {
        ::munmap(reserved, before);
    }
    ::munmap(at + size, kHugePageSize - before);
    if (::mmap(at, size, protection, flags | MAP_NORESERVE | MAP_FIXED, fd, 0) == MAP_FAILED) {
        const int error = errno;
        ::munmap(at, size);
        errno = error;
        return nullptr;
    }
    // Code is many times what the guest's is, and jumps about: with small pages the host's CPU keeps looking for them. The first
    // ones stay small, for guests that need no more. Where the host has none for this, nothing happens.
    if (size > kHugePageSize) {
        ::madvise(at + kHugePageSize, size - kHugePageSize, MADV_HUGEPAGE);
    }
    return at;
}

/// An executable memfd; kernels before 6.3 do not know the flag and need none.
int open_memory_file() {
    const int fd = ::memfd_create("rhea-code", MFD_CLOEXEC | MFD_EXEC);
    return fd >= 0 || errno != EINVAL ? fd : ::memfd_create("rhea-code", MFD_CLOEXEC);
}

/// Whether the host permits it (noexec policies, SELinux, seccomp) is found out by trying.
Mappings map_twice(std::size_t size) {
    const int fd = open_memory_file();
    if (fd < 0) {
        return {};
    }
    Mappings m;
    if (::ftruncate(fd, static_cast<off_t>(size)) == 0) {
        m.write = map(size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
        m.exec = m.write != nullptr ? map(size, PROT_READ | PROT_EXEC, MAP_SHARED, fd) : nullptr;
    }
    ::close(fd);
    if (m.exec == nullptr) {
        if (m.write != nullptr) {
            ::munmap(m.write, size);
        }
        return {};
    }
    return m;
}

Mappings map_once(std::size_t size) {
    std::uint8_t* p =
        map(size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    return {p, p};
}

constexpr std::size_t round_up(std::size_t value, std::size_t to) {
    return (value + to - 1) / to * to;
}

}  // namespace

util::Result<std::unique_ptr<CodeMemory>> CodeMemory::create(std::size_t size, Mode mode) {
    size = std::clamp(size, 2 * kSlabSize, kMaxSize);
    size = round_up(size, kSlabSize);
    Mappings m = mode == Mode::kOneMapping ? Mappings{} : map_twice(size);
    if (m.exec == nullptr) {
        m = map_once(size);
    }
    if (m.exec == nullptr) {
        return util::fail(
            "the host gives no executable memory for generated code ({} MiB asked for): {}; allow "
            "it, or use the interpreter or another accelerator",
            size >> 20, std::strerror(errno));
    }
    return std::unique_ptr<CodeMemory>(new CodeMemory(m.write, m.exec, size));
}

CodeMemory::CodeMemory(std::uint8_t* write, std::uint8_t* exec, std::size_t size)
    : write_(write), exec_(exec), size_(size), slabs_(size / kSlabSize) {
    free_slabs_ = slab_count();
    util::register_core_sync();
}

CodeMemory::~CodeMemory() {
    if (two_mappings()) {
        ::munmap(write_, size_);
    }
    ::munmap(exec_, size_);
}

CodeBuffer CodeMemory::allocate(std::size_t max_bytes) {
    if (max_bytes == 0 || max_bytes > kSlabSize) {
        return {};
    }
    if (current_ == kNoSlab || kSlabSize - slabs_[current_].used < max_bytes) {
        if (!open_slab()) {
            return {};
        }
    }
    const std::size_t used = slabs_[current_].used;
    const std::size_t offset = current_ * kSlabSize + used;
    return {write_ + offset, exec_ + offset, kSlabSize - used};
}

void CodeMemory::commit(const CodeBuffer& buffer, std::size_t used) {
    assert(current_ != kNoSlab);
    Slab& slab = slabs_[current_];
    assert(buffer.exec == slab_exec(current_) + slab.used && used <= kSlabSize - slab.used);
    (void)buffer;
    const std::size_t taken = round_up(used, kAlignment);
    if (slab.used / kForgetEvery != (slab.used + taken) / kForgetEvery) {
        forget_writable(current_);
    }
    slab.used += taken;
    slab.live += taken;
}

/// Pages of the writable mapping that are not about to be written: they stay in the file and in the executable mapping, and a later
/// patch faults one in. So what is resident is counted once.
void CodeMemory::forget_writable(unsigned but) {
    if (!two_mappings()) {
        return;
    }
    const std::size_t begin = but * kSlabSize / kHugePageSize * kHugePageSize;
    const std::size_t end = std::min(begin + kHugePageSize, size_);
    ::madvise(write_, begin, MADV_DONTNEED);
    ::madvise(write_ + end, size_ - end, MADV_DONTNEED);
}

void CodeMemory::free(const std::uint8_t* exec, std::size_t size) {
    assert(contains(exec));
    const auto index = static_cast<unsigned>(static_cast<std::size_t>(exec - exec_) / kSlabSize);
    Slab& slab = slabs_[index];
    const std::size_t taken = round_up(size, kAlignment);
    assert(slab.live >= taken);
    slab.live -= std::min(slab.live, taken);
    if (slab.live == 0 && index != current_ && slab.sequence != 0) {
        release_slab(index);
    }
}

void CodeMemory::reset() {
    current_ = pinned_ = kNoSlab;
    next_search_ = 0;
    for (unsigned i = 0; i < slab_count(); ++i) {
        if (slabs_[i].sequence != 0) {
            release_slab(i);
        }
    }
}

int CodeMemory::oldest_slab() const {
    int oldest = -1;
    for (unsigned i = 0; i < slab_count(); ++i) {
        if (i == current_ || i == pinned_ || slabs_[i].sequence == 0) {
            continue;
        }
        if (oldest < 0 || slabs_[i].sequence < slabs_[static_cast<unsigned>(oldest)].sequence) {
            oldest = static_cast<int>(i);
        }
    }
    return oldest;
}

void CodeMemory::release_slab(unsigned index) {
    Slab& slab = slabs_[index];
    assert(slab.sequence != 0);
    if (index == current_) {
        current_ = kNoSlab;
    }
    give_back(index);
    slab = {.sequence = 0, .used = 0, .live = 0, .used_before = true};
    ++free_slabs_;
    needs_sync_ = true;
}

/// Both mappings lose their pages, so that freed code is not resident.
void CodeMemory::give_back(unsigned index) {
    std::uint8_t* start = write_ + index * kSlabSize;
    // The pages of a shared file go away by punching a hole; private ones by being dropped.
    ::madvise(start, kSlabSize, two_mappings() ? MADV_REMOVE : MADV_DONTNEED);
}

bool CodeMemory::open_slab() {
    if (current_ != kNoSlab && slabs_[current_].live == 0) {
        release_slab(current_);  // its last block died while it was current
    }
    if (free_slabs_ == 0) {
        return false;
    }
    if (current_ != kNoSlab && two_mappings()) {
        // Patches want single pages of it from now on.
        const std::size_t end = (current_ + 1) * kSlabSize;
        if (end % kHugePageSize == 0) {
            ::madvise(write_ + end - kHugePageSize, kHugePageSize, MADV_NOHUGEPAGE);
        }
        ::madvise(write_ + current_ * kSlabSize, kSlabSize, MADV_DONTNEED);
    }
    while (slabs_[next_search_].sequence != 0) {
        next_search_ = (next_search_ + 1) % slab_count();
    }
    Slab& slab = slabs_[next_search_];
    if (slab.used_before && needs_sync_) {
        util::sync_cores();
        needs_sync_ = false;
    }
    current_ = next_search_;
    slab.sequence = ++sequence_;
    --free_slabs_;
    return true;
}

std::size_t CodeMemory::live_bytes() const {
    std::size_t sum = 0;
    for (const Slab& slab : slabs_) {
        sum += slab.live;
    }
    return sum;
}

}  // namespace rhea::tcg
