// block::BlockBackend: a device's or a tool's view of a node: bounds, alignment, error policy, throttling, statistics.
//
// A device model has one for each drive. Requests of any offset and length (bytes) are checked against the node's
// length here, so that nodes see only valid ones. Requests run in context(), whose thread is never the main thread nor a
// vCPU's: the device posts a function there that spawns a coroutine. drain() waits until none is in flight.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "rhea/block/co_sync.h"
#include "rhea/block/node.h"
#include "rhea/block/throttle.h"

namespace rhea::block {

enum class ErrorAction : std::uint8_t { kReport, kIgnore, kStop, kEnospc };

/// query-blockstats.
struct BlockStats {
    struct Kind {
        std::uint64_t operations = 0, bytes = 0, total_time_ns = 0, merged = 0, failed = 0, invalid = 0;
    };
    Kind read, write, flush, unmap;
    std::uint64_t write_highest_offset = 0;
};

class BlockBackend {
public:
    /// `name`: the drive's id ("virtio0", "ide0-hd0", "drive0").
    BlockBackend(std::string name, IoContext &context);
    ~BlockBackend();

    const std::string &name() const { return name_; }
    IoContext &context() const { return *context_; }
    /// Moves node and requests to another context; drains first. Main thread.
    Result<void> set_context(IoContext &context);

    std::shared_ptr<BlockNode> node() const { return node_; }
    /// Inserts or (null) ejects a medium, of the same context; drains first. The old one is closed. Main thread.
    Result<void> set_node(std::shared_ptr<BlockNode> node) { return exchange_node(std::move(node), true); }
    /// The same; the old one is flushed, and closed only when told so (a named node goes on, an external snapshot stands on it).
    Result<void> exchange_node(std::shared_ptr<BlockNode> node, bool close_old);
    /// Runs `task` on the medium while no request of the device is on its way; those that come wait. Main thread.
    Result<void> run_alone(Task<Result<void>> task);
    bool has_medium() const { return node_ != nullptr; }
    bool read_only() const;
    std::uint64_t length() const { return length_.load(std::memory_order_relaxed); } ///< 0 without medium; any thread
    /// block_resize: changes the medium's length and tells the device. Main thread.
    Result<void> resize(std::uint64_t length);
    /// Does a guest see a volatile write cache? Off (cache=writethrough, directsync): each write is flushed.
    bool write_cache() const { return write_cache_; }
    void set_write_cache(bool enabled) { write_cache_ = enabled; }

    // Errors' code(): EINVAL outside the medium, ENOMEDIUM, EPERM for a read-only one, else the host's.
    Task<Result<void>> read(std::uint64_t offset, const IoVector &to);
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags = kNoFlags);
    Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags = kNoFlags);
    Task<Result<void>> discard(std::uint64_t offset, std::uint64_t length);
    Task<Result<void>> flush();

    // ---- errors: what the device does about one ------------------------------------------------------------------
    void set_error_actions(ErrorAction on_read, ErrorAction on_write);
    ErrorAction on_read_error() const { return on_read_error_; }
    ErrorAction on_write_error() const { return on_write_error_; }
    /// What to do about this error now; kStop also asks the machine to stop (on_stop), and the device keeps the request
    /// and submits it again when resumed().
    ErrorAction error_action(bool is_read, int error_code);
    /// query-block's io-status: the last error that stopped the VM, as errno; 0: none. Any thread.
    int io_status() const { return io_status_.load(std::memory_order_relaxed); }
    void reset_io_status() { io_status_.store(0, std::memory_order_relaxed); }
    std::function<void(const util::Error &)> on_stop;      ///< set by system/: stop the VM, any thread
    // Set by the device; called by the main thread under the machine lock.
    std::function<void()> on_resume;                       ///< the VM runs again, retry
    std::function<void(bool present)> on_medium_change;    ///< inserted or ejected
    std::function<void()> on_resize;
    std::function<void()> on_eject_request;                ///< `eject` of a locked medium: the guest is asked

    // ---- removable media: set by the device ------------------------------------------------------------------------
    bool removable = false;
    std::atomic<bool> tray_open{false}, tray_locked{false}; ///< by the guest's commands, in the context's thread
    std::string attached_to;                               ///< the device's path, for `info block`

    unsigned in_flight() const { return in_flight_.load(std::memory_order_relaxed); }
    /// Waits until no request is in flight. Any thread, also under the machine lock; not from a coroutine of context().
    void drain();

    /// Limits; null: none. Drains first. Main thread.
    void set_throttle_group(std::shared_ptr<ThrottleGroup> group);
    ThrottleGroup *throttle_group() const { return throttle_ ? &throttle_->group() : nullptr; }

    /// The context's thread.
    BlockStats &stats() { return stats_; }
    /// A copy. Any thread but a coroutine of context().
    BlockStats copy_stats();

    // ---- what -drive and the device's properties say about the disk; 0 or empty: the device's default ---------------
    std::string serial;
    std::uint32_t logical_block_size = 512, physical_block_size = 512;
    std::uint32_t discard_granularity = 0;
    int boot_index = -1;

private:
    class Request;
    util::Failure no_medium() const;
    Result<void> check(std::uint64_t offset, std::uint64_t length, bool is_write) const;
    Task<void> idle();
    Task<void> admitted();
    void update_length();

    std::string name_;
    IoContext *context_;
    std::shared_ptr<BlockNode> node_;
    std::atomic<std::uint64_t> length_{0};
    bool write_cache_ = true;
    ErrorAction on_read_error_ = ErrorAction::kReport, on_write_error_ = ErrorAction::kEnospc;
    std::atomic<unsigned> in_flight_{0};
    std::atomic<int> io_status_{0};
    CoQueue idle_, admission_;
    bool alone_ = false; ///< run_alone() is at work: the device's requests wait
    std::unique_ptr<Throttle> throttle_;
    BlockStats stats_;
};

} // namespace rhea::block
