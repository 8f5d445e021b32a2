#include "rhea/core/memory.h"

#include <algorithm>
#include <new>
#include <sys/mman.h>

namespace rhea::core {

RamBlock::RamBlock(std::string name, ram_addr_t ram_base, std::uint64_t size)
    : name_(std::move(name)), ram_base_(ram_base), size_((size + kPageSize - 1) & kPageMask) {
    // Large blocks are aligned to 2 MiB so that the host may back them with huge pages. One guard page either side of nothing:
    // every access is bounds-checked before it is made.
    constexpr std::uint64_t kHuge = 2u << 20;
    const std::uint64_t slack = size_ >= kHuge ? kHuge : 0;
    void *raw = ::mmap(nullptr, size_ + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED)
        throw std::bad_alloc();
    auto address = reinterpret_cast<std::uint64_t>(raw);
    if (slack) {
        const std::uint64_t aligned = (address + kHuge - 1) & ~(kHuge - 1);
        if (aligned > address)
            ::munmap(raw, aligned - address);
        const std::uint64_t tail = address + slack - aligned;
        if (tail)
            ::munmap(reinterpret_cast<void *>(aligned + size_), tail);
        address = aligned;
    }
    host_ = reinterpret_cast<std::uint8_t *>(address);
    const std::size_t pages = size_ >> kPageBits;
    // Lazily zero as well: 1 byte a page would be 1 MiB of touched memory for 4 GiB of RAM.
    void *flags = ::mmap(nullptr, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (flags == MAP_FAILED) {
        ::munmap(host_, size_);
        throw std::bad_alloc();
    }
    static_assert(sizeof(std::atomic<std::uint8_t>) == 1);
    page_flags_ = static_cast<std::atomic<std::uint8_t> *>(flags);
}

RamBlock::~RamBlock() {
    ::munmap(host_, size_);
    ::munmap(static_cast<void *>(page_flags_), size_ >> kPageBits);
}

void RamBlock::notify_write(ram_addr_t offset, std::size_t length) {
    if (length == 0 || offset >= size_)
        return;
    const ram_addr_t last = std::min<ram_addr_t>(offset + length, size_) - 1;
    for (ram_addr_t page = offset & kPageMask; page <= last; page += kPageSize) {
        if (!(page_flags(page).load(std::memory_order_acquire) & kPageHasCode))
            continue;
        CodeWatcher *watcher = watcher_.load(std::memory_order_acquire);
        if (!watcher)
            continue;
        const ram_addr_t from = std::max(offset, page);
        watcher->code_written(*this, from, std::min(last + 1, page + kPageSize) - from);
    }
}

} // namespace rhea::core
