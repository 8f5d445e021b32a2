// block::BlockNode: one node of the block graph: a protocol (file, nbd), a format (qcow2), or a filter (throttle).
//
// Offsets and lengths are bytes. Requests of a guest lie inside length() (BlockBackend sees to it) and may begin and end at
// any byte; writes to a read-only node fail with EPERM. Below a format, a `file` node grows when it is written behind its
// end and reads as zeroes there. All methods run in the thread of the node's IoContext. A request's error carries the errno
// that a guest or a tool shall see (util::Error::code(); io_error() makes one).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rhea/block/io_context.h"
#include "rhea/block/io_vector.h"
#include "rhea/block/task.h"
#include "rhea/util/result.h"

namespace rhea::block {

using util::Result;

/// "<what>: <the host's sentence about `code`>", with the code; `code` may be -errno.
[[nodiscard]] util::Failure io_error(int code, std::string_view what);

/// Whether blocks of zeroes that a guest writes are stored as such: detect-zeroes=.
enum class DetectZeroes : std::uint8_t { kOff, kOn, kUnmap };

/// What every node may be told at open; children inherit all but detect_zeroes.
struct NodeSettings {
    bool direct = false;        ///< cache.direct: past the host's page cache
    bool no_flush = false;      ///< cache.no-flush: flushes do nothing
    bool unmap = false;         ///< discard=unmap: discards reach the host
    DetectZeroes detect_zeroes = DetectZeroes::kOff;
};

/// Of writes.
enum WriteFlags : unsigned {
    kNoFlags = 0,
    kFua = 1,         ///< on stable storage before the write completes
    kMayUnmap = 2,    ///< write_zeroes: may give space back
    kNoFallback = 4,  ///< write_zeroes: fail with ENOTSUP rather than write zeroes out
    kCompressed = 8,  ///< whole clusters, stored compressed (formats that can)
};

/// What holds a range of a node: see BlockNode::block_status().
struct Extent {
    std::uint64_t length = 0;   ///< from the offset asked for, all of one kind; > 0
    bool data = false;          ///< reading gives stored bytes (or must be assumed to)
    bool zero = false;          ///< reads as zeroes
    bool allocated = false;     ///< this node decides the contents; else the backing node does
    bool compressed = false;
    std::optional<std::uint64_t> host_offset; ///< where the bytes lie, uncompressed, in `file`
    class BlockNode *file = nullptr;
};

/// How truncate() and create prepare new space.
enum class Preallocation : std::uint8_t { kOff, kMetadata, kFalloc, kFull };

/// What `rhea-img info` and query-block tell of a node.
struct NodeInfo {
    std::string format;                 ///< driver name
    std::string filename;
    std::uint64_t virtual_size = 0;     ///< bytes
    std::optional<std::uint64_t> actual_size; ///< bytes that it takes on the host
    std::optional<std::uint64_t> cluster_size;
    bool dirty = false, encrypted = false, compressed = false;
    bool takes_only_compressed = false; ///< whole clusters written with kCompressed, each once (streamOptimized VMDK)
    std::string backing_filename, full_backing_filename, backing_format;
    struct Snapshot {
        std::string id, name;
        std::uint64_t vm_state_size = 0;
        std::uint32_t date_sec = 0, date_nsec = 0;
        std::uint64_t vm_clock_nsec = 0;
        std::optional<std::uint64_t> icount;
        std::uint64_t disk_size = 0;
    };
    std::vector<Snapshot> snapshots;
    /// Format specific, in the order in which they are shown: the key as people read it ("lazy refcounts"; in JSON blanks
    /// become hyphens) and the value as JSON text ("\"1.1\"", "false", nested arrays and objects).
    struct Detail {
        std::string key, json;
    };
    std::vector<Detail> details;
};

/// What a check found (rhea-img check).
struct CheckResult {
    std::uint64_t corruptions = 0, leaks = 0, check_errors = 0;
    std::uint64_t corruptions_fixed = 0, leaks_fixed = 0;
    std::uint64_t total_clusters = 0, allocated_clusters = 0, fragmented_clusters = 0, compressed_clusters = 0;
    std::uint64_t image_end_offset = 0;
    std::vector<std::string> messages; ///< one line a finding
};
enum class CheckFix : std::uint8_t { kNone, kLeaks, kAll };

class BlockNode : public std::enable_shared_from_this<BlockNode> {
public:
    BlockNode(IoContext &context, std::string driver) : context_(&context), driver_(std::move(driver)) {}
    virtual ~BlockNode() = default;
    BlockNode(const BlockNode &) = delete;
    BlockNode &operator=(const BlockNode &) = delete;

    IoContext &context() const { return *context_; }
    const std::string &driver() const { return driver_; }
    const std::string &node_name() const { return node_name_; }
    void set_node_name(std::string name) { node_name_ = std::move(name); }
    bool read_only() const { return read_only_; }
    void set_read_only(bool read_only) { read_only_ = read_only; }
    const NodeSettings &settings() const { return settings_; }
    void set_settings(const NodeSettings &settings) { settings_ = settings; }
    /// It was made by itself (-blockdev) and lives on when the node above it is closed: see close_below().
    bool stands_alone() const { return stands_alone_; }
    void set_stands_alone() { stands_alone_ = true; }

    virtual std::uint64_t length() const = 0;
    /// Power of two: requests that are multiples of it are served without reading or copying more than asked for. Others
    /// work, too: the node sees to it (O_DIRECT: through a bounce buffer).
    virtual std::uint32_t request_alignment() const { return 1; }
    /// Does write() honour kFua? Others get a flush() behind the write (BlockBackend does that; formats do it for `file`).
    virtual bool has_fua() const { return false; }
    /// What block_status() and copies work well in multiples of; 0: none.
    virtual std::uint32_t cluster_size() const { return 0; }

    virtual Task<Result<void>> read(std::uint64_t offset, const IoVector &to) = 0;
    virtual Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags = kNoFlags) = 0;
    /// Default: writes zeroes out, unless kNoFallback.
    virtual Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags = kNoFlags);
    /// A hint; contents are then undefined (as each format's users expect: zeroes where that is promised). Default: nothing.
    virtual Task<Result<void>> discard(std::uint64_t offset, std::uint64_t length);
    /// The host copies bytes of `from`, a protocol's node, without this process seeing them. False: it cannot, and who asked
    /// reads and writes all of them. Default: false.
    virtual Task<bool> copy_from(std::uint64_t offset, std::uint64_t length, BlockNode &from, std::uint64_t from_offset);
    /// Everything written before is on stable storage after it.
    virtual Task<Result<void>> flush() = 0;
    /// Default: data, allocated, `length` bytes.
    virtual Task<Result<Extent>> block_status(std::uint64_t offset, std::uint64_t length);
    /// Grows (new bytes are zero) or shrinks. Default: ENOTSUP.
    virtual Task<Result<void>> truncate(std::uint64_t length, Preallocation preallocation = Preallocation::kOff);
    /// Default: ENOTSUP ("this format has no check").
    virtual Task<Result<CheckResult>> check(CheckFix fix);
    virtual Task<Result<NodeInfo>> info();
    /// From read-only to writable or back, with the file below. No request is in flight. Default: as `file` says.
    virtual Task<Result<void>> reopen(bool read_only);
    /// Writes metadata back and marks the image clean; the node takes no requests afterwards, but another close() does
    /// no harm. Destroying an unclosed node loses nothing that was flushed.
    virtual Task<Result<void>> close() { co_return Result<void>{}; }

    /// The node below that stores this one's bytes, and the one that unallocated ranges come from; null: none.
    virtual BlockNode *file() const { return nullptr; }
    virtual BlockNode *backing() const { return nullptr; }
    /// All nodes right below. A node with others than file() and backing() overrides it.
    virtual std::vector<BlockNode *> children() const;
    /// Shows what file() holds, unchanged.
    virtual bool is_filter() const { return false; }
    /// Replaces the backing node (rebase, commit, external snapshots); the image's header is not changed.
    virtual Result<void> set_backing(std::shared_ptr<BlockNode>) { return util::fail("this format has no backing files"); }
    /// Forgets all contents, so that every range comes from the backing node (after a commit).
    virtual Task<Result<void>> make_empty();
    /// Changes the backing file that the image's header names; empty: none.
    virtual Task<Result<void>> change_backing_file(std::string filename, std::string format);

    // ---- internal snapshots (formats that have them; default: ENOTSUP) -------------------------------------------
    virtual Task<Result<void>> snapshot_create(NodeInfo::Snapshot snapshot);
    virtual Task<Result<void>> snapshot_apply(std::string id_or_name);
    virtual Task<Result<void>> snapshot_delete(std::string id_or_name);
    /// From now on the node shows that snapshot's disk, read-only; nothing is written (convert -l, dd of a snapshot).
    virtual Task<Result<void>> snapshot_show(std::string id_or_name);
    /// The VM state area behind the guest's disk: what savevm stores.
    virtual Task<Result<void>> vmstate_write(std::uint64_t offset, const IoVector &from);
    virtual Task<Result<void>> vmstate_read(std::uint64_t offset, const IoVector &to);

    // ---- moving to another context (BlockBackend::set_context(): no request is in flight) --------------------------
    /// In the old context's thread: stops what waits there. Fails when the node cannot move. Default: nothing to do.
    virtual Result<void> leave_context() { return {}; }
    /// In the new context's thread, context() being that one.
    virtual void enter_context() {}
    void move_to_context(IoContext &context) { context_ = &context; }

private:
    IoContext *context_;
    std::string driver_, node_name_;
    bool read_only_ = false, stands_alone_ = false;
    NodeSettings settings_;
};

/// What a node's close() does with one below it: closes it, or flushes what stands alone.
Task<Result<void>> close_below(BlockNode &child);

/// The node itself, or the first below that is no filter.
BlockNode &below_filters(BlockNode &node);

} // namespace rhea::block
