// Guest memory: a tree of MemoryRegions flattened into an immutable view.
//
// A MemoryRegion is RAM, ROM, an I/O window (an IoHandler), an alias of a part of another region,
// or a container of sub-regions with priorities. An AddressSpace flattens one root region into a
// FlatView: sorted, non-overlapping ranges. Readers (vCPU threads, DMA) use the current view
// without a lock; a change of the tree, made under the machine lock, publishes a new view and
// retires the old one, which is freed once no reader can hold it (ViewGuard).
//
// RAM bytes are reached through host pointers. Every store to RAM that does not come from
// translated code must go through AddressSpace (or call RamBlock::notify_write) so that translated
// code made from those bytes is dropped and dirty tracking stays true.
#pragma once
#include "rhea/core/types.h"

#include <atomic>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rhea::core {

class MemoryRegion;
class AddressSpace;
class RamBlock;

/// What an I/O region calls. Offsets are relative to the region; `size` is 1, 2, 4 or 8 and the
/// access lies wholly inside the region. Called under the machine lock unless the region says
/// that its handler locks for itself.
class IoHandler {
public:
    virtual ~IoHandler() = default;
    virtual std::uint64_t io_read(hwaddr offset, unsigned size) = 0;
    virtual void io_write(hwaddr offset, std::uint64_t value, unsigned size) = 0;
};

/// Sizes a handler implements; wider accesses are split, narrower ones are widened
/// (a narrow write to a handler with a larger minimum is a read-modify-write of nothing: the
/// value is shifted into place and the other lanes are zero).
struct AccessSizes {
    std::uint8_t min = 1;
    std::uint8_t max = 4;
    bool unaligned = true; ///< may an access be handed over that is not a multiple of its size
};

/// Told of stores to frames that hold translated code (implemented by the translator).
class CodeWatcher {
public:
    virtual ~CodeWatcher() = default;
    /// Bytes [offset, offset+length) of `block` were changed by something that is not a vCPU's
    /// translated store (DMA, a loader, a debugger).
    virtual void code_written(RamBlock &block, ram_addr_t offset, std::size_t length) = 0;
};

/// The host has no room for guest memory of the size that the user asked for; what() is a sentence.
class OutOfHostMemory : public std::bad_alloc {
public:
    explicit OutOfHostMemory(std::string sentence) : sentence_(std::move(sentence)) {}
    const char *what() const noexcept override { return sentence_.c_str(); }

private:
    std::string sentence_;
};

/// A contiguous piece of host memory that is guest RAM or ROM: private anonymous memory, zeroed
/// lazily by the host.
class RamBlock {
public:
    /// `ram_base` is this block's first ram_addr_t; `size` is rounded up to the page size.
    /// Throws OutOfHostMemory when the host refuses the address space.
    RamBlock(std::string name, ram_addr_t ram_base, std::uint64_t size);
    ~RamBlock();
    RamBlock(const RamBlock &) = delete;
    RamBlock &operator=(const RamBlock &) = delete;

    const std::string &name() const { return name_; }
    std::uint8_t *host() const { return host_; }
    std::uint64_t size() const { return size_; }
    ram_addr_t ram_base() const { return ram_base_; }

    /// Per-page flags, one byte a page; kPageHasCode is set by the translator before it publishes
    /// a block made from that page and makes stores take the slow path.
    static constexpr std::uint8_t kPageHasCode = 1;
    /// Set by the translator when a TLB entry that lets generated code store to the page is made.
    static constexpr std::uint8_t kPageMaybeWritable = 2;
    std::atomic<std::uint8_t> &page_flags(ram_addr_t offset) { return page_flags_[offset >> kPageBits]; }

    void set_code_watcher(CodeWatcher *watcher) { watcher_.store(watcher, std::memory_order_release); }
    /// To be called after host code stored to [offset, offset+length) by pointer.
    void notify_write(ram_addr_t offset, std::size_t length);

private:
    std::string name_;
    ram_addr_t ram_base_;
    std::uint64_t size_;
    std::uint8_t *host_ = nullptr;
    std::atomic<std::uint8_t> *page_flags_ = nullptr; ///< a mapping of its own, one byte a page
    std::atomic<CodeWatcher *> watcher_{nullptr};
};

/// A node of the memory tree. Owned by the device or machine that made it; it must outlive its
/// place in any container. All changes are made under the machine lock.
class MemoryRegion {
public:
    enum class Kind : std::uint8_t { kContainer, kRam, kRom, kIo, kAlias };

    /// A container of size 0 spans all 2^64 addresses.
    static std::unique_ptr<MemoryRegion> container(std::string name, std::uint64_t size);
    static std::unique_ptr<MemoryRegion> ram(std::string name, RamBlock &block);
    /// Readable memory; writes go to `on_write` when given, else they are lost.
    static std::unique_ptr<MemoryRegion> rom(std::string name, RamBlock &block, IoHandler *on_write = nullptr);
    static std::unique_ptr<MemoryRegion> io(std::string name, std::uint64_t size, IoHandler &handler,
                                            AccessSizes sizes = {}, bool handler_locks = false);
    static std::unique_ptr<MemoryRegion> alias(std::string name, MemoryRegion &target, hwaddr target_offset,
                                               std::uint64_t size);
    ~MemoryRegion();
    MemoryRegion(const MemoryRegion &) = delete;
    MemoryRegion &operator=(const MemoryRegion &) = delete;

    /// Places `child` at `offset`; where children overlap the higher priority is seen, between
    /// equals the later added.
    void add(hwaddr offset, MemoryRegion &child, int priority = 0);
    void remove(MemoryRegion &child);
    /// Moves, shows, hides or resizes a region where it is placed; no-ops when nothing changes.
    /// A hidden region is hidden in its aliases too. RAM does not grow beyond its block.
    void set_offset(hwaddr offset);
    void set_enabled(bool enabled);
    void set_size(std::uint64_t size);
    void set_alias_offset(hwaddr target_offset);
    /// RAM becomes ROM for the time being (PAM/shadow RAM); only for RAM and for aliases.
    void set_readonly(bool readonly);

    const std::string &name() const { return name_; }
    std::uint64_t size() const { return size_; }
    Kind kind() const { return kind_; }
    bool enabled() const { return enabled_; }
    bool readonly() const { return readonly_; }
    hwaddr offset() const { return offset_; }
    int priority() const { return priority_; }
    RamBlock *ram_block() const { return block_; }
    IoHandler *handler() const { return handler_; }
    const AccessSizes &access_sizes() const { return sizes_; }
    bool handler_locks() const { return handler_locks_; }
    MemoryRegion *alias_target() const { return alias_target_; }
    hwaddr alias_offset() const { return alias_offset_; }
    MemoryRegion *parent() const { return parent_; }
    std::span<MemoryRegion *const> children() const { return children_; } ///< highest priority first

private:
    MemoryRegion(Kind kind, std::string name, std::uint64_t size);
    void changed();
    void mark_spaces();
    friend class AddressSpace;

    Kind kind_;
    bool enabled_ = true;
    bool readonly_ = false;
    bool handler_locks_ = false;
    bool marking_ = false; ///< inside mark_spaces(): an alias may show one of its own ancestors
    int priority_ = 0;
    std::string name_;
    std::uint64_t size_;
    hwaddr offset_ = 0;
    RamBlock *block_ = nullptr;
    IoHandler *handler_ = nullptr;
    AccessSizes sizes_;
    MemoryRegion *alias_target_ = nullptr;
    hwaddr alias_offset_ = 0;
    MemoryRegion *parent_ = nullptr;
    std::vector<MemoryRegion *> children_;
    std::vector<AddressSpace *> spaces_;        ///< address spaces rooted here
    std::vector<MemoryRegion *> aliases_of_me_; ///< aliases that show parts of this region
};

/// One range of a flattened view.
struct FlatRange {
    hwaddr start = 0;
    std::uint64_t size = 0;
    MemoryRegion *region = nullptr; ///< RAM, ROM or I/O
    hwaddr region_offset = 0;       ///< offset in `region` of `start`
    std::uint8_t *host = nullptr;   ///< RAM/ROM: pointer to the byte at `start`
    bool readonly = false;          ///< RAM/ROM: stores do not reach the memory
    hwaddr end() const { return start + size; } ///< exclusive; 0 means 2^64
    bool operator==(const FlatRange &) const = default;
};

/// A binding that turns writes of one (offset, size, value) into an eventfd signal: KVM ioeventfd.
struct IoEventFd {
    hwaddr addr = 0;
    unsigned size = 0; ///< 0: any size
    bool match_value = false;
    std::uint64_t value = 0;
    int fd = -1;
    bool operator==(const IoEventFd &) const = default;
};

/// The flattened, immutable view.
struct FlatView {
    std::vector<FlatRange> ranges;     ///< sorted by start
    std::vector<IoEventFd> ioeventfds; ///< sorted by addr
    /// The range that holds `addr`, or null.
    const FlatRange *find(hwaddr addr) const;
};

/// Told when a view changes (KVM memory slots, the translator's TLBs). Called under the machine
/// lock, after the new view is published.
class MemoryListener {
public:
    virtual ~MemoryListener() = default;
    virtual void view_changed(const FlatView &old_view, const FlatView &new_view) = 0;
    virtual void ioeventfd_added(const IoEventFd &) {}
    virtual void ioeventfd_removed(const IoEventFd &) {}
};

/// A root region and its current flat view: guest physical memory, or the 64 KiB of port I/O.
class AddressSpace {
public:
    AddressSpace(std::string name, MemoryRegion &root);
    ~AddressSpace();
    AddressSpace(const AddressSpace &) = delete;
    AddressSpace &operator=(const AddressSpace &) = delete;

    const std::string &name() const { return name_; }
    MemoryRegion &root() const { return root_; }

    /// The current view; valid until the calling thread leaves its ViewGuard.
    const FlatView &view() const { return *view_.load(std::memory_order_acquire); }

    /// Any length, any alignment; crosses regions. Unassigned reads give all ones. Takes the machine
    /// lock for I/O regions that need it (a thread that holds it already keeps it).
    MemTxResult read(hwaddr addr, void *to, std::size_t length);
    MemTxResult write(hwaddr addr, const void *from, std::size_t length);
    /// Like write(), but also into ROM (firmware and kernel loaders, debuggers).
    MemTxResult write_rom(hwaddr addr, const void *from, std::size_t length);
    /// Single accesses of 1, 2, 4 or 8 bytes, little endian.
    std::uint64_t load(hwaddr addr, unsigned size, MemTxResult *result = nullptr);
    void store(hwaddr addr, std::uint64_t value, unsigned size, MemTxResult *result = nullptr);
    /// `count` such loads from the same address one after the other, into `to` (a FIFO's data port): one look at the map and one time
    /// of the machine lock where it is one register of a device.
    void load_repeatedly(hwaddr addr, unsigned size, std::uint8_t *to, std::size_t count);

    /// Also reports the present view. A listener that outlives the address space need not (and
    /// must not) take itself off.
    void add_listener(MemoryListener &listener);
    void remove_listener(MemoryListener &listener);
    void add_ioeventfd(const IoEventFd &binding);
    void remove_ioeventfd(const IoEventFd &binding);

    /// Between begin and commit tree changes are collected and published once.
    /// They nest, and hold the machine lock in between.
    static void begin_transaction();
    static void commit_transaction();

    /// The tree as `info mtree` shows it; flat: the flattened view (`info mtree -f`).
    std::string describe(bool flat) const;

private:
    friend class MemoryRegion;
    void rebuild();
    void publish(std::vector<FlatRange> ranges, std::vector<IoEventFd> ioeventfds, bool tell_listeners);
    MemTxResult write_bytes(hwaddr addr, const void *from, std::size_t length, bool into_rom);
    std::string name_;
    MemoryRegion &root_;
    std::atomic<const FlatView *> view_{nullptr};
    std::vector<MemoryListener *> listeners_;
};

/// Marks the calling thread as a reader of flat views while it lives; cheap and nestable. A vCPU
/// thread holds one while it runs and renews it (quiescent()) at its safe points; other threads
/// that do not hold the machine lock must hold one while they use a view.
class ViewGuard {
public:
    ViewGuard();
    ~ViewGuard();
    ViewGuard(const ViewGuard &) = delete;
    /// This thread holds no pointers into old views at this moment.
    static void quiescent();
};

} // namespace rhea::core
