// Reads and writes: RAM by pointer and without a lock, I/O through the region's handler.
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/flat_view.h"
#include "rhea/core/machine_lock.h"
#include "rhea/core/memory.h"
#include "rhea/util/log.h"

namespace rhea::core {
namespace {

static_assert(std::endian::native == std::endian::little, "guest values are little endian");

constexpr std::size_t kWidest = 8;

constexpr std::uint64_t ones(unsigned size) {
    return size >= kWidest ? ~0ull : (1ull << (size * 8)) - 1;
}

/// Aligned accesses of a register's width are single loads and stores: a guest's other CPU, or a
/// device's I/O thread, may look at the same bytes (ring indices, page tables).
void copy(void* to, const void* from, std::size_t length) {
    switch (length) {
        case 1:
            std::memcpy(to, from, 1);
            return;
        case 2:
            std::memcpy(to, from, 2);
            return;
        case 4:
            std::memcpy(to, from, 4);
            return;
        case 8:
            std::memcpy(to, from, 8);
            return;
        default:
            std::memcpy(to, from, length);
    }
}

bool is_register_width(std::uint64_t length) {
    return std::has_single_bit(length) && length <= kWidest;
}

/// How much of `length` bytes at `addr` is one access to a device: all, when that is a register's
/// width, else the next naturally aligned piece.
unsigned piece_of(hwaddr addr, std::uint64_t length) {
    if (is_register_width(length)) {
        return static_cast<unsigned>(length);
    }
    std::uint64_t size = std::min<std::uint64_t>(std::bit_floor(length), kWidest);
    while (addr % size != 0) {
        size /= 2;
    }
    return static_cast<unsigned>(size);
}

/// One call of a handler that serves a part of an access.
struct HandlerCall {
    hwaddr offset;   ///< what the handler is given
    unsigned size;   ///< likewise
    unsigned lane;   ///< first byte of the value that belongs to the access
    unsigned count;  ///< how many bytes of it do
};

/// The call for the bytes from `offset` on, `remaining` of which are wanted.
HandlerCall next_call(const AccessSizes& sizes, hwaddr offset, unsigned remaining) {
    unsigned size = std::min<unsigned>(sizes.max, std::bit_floor(remaining));
    if (!sizes.unaligned) {
        while (size > sizes.min && offset % size != 0) {
            size /= 2;
        }
    }
    size = std::max<unsigned>(size, sizes.min);
    const bool widened = remaining < size || (!sizes.unaligned && offset % size != 0);
    const hwaddr start = widened ? offset & ~hwaddr{size - 1u} : offset;
    const auto lane = static_cast<unsigned>(offset - start);
    return {start, size, lane, std::min(size - lane, remaining)};
}

std::uint64_t region_read(const MemoryRegion& region, hwaddr offset, unsigned size) {
    std::uint64_t value = 0;
    for (unsigned done = 0; done < size;) {
        const HandlerCall call = next_call(region.access_sizes(), offset + done, size - done);
        const std::uint64_t got = region.handler()->io_read(call.offset, call.size);
        value |= (got >> (call.lane * 8) & ones(call.count)) << (done * 8);
        done += call.count;
    }
    return value;
}

void region_write(const MemoryRegion& region, hwaddr offset, std::uint64_t value, unsigned size) {
    for (unsigned done = 0; done < size;) {
        const HandlerCall call = next_call(region.access_sizes(), offset + done, size - done);
        const std::uint64_t part = value >> (done * 8) & ones(call.count);
        region.handler()->io_write(call.offset, part << (call.lane * 8), call.size);
        done += call.count;
    }
}

/// Holds the machine lock for an access to a region that needs it.
class IoScope {
  public:
    explicit IoScope(const MemoryRegion& region)
        : takes_(!region.handler_locks() && !MachineLock::held_by_this_thread()) {
        if (takes_) {
            MachineLock::acquire();
        }
    }
    ~IoScope() {
        if (takes_) {
            MachineLock::release();
        }
    }
    IoScope(const IoScope&) = delete;
    IoScope& operator=(const IoScope&) = delete;

    /// Waited for the lock: the map may have changed.
    [[nodiscard]] bool takes() const { return takes_; }

  private:
    bool takes_;
};

bool signal_ioeventfd(const FlatView& view, hwaddr addr, const std::uint8_t* bytes,
                      std::uint64_t length) {
    if (view.ioeventfds.empty() || !is_register_width(length)) {
        return false;
    }
    std::uint64_t value = 0;
    copy(&value, bytes, length);
    for (auto it = std::ranges::lower_bound(view.ioeventfds, addr, {}, &IoEventFd::addr);
         it != view.ioeventfds.end() && it->addr == addr; ++it) {
        if ((it->size == 0 || it->size == length) && (!it->match_value || it->value == value)) {
            const std::uint64_t one = 1;
            // A full counter means that the reader has yet to look: nothing is lost.
            [[maybe_unused]] const ssize_t written = ::write(it->fd, &one, sizeof one);
            return true;
        }
    }
    return false;
}

void log_unassigned(const std::string& space, const char* what, hwaddr addr, std::size_t length) {
    util::log_write(util::kLogGuestErrors | util::kLogUnimp,
                    "{}: {} of {} bytes at {:#x}, where nothing is\n", space, what, length, addr);
}

std::size_t shorter(std::size_t length, std::uint64_t run) {
    return run == 0 ? length : static_cast<std::size_t>(std::min<std::uint64_t>(length, run));
}

/// The host address of `size` bytes at `addr` when they are RAM (or ROM) in one range.
std::uint8_t* ram_at(const Location& at, hwaddr addr, unsigned size) {
    const bool whole =
        at.range != nullptr && at.range->host != nullptr && (at.run == 0 || at.run >= size);
    return whole ? at.range->host + (addr - at.range->start) : nullptr;
}

}  // namespace

MemTxResult AddressSpace::read(hwaddr addr, void* to, std::size_t length) {
    ViewGuard guard;
    auto* bytes = static_cast<std::uint8_t*>(to);
    MemTxResult result = MemTxResult::kOk;
    while (length != 0) {
        const FlatView& current = view();
        const Location at = locate(current, addr);
        std::size_t done = shorter(length, at.run);
        if (at.range == nullptr) {
            log_unassigned(name_, "read", addr, done);
            std::memset(bytes, 0xff, done);
            result = MemTxResult::kDecodeError;
        } else if (at.range->host != nullptr) {
            copy(bytes, at.range->host + (addr - at.range->start), done);
        } else {
            const MemoryRegion& region = *at.range->region;
            IoScope scope(region);
            if (scope.takes() && &view() != &current) {
                continue;
            }
            const unsigned size = piece_of(addr, done);
            const hwaddr offset = at.range->region_offset + (addr - at.range->start);
            const std::uint64_t value = region_read(region, offset, size);
            copy(bytes, &value, size);
            done = size;
        }
        bytes += done;
        addr += done;
        length -= done;
    }
    return result;
}

MemTxResult AddressSpace::write(hwaddr addr, const void* from, std::size_t length) {
    return write_bytes(addr, from, length, false);
}

MemTxResult AddressSpace::write_rom(hwaddr addr, const void* from, std::size_t length) {
    return write_bytes(addr, from, length, true);
}

MemTxResult AddressSpace::write_bytes(hwaddr addr, const void* from, std::size_t length,
                                      bool into_rom) {
    ViewGuard guard;
    const auto* bytes = static_cast<const std::uint8_t*>(from);
    MemTxResult result = MemTxResult::kOk;
    while (length != 0) {
        const FlatView& current = view();
        const Location at = locate(current, addr);
        std::size_t done = shorter(length, at.run);
        const hwaddr offset = at.range ? at.range->region_offset + (addr - at.range->start) : 0;
        if (at.range != nullptr && at.range->host != nullptr && (!at.range->readonly || into_rom)) {
            copy(at.range->host + (addr - at.range->start), bytes, done);
            at.range->region->ram_block()->notify_write(offset, done);
        } else if (at.range == nullptr) {
            if (!signal_ioeventfd(current, addr, bytes, done)) {
                log_unassigned(name_, "write", addr, done);
                result = MemTxResult::kDecodeError;
            }
        } else if (at.range->region->handler() == nullptr) {
            util::log_write(util::kLogGuestErrors,
                            "{}: write of {} bytes to read-only memory '{}' at {:#x}\n", name_,
                            done, at.range->region->name(), addr);
            result = MemTxResult::kAccessError;
        } else {
            const MemoryRegion& region = *at.range->region;
            done = piece_of(addr, done);
            if (!signal_ioeventfd(current, addr, bytes, done)) {
                IoScope scope(region);
                if (scope.takes() && &view() != &current) {
                    continue;
                }
                std::uint64_t value = 0;
                copy(&value, bytes, done);
                region_write(region, offset, value, static_cast<unsigned>(done));
            }
        }
        bytes += done;
        addr += done;
        length -= done;
    }
    return result;
}

std::uint64_t AddressSpace::load(hwaddr addr, unsigned size, MemTxResult* result) {
    ViewGuard guard;
    std::uint64_t value = 0;
    MemTxResult outcome = MemTxResult::kOk;
    if (const std::uint8_t* host = ram_at(locate(view(), addr), addr, size)) {
        copy(&value, host, size);
    } else {
        outcome = read(addr, &value, size);
    }
    if (result != nullptr) {
        *result = outcome;
    }
    return value;
}

void AddressSpace::load_repeatedly(hwaddr addr, unsigned size, std::uint8_t* to,
                                   std::size_t count) {
    ViewGuard guard;
    while (count != 0) {
        const FlatView& current = view();
        const Location at = locate(current, addr);
        const bool is_register = at.range != nullptr && at.range->host == nullptr &&
                                 (at.run == 0 || at.run >= size);
        if (!is_register) {
            const std::uint64_t value = load(addr, size);
            copy(to, &value, size);
            to += size;
            --count;
            continue;
        }
        const MemoryRegion& region = *at.range->region;
        const IoScope scope(region);
        const hwaddr offset = at.range->region_offset + (addr - at.range->start);
        // A read may change the map.
        for (; count != 0 && &view() == &current; --count, to += size) {
            const std::uint64_t value = region_read(region, offset, size);
            copy(to, &value, size);
        }
    }
}

void AddressSpace::store(hwaddr addr, std::uint64_t value, unsigned size, MemTxResult* result) {
    const MemTxResult outcome = write(addr, &value, size);
    if (result != nullptr) {
        *result = outcome;
    }
}

}  // namespace rhea::core
