// The metadata of one open qcow2 image: header, L1 table, caches of L2 tables and refcounts, and the commit that brings
// changes to the file in a safe order. The data path (node.h) stands on it.
//
// Changes are made in memory, in the caches. commit() writes them so that SIGKILL or power loss at any moment leaves at
// most leaked clusters; docs/qcow2.md has the argument. In short:
//
//   refcount increments, new tables and all data written so far  |flush|  L2 and L1 entries that name them  |flush|
//   and only then are clusters freed that the old entries named.
//
// Runs in the thread of the node's context; see need.h for what is atomic.
#pragma once
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "block/crypto/crypt_node.h"
#include "block/crypto/luks.h"
#include "block/qcow2/gate.h"
#include "block/qcow2/header.h"
#include "block/qcow2/l2_entry.h"
#include "block/qcow2/refcounts.h"

namespace rhea::block::qcow2 {

enum class FreeReason : std::uint8_t { kRequest, kSnapshot, kOther };

struct FreedRun {
    std::uint64_t first = 0, count = 0; ///< clusters
    FreeReason reason = FreeReason::kOther;
    bool table = false;                 ///< held an L2 table
};

/// Options of opening.
struct OpenOptions {
    std::uint64_t l2_cache_bytes = 0, refcount_cache_bytes = 0;
    unsigned l2_slice_bits = 0; ///< 0: as usual
    unsigned overlap = overlap::kCached;
    bool lazy_refcounts = false;
    std::string key_secret; ///< of an encrypted image: the secret that has its passphrase; empty: nobody reads or writes data
    bool pass_discard_request = true, pass_discard_snapshot = true, pass_discard_other = false;
};

struct SnapshotEntry {
    std::uint64_t l1_offset = 0;
    std::uint32_t l1_size = 0;
    std::string id, name;
    std::uint32_t date_sec = 0, date_nsec = 0;
    std::uint64_t vm_clock_nsec = 0, vm_state_size = 0, disk_size = 0, icount = ~0ull;
    std::vector<std::uint8_t> unknown_extra; ///< behind the 24 known bytes
};

struct RecordingBitmap;

class Image {
public:
    Image(HostFile file, Header header, const OpenOptions &options);
    ~Image();

    HostFile file;
    std::shared_ptr<BlockNode> data; ///< the external data file; null: clusters lie in `file`
    /// Of an encrypted image: its LUKS header, and the clusters in the clear.
    std::optional<crypto::LuksHeader> luks;
    std::unique_ptr<crypto::CryptNode> crypt;
    Header header;
    Geometry geometry;
    OpenOptions options;
    bool writable = false;
    MetadataMap map;
    Refcounts refcounts;
    SliceCache l2;
    std::vector<std::uint64_t> l1;   ///< entries, in host order
    std::vector<SnapshotEntry> snapshots;
    std::uint64_t snapshot_table_size = 0;
    /// Bitmaps that record the writes of this session (bitmaps.h).
    std::vector<RecordingBitmap> recording;
    void record(std::uint64_t offset, std::uint64_t length);
    Gate gate;
    Grace<FreedRun> grace;

    /// Where the guest's clusters lie, as it sees them.
    BlockNode &data_node() const {
        if (crypt)
            return *crypt;
        return data ? *data : file.node();
    }
    const std::string &filename() const { return file.filename(); }

    // ---- reading tables ------------------------------------------------------------------------------------------
    Task<Result<void>> load_l1();
    /// The slice that has `guest`'s L2 entry, and the index there; null: no L2 table, nothing is allocated.
    Result<Need> find_l2(std::uint64_t guest, Slice *&slice, std::uint64_t &index);
    /// Can L2 entries of `guest` be changed in place? When not: make_l2_writable().
    bool l2_writable(std::uint64_t guest) const {
        const std::uint64_t i = geometry.l1_index(guest);
        return i < l1.size() && (l1[i] & kCopied) != 0;
    }
    /// Makes a table, or copies a shared one. When `guest` lies beyond the L1 table, that grows first.
    Task<Result<void>> make_l2_writable(std::uint64_t guest);
    /// The entry as it may be believed, or the sentence why not (code EUCLEAN).
    Result<void> check_entry(const L2Entry &entry, std::uint64_t guest) const;

    // ---- changing them -------------------------------------------------------------------------------------------
    void set_l1(std::uint64_t index, std::uint64_t entry);
    void set_l2(Slice &slice, std::uint64_t index, const L2Entry &entry) {
        store_l2(slice.data, geometry, index, entry);
        l2.mark_dirty(slice);
    }
    /// New clusters are named by what was just changed: their data must be stored before it.
    void publish() { barrier_ = true; }
    /// The clusters lose a reference once a commit has made durable what was just changed.
    void free_later(FreedRun run);
    /// The cluster(s) of an L2 entry that is being replaced.
    void free_entry_later(const L2Entry &entry, FreeReason reason);
    /// Takes back clusters that nothing ever named.
    Task<Result<void>> free_unused(std::uint64_t first, std::uint64_t count);
    /// Where the next compressed cluster goes; 0: to a new cluster.
    std::uint64_t compressed_tail = 0;
    /// Writing may begin: dirty bit for lazy refcounts, unknown autoclear bits cleared, map of metadata built, bitmaps recording.
    Task<Result<void>> prepare_write();
    /// The same for changes that the guest does not see.
    Task<Result<void>> prepare_tables();
    /// Bitmaps were changed, or stored: the next write starts recording anew.
    void recording_ended() { recording_started_ = false; }
    bool write_prepared() const { return write_prepared_; }
    bool wants_commit() const { return l2.wants_commit() || refcounts.cache().wants_commit() || freed_.size() > 65536; }
    /// The L1 table moves to a longer place with the next commit.
    Task<Result<void>> grow_l1(std::uint64_t entries, bool exact = false);
    /// Gives back the end of the file behind the last cluster in use.
    Task<Result<void>> cut_file();
    /// Is the range of the image file behind everything that was ever written there? Then it reads as zeroes.
    bool never_written(std::uint64_t offset) const { return offset >= written_end_; }
    void note_written(std::uint64_t end) { written_end_ = std::max(written_end_, end); }
    /// Fails (EUCLEAN) when data would be written over metadata.
    Result<void> check_no_overlap(std::uint64_t offset, std::uint64_t length) const;

    // ---- bringing changes to the file ----------------------------------------------------------------------------
    /// Everything changed and written before is on stable storage afterwards. Calls that meet share one commit.
    Task<Result<void>> commit();
    Task<Result<void>> write_header();
    /// Sets or clears header bits, durably.
    Task<Result<void>> set_incompatible(std::uint64_t bit, bool on);
    /// Commits until nothing is left to write or to free.
    Task<Result<void>> settle();
    /// Around operations on whole tables, with the gate closed: all changes are in the file and nothing waits to be freed;
    /// in between the image carries the dirty bit (version 3).
    Task<Result<void>> begin_surgery();
    Task<Result<void>> end_surgery();
    /// Last commit: frees what waits, clears the dirty bit.
    Task<Result<void>> finish();
    /// An EUCLEAN error marks the image corrupt (when it can be written) and becomes EIO.
    Task<util::Error> note_error(const util::Error &error);
    bool damaged() const { return damaged_; }

    Task<Result<void>> build_map();
    /// Takes one reference from clusters now; only for what is durably unreferenced.
    Task<Result<void>> free_now(std::vector<FreedRun> runs);

private:
    struct Pending {
        bool done = false;
        Result<void> result;
    };
    struct CommitSet;
    Task<Result<void>> commit_once();
    CommitSet take_changes(bool with_refcounts);
    void put_back(CommitSet &set);
    Task<Result<void>> write_changes(CommitSet &set);
    Task<Result<void>> write_refcount_table(CommitSet &set);
    Task<Result<void>> write_l1(CommitSet &set);
    Task<Result<void>> flush_files();
    Task<Result<void>> copy_l2_table(std::uint64_t index);

    struct L1Move {
        std::uint64_t offset = 0; ///< 0: it stays where it is
        std::uint64_t clusters = 0;
    };
    std::set<std::uint64_t> l1_dirty_; ///< 512-byte sectors of the table
    L1Move l1_move_;                   ///< with the next commit
    std::vector<FreedRun> freed_;
    bool barrier_ = false, write_prepared_ = false, recording_started_ = false, damaged_ = false;
    bool committing_ = false, lazy_open_ = false, closing_ = false;
    std::shared_ptr<Pending> next_commit_ = std::make_shared<Pending>();
    CoQueue commit_done_;
    CoMutex table_mutex_, prepare_mutex_, header_mutex_;
    std::uint64_t written_end_ = 0;
};

} // namespace rhea::block::qcow2
