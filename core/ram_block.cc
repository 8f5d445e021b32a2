#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "rhea/core/memory.h"

namespace rhea::core {
namespace {

constexpr std::uint64_t kHugePageSize = 2ull << 20;
/// Blocks from this size on are aligned to and asked to use huge pages.
constexpr std::uint64_t kLargeBlock = 16ull << 20;

void* map_anonymous(std::uint64_t size) {
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? nullptr : at;
}

/// Maps `size` bytes so that a huge page of the guest can be a huge page of the host.
std::uint8_t* map_aligned(std::uint64_t size) {
    if (size + kHugePageSize < size) {
        return nullptr;
    }
    auto* whole = static_cast<std::uint8_t*>(map_anonymous(size + kHugePageSize));
    if (whole == nullptr) {
        return nullptr;
    }
    const auto address = reinterpret_cast<std::uintptr_t>(whole);
    const std::uint64_t head = (kHugePageSize - address % kHugePageSize) % kHugePageSize;
    if (head != 0) {
        munmap(whole, head);
    }
    munmap(whole + head + size, kHugePageSize - head);
    return whole + head;
}

/// Firmware touches scattered pages at both ends of RAM before anything else runs; with huge
/// pages each would cost 2 MiB of resident memory at start. What lies between is touched by
/// operating systems, which gain from huge pages.
void advise_huge_pages(std::uint8_t* host, std::uint64_t size) {
    madvise(host, kHugePageSize, MADV_NOHUGEPAGE);
    const std::uint64_t end = size / kHugePageSize * kHugePageSize - kHugePageSize;
    madvise(host + kHugePageSize, end - kHugePageSize, MADV_HUGEPAGE);
    madvise(host + end, size - end, MADV_NOHUGEPAGE);
}

}  // namespace

RamBlock::RamBlock(std::string name, ram_addr_t ram_base, std::uint64_t size)
    : name_(std::move(name)), ram_base_(ram_base), size_((size + kPageSize - 1) & kPageMask) {
    static_assert(sizeof(std::atomic<std::uint8_t>) == 1);
    size = size_;
    const bool large = size >= kLargeBlock;
    host_ = large ? map_aligned(size) : static_cast<std::uint8_t*>(map_anonymous(size));
    void* flags = host_ == nullptr ? nullptr : map_anonymous(size >> kPageBits);
    if (flags == nullptr) {
        const int error = errno;
        if (host_ != nullptr) {
            munmap(host_, size_);
        }
        throw OutOfHostMemory(
            fmt::format("cannot reserve {} MiB of host memory for '{}': {}; give the guest less "
                        "memory (-m)",
                        size >> 20, name_, std::strerror(error)));
    }
    // Zeroed bytes are objects of an atomic byte type in every way that matters here.
    page_flags_ = static_cast<std::atomic<std::uint8_t>*>(flags);
    if (large) {
        advise_huge_pages(host_, size_);
    }
}

RamBlock::~RamBlock() {
    munmap(page_flags_, size_ >> kPageBits);
    munmap(host_, size_);
}

void RamBlock::notify_write(ram_addr_t offset, std::size_t length) {
    if (length == 0 || offset >= size_)
        return;
    // Either we see the mark here, or whoever marks the page reads the new bytes.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const ram_addr_t last = std::min<ram_addr_t>(offset + length, size_) - 1;
    for (ram_addr_t page = offset & kPageMask; page <= last; page += kPageSize) {
        if (!(page_flags(page).load(std::memory_order_acquire) & kPageHasCode))
            continue;
        CodeWatcher* watcher = watcher_.load(std::memory_order_acquire);
        if (!watcher)
            continue;
        const ram_addr_t from = std::max(offset, page);
        watcher->code_written(*this, from, std::min(last + 1, page + kPageSize) - from);
    }
}

}  // namespace rhea::core
