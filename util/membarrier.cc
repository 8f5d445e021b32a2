#include "rhea/util/membarrier.h"

#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace rhea::util {

namespace {

bool membarrier(int command) {
    return ::syscall(SYS_membarrier, command, 0, 0) == 0;
}

/// Taking rights away from a page that has been touched makes the kernel interrupt every core that
/// may cache its translation, and return from an interrupt serialises.
void shoot_down() {
    constexpr std::size_t kSize = 4096;
    void* page = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return;
    }
    *static_cast<volatile char*>(page) = 1;
    ::mprotect(page, kSize, PROT_READ);
    ::munmap(page, kSize);
}

}  // namespace

bool register_core_sync() {
    static const bool registered = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE);
    return registered;
}

void sync_cores() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!register_core_sync() || !membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE)) {
        shoot_down();
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

}  // namespace rhea::util
