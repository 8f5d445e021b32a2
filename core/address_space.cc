#include "rhea/core/memory.h"

#include "core/flat_view.h"
#include "rhea/core/machine_lock.h"
#include "rhea/util/log.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fmt/format.h>
#include <unistd.h>

namespace rhea::core {
namespace {

/// Transactions nest; the spaces to rebuild at the end. Under the machine lock (or before threads exist).
unsigned g_transaction_depth = 0;
std::vector<AddressSpace *> g_dirty_spaces;

std::uint64_t ones(unsigned size) { return size >= 8 ? ~0ull : (1ull << (size * 8)) - 1; }

/// Largest piece of an I/O access at this address that the handler takes: a power of two, at most `wanted`.
unsigned piece_size(const AccessSizes &sizes, hwaddr offset, std::uint64_t wanted) {
    unsigned size = static_cast<unsigned>(std::bit_floor(std::min<std::uint64_t>(wanted, sizes.max)));
    if (!sizes.unaligned) {
        while (size > 1 && (offset & (size - 1)))
            size /= 2;
    }
    return std::max(size, 1u);
}

std::uint64_t handler_read(const FlatRange &range, hwaddr offset, unsigned size) {
    const AccessSizes &sizes = range.region->access_sizes();
    if (size >= sizes.min)
        return range.region->handler()->io_read(offset, size) & ones(size);
    const hwaddr aligned = offset & ~hwaddr{sizes.min - 1u};
    return (range.region->handler()->io_read(aligned, sizes.min) >> ((offset - aligned) * 8)) & ones(size);
}

void handler_write(const FlatRange &range, hwaddr offset, std::uint64_t value, unsigned size) {
    const AccessSizes &sizes = range.region->access_sizes();
    value &= ones(size);
    if (size >= sizes.min) {
        range.region->handler()->io_write(offset, value, size);
        return;
    }
    const hwaddr aligned = offset & ~hwaddr{sizes.min - 1u};
    range.region->handler()->io_write(aligned, value << ((offset - aligned) * 8), sizes.min);
}

/// Takes the machine lock unless the region's handler locks for itself.
class IoScope {
public:
    explicit IoScope(const MemoryRegion &region) : locked_(!region.handler_locks()) {
        if (locked_)
            MachineLock::acquire();
    }
    ~IoScope() {
        if (locked_)
            MachineLock::release();
    }
    IoScope(const IoScope &) = delete;

private:
    bool locked_;
};

RamBlock *block_of(const FlatRange &range) { return range.region->ram_block(); }

} // namespace

AddressSpace::AddressSpace(std::string name, MemoryRegion &root) : name_(std::move(name)), root_(root) {
    root_.spaces_.push_back(this);
    view_.store(flatten(root_).release(), std::memory_order_release);
}

AddressSpace::~AddressSpace() {
    std::erase(root_.spaces_, this);
    std::erase(g_dirty_spaces, this);
    retire_view(view_.load());
}

void MemoryRegion::changed() {
    for (AddressSpace *space : spaces_) {
        if (g_transaction_depth == 0)
            space->rebuild();
        else if (std::find(g_dirty_spaces.begin(), g_dirty_spaces.end(), space) == g_dirty_spaces.end())
            g_dirty_spaces.push_back(space);
    }
    if (parent_)
        parent_->changed();
    for (MemoryRegion *alias : aliases_of_me_)
        alias->changed();
}

void AddressSpace::begin_transaction() { ++g_transaction_depth; }

void AddressSpace::commit_transaction() {
    if (--g_transaction_depth != 0)
        return;
    std::vector<AddressSpace *> dirty;
    dirty.swap(g_dirty_spaces);
    for (AddressSpace *space : dirty)
        space->rebuild();
}

void AddressSpace::rebuild() {
    const FlatView *fresh = flatten(root_).release();
    const FlatView *old = view_.exchange(fresh, std::memory_order_acq_rel);
    for (MemoryListener *listener : listeners_)
        listener->view_changed(*old, *fresh);
    retire_view(old);
}

void AddressSpace::add_listener(MemoryListener &listener) {
    listeners_.push_back(&listener);
    static const FlatView kEmpty;
    listener.view_changed(kEmpty, view());
    for (const IoEventFd &binding : ioeventfds_)
        listener.ioeventfd_added(binding);
}

void AddressSpace::remove_listener(MemoryListener &listener) { std::erase(listeners_, &listener); }

void AddressSpace::add_ioeventfd(const IoEventFd &binding) {
    ioeventfds_.push_back(binding);
    for (MemoryListener *listener : listeners_)
        listener->ioeventfd_added(binding);
}

void AddressSpace::remove_ioeventfd(const IoEventFd &binding) {
    std::erase_if(ioeventfds_, [&](const IoEventFd &other) {
        return other.addr == binding.addr && other.fd == binding.fd && other.size == binding.size &&
               other.match_value == binding.match_value && other.value == binding.value;
    });
    for (MemoryListener *listener : listeners_)
        listener->ioeventfd_removed(binding);
}

MemTxResult AddressSpace::read(hwaddr addr, void *to, std::size_t length) {
    ViewGuard guard;
    auto *bytes = static_cast<std::uint8_t *>(to);
    MemTxResult result = MemTxResult::kOk;
    while (length) {
        const FlatRange *range = view().find(addr);
        if (!range) {
            *bytes++ = 0xff;
            ++addr;
            --length;
            result = MemTxResult::kDecodeError;
            continue;
        }
        const std::uint64_t left = std::min<std::uint64_t>(length, range->size ? range->end() - addr : length);
        const hwaddr offset = range->region_offset + (addr - range->start);
        std::uint64_t done;
        if (range->host) {
            std::memcpy(bytes, range->host + (addr - range->start), left);
            done = left;
        } else {
            IoScope scope(*range->region);
            const unsigned size = piece_size(range->region->access_sizes(), offset, left);
            const std::uint64_t value = handler_read(*range, offset, size);
            std::memcpy(bytes, &value, size);
            done = size;
        }
        bytes += done;
        addr += done;
        length -= done;
    }
    return result;
}

MemTxResult AddressSpace::write(hwaddr addr, const void *from, std::size_t length) {
    ViewGuard guard;
    const auto *bytes = static_cast<const std::uint8_t *>(from);
    MemTxResult result = MemTxResult::kOk;
    while (length) {
        const FlatRange *range = view().find(addr);
        if (!range) {
            ++bytes;
            ++addr;
            --length;
            result = MemTxResult::kDecodeError;
            continue;
        }
        const std::uint64_t left = std::min<std::uint64_t>(length, range->size ? range->end() - addr : length);
        const hwaddr offset = range->region_offset + (addr - range->start);
        std::uint64_t done;
        if (range->host && !range->readonly) {
            std::memcpy(range->host + (addr - range->start), bytes, left);
            block_of(*range)->notify_write(offset, left);
            done = left;
        } else if (!range->region->handler()) {
            util::log_write(util::kLogGuestErrors, "{}: write of {} bytes to read-only memory '{}' at {:#x}\n", name_, left,
                            range->region->name(), addr);
            result = MemTxResult::kAccessError;
            done = left;
        } else {
            IoScope scope(*range->region);
            const unsigned size = piece_size(range->region->access_sizes(), offset, left);
            std::uint64_t value = 0;
            std::memcpy(&value, bytes, size);
            handler_write(*range, offset, value, size);
            done = size;
        }
        bytes += done;
        addr += done;
        length -= done;
    }
    return result;
}

MemTxResult AddressSpace::write_rom(hwaddr addr, const void *from, std::size_t length) {
    ViewGuard guard;
    const auto *bytes = static_cast<const std::uint8_t *>(from);
    while (length) {
        const FlatRange *range = view().find(addr);
        if (!range || !range->host)
            return MemTxResult::kDecodeError;
        const std::uint64_t left = std::min<std::uint64_t>(length, range->end() - addr);
        std::memcpy(range->host + (addr - range->start), bytes, left);
        block_of(*range)->notify_write(range->region_offset + (addr - range->start), left);
        bytes += left;
        addr += left;
        length -= left;
    }
    return MemTxResult::kOk;
}

std::uint64_t AddressSpace::load(hwaddr addr, unsigned size, MemTxResult *result) {
    ViewGuard guard;
    const FlatRange *range = view().find(addr);
    if (result)
        *result = MemTxResult::kOk;
    if (range && !range->host && addr - range->start + size <= range->size && size >= range->region->access_sizes().min &&
        size <= range->region->access_sizes().max && (range->region->access_sizes().unaligned || !(addr & (size - 1)))) {
        IoScope scope(*range->region);
        return range->region->handler()->io_read(range->region_offset + (addr - range->start), size) & ones(size);
    }
    if (!range)
        util::log_write(util::kLogUnimp, "{}: read of {} bytes at {:#x}, where nothing is\n", name_, size, addr);
    std::uint64_t value = 0;
    const MemTxResult outcome = read(addr, &value, size);
    if (result)
        *result = outcome;
    return value;
}

void AddressSpace::store(hwaddr addr, std::uint64_t value, unsigned size, MemTxResult *result) {
    for (const IoEventFd &binding : ioeventfds_) {
        if (binding.addr == addr && (binding.size == 0 || binding.size == size) &&
            (!binding.match_value || binding.value == (value & ones(size)))) {
            const std::uint64_t one = 1;
            [[maybe_unused]] const ssize_t written = ::write(binding.fd, &one, sizeof one);
            if (result)
                *result = MemTxResult::kOk;
            return;
        }
    }
    ViewGuard guard;
    const FlatRange *range = view().find(addr);
    if (!range)
        util::log_write(util::kLogUnimp, "{}: write of {:#x} ({} bytes) at {:#x}, where nothing is\n", name_, value & ones(size), size, addr);
    if (range && !range->host && addr - range->start + size <= range->size && size >= range->region->access_sizes().min &&
        size <= range->region->access_sizes().max && (range->region->access_sizes().unaligned || !(addr & (size - 1)))) {
        IoScope scope(*range->region);
        range->region->handler()->io_write(range->region_offset + (addr - range->start), value & ones(size), size);
        if (result)
            *result = MemTxResult::kOk;
        return;
    }
    const MemTxResult outcome = write(addr, &value, size);
    if (result)
        *result = outcome;
}

namespace {

const char *kind_name(const MemoryRegion &region, bool readonly) {
    switch (region.kind()) {
    case MemoryRegion::Kind::kRam:
        return readonly ? "rom" : "ram";
    case MemoryRegion::Kind::kRom:
        return "rom";
    case MemoryRegion::Kind::kIo:
    case MemoryRegion::Kind::kContainer:
        return "i/o";
    case MemoryRegion::Kind::kAlias:
        return "alias";
    }
    return "";
}

void describe_region(std::string &text, const MemoryRegion &region, hwaddr base, unsigned depth) {
    const std::uint64_t last = base + (region.size() - 1);
    text += fmt::format("{:{}}{:016x}-{:016x} (prio {}, {}): {}", "", depth * 2, base, last, region.priority(),
                        kind_name(region, region.readonly()), region.name());
    if (region.kind() == MemoryRegion::Kind::kAlias && region.alias_target())
        text += fmt::format(" @{} {:016x}-{:016x}", region.alias_target()->name(), region.alias_offset(),
                            region.alias_offset() + (region.size() - 1));
    text += region.enabled() ? "\n" : " [disabled]\n";
    for (const MemoryRegion *child : region.children())
        describe_region(text, *child, base + child->offset(), depth + 1);
}

} // namespace

std::string AddressSpace::describe(bool flat) const {
    std::string text = fmt::format("address-space: {}\n", name_);
    if (!flat) {
        describe_region(text, root_, 0, 1);
        return text;
    }
    ViewGuard guard;
    for (const FlatRange &range : view().ranges)
        text += fmt::format("  {:016x}-{:016x} (prio {}, {}): {} @{:016x}\n", range.start, range.start + (range.size - 1),
                            range.region->priority(), kind_name(*range.region, range.readonly), range.region->name(), range.region_offset);
    return text;
}

} // namespace rhea::core
