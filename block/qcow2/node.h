// The block node of a qcow2 image: requests of the guest, on the metadata in Image.
//
// Requests to distinct clusters run beside each other. One that gives clusters a new place (an allocating write, a
// zeroing one) registers them in in_flight_ until its L2 entries are set; others for these clusters wait for it.
// Operations on the whole image (snapshots, resizing, checking) close the gate first.
#pragma once
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "block/qcow2/image.h"
#include "block/qcow2/mapping.h"
#include "block/qcow2/task_group.h"
#include "rhea/block/driver.h"
#include "rhea/block/bitmap.h"
#include "rhea/block/node.h"
#include "rhea/block/options.h"

namespace rhea::block::qcow2 {

class Qcow2Node final : public BlockNode {
public:
    Qcow2Node(IoContext &context, std::unique_ptr<Image> image, std::shared_ptr<BlockNode> backing);
    ~Qcow2Node() override;

    std::uint64_t length() const override { return image_->header.size; }
    std::uint32_t request_alignment() const override { return alignment_; }
    std::uint32_t cluster_size() const override { return static_cast<std::uint32_t>(image_->geometry.cluster_size()); }

    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override;
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags = kNoFlags) override;
    Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags = kNoFlags) override;
    Task<Result<void>> discard(std::uint64_t offset, std::uint64_t length) override;
    Task<Result<void>> flush() override;
    Task<Result<Extent>> block_status(std::uint64_t offset, std::uint64_t length) override;
    Task<Result<void>> truncate(std::uint64_t length, Preallocation preallocation = Preallocation::kOff) override;
    Task<Result<CheckResult>> check(CheckFix fix) override;
    Task<Result<NodeInfo>> info() override;
    Task<Result<void>> reopen(bool read_only) override;
    Task<Result<void>> close() override;
    Task<Result<void>> make_empty() override;
    std::vector<BlockNode *> children() const override;

    BlockNode *file() const override { return &image_->file.node(); }
    BlockNode *backing() const override { return backing_.get(); }
    Result<void> set_backing(std::shared_ptr<BlockNode> backing) override;
    Task<Result<void>> change_backing_file(std::string filename, std::string format) override;

    Task<Result<void>> snapshot_create(NodeInfo::Snapshot snapshot) override;
    Task<Result<void>> snapshot_apply(std::string id_or_name) override;
    Task<Result<void>> snapshot_delete(std::string id_or_name) override;
    Task<Result<void>> snapshot_show(std::string id_or_name) override;
    Task<Result<void>> vmstate_write(std::uint64_t offset, const IoVector &from) override;
    Task<Result<void>> vmstate_read(std::uint64_t offset, const IoVector &to) override;

    Image &image() { return *image_; }
    /// Changes options of the image (amend).
    /// bitmap_change.cc
    Task<Result<void>> change_bitmap(const BitmapChange &change);
    Task<Result<void>> amend(AmendRequest request);

private:
    friend class RequestScope;
    struct InFlight {
        std::uint64_t first = 0, last = 0; ///< guest clusters, both included
        CoQueue waiters;
    };
    struct WritePlan;

    // read.cc
    Task<Result<void>> read_inside(std::uint64_t offset, IoVector to);
    Task<Result<void>> read_mapped(Mapping mapping, std::uint64_t offset, IoVector to);
    Task<Result<void>> read_backing(std::uint64_t offset, IoVector to);
    Task<Result<void>> read_compressed(L2Entry entry, std::uint64_t in_cluster, IoVector to);
    /// Do unallocated clusters there read as zeroes without asking a backing file?
    bool no_backing_at(std::uint64_t offset) const { return backing_ == nullptr || offset >= backing_->length(); }

    // write.cc
    Task<Result<void>> write_inside(std::uint64_t offset, IoVector from);
    Result<Need> plan_write(std::uint64_t guest, std::uint64_t length, WritePlan &plan);
    Result<Need> plan_clusters(std::uint64_t guest, std::uint64_t length, Slice &slice, std::uint64_t index, WritePlan &plan);
    Task<Result<void>> allocate_plan(WritePlan &plan, InFlight &flight);
    Task<Result<void>> write_planned(WritePlan plan, std::unique_ptr<InFlight> flight, IoVector from);
    Task<Result<void>> write_in_place(std::uint64_t host, IoVector from);
    Task<Result<void>> write_with_cow(const WritePlan &plan, const IoVector &from);
    Task<Result<void>> link(const WritePlan &plan);
    InFlight *busy(std::uint64_t first, std::uint64_t last) const;
    void begin(InFlight &flight) { in_flight_.push_back(&flight); }
    void end(InFlight &flight);
    /// Until no request is giving one of the clusters a new place.
    Task<void> wait_not_busy(std::uint64_t first, std::uint64_t last);

    // compressed.cc
    Task<Result<void>> write_compressed(std::uint64_t offset, IoVector from);
    Task<Result<void>> write_compressed_cluster(std::uint64_t offset, IoVector from);
    Task<Result<std::uint64_t>> allocate_bytes(std::uint64_t bytes);
    Task<Result<void>> write_unaligned(std::uint64_t offset, std::span<const std::uint8_t> bytes);

    /// The L2 entry of a guest cluster; null: there is no L2 table.
    struct Place {
        Slice *slice = nullptr;
        std::uint64_t index = 0;
    };
    /// Where the entries of `guest` and what follows can be changed now (until the next suspension): no request is giving a
    /// cluster of [guest, end) another place, the caches have room, and the table is ours. With `only_existing` no table is made.
    Task<Result<Place>> find_place(std::uint64_t guest, std::uint64_t end, bool only_existing);

    // zero.cc
    Task<Result<void>> write_zeroes_inside(std::uint64_t offset, std::uint64_t length, unsigned flags);
    Task<Result<void>> zero_part(std::uint64_t offset, std::uint64_t length, unsigned flags);
    Task<Result<void>> zero_clusters(std::uint64_t offset, std::uint64_t length, unsigned flags);
    Task<Result<void>> write_out_zeroes(std::uint64_t offset, std::uint64_t length);
    Task<Result<void>> discard_clusters(std::uint64_t offset, std::uint64_t length, bool full);
    L2Entry zeroed(const L2Entry &old, bool unmap) const;

    // resize.cc
    Task<Result<void>> grow(std::uint64_t length, Preallocation preallocation);
    Task<Result<void>> shrink(std::uint64_t length);
    /// Gives all clusters of [from, to) a place, so that later writes change no metadata.
    Task<Result<void>> preallocate_inside(std::uint64_t from, std::uint64_t to, Preallocation mode);

    // amend.cc
    Task<Result<void>> change_version(std::uint32_t version);
    Task<Result<void>> expand_zeroes();

    // snapshots.cc
    Task<Result<void>> after_surgery(Result<void> done);
    Task<Result<void>> create_snapshot(NodeInfo::Snapshot snapshot);
    /// What apply and delete share: the checks, the closed gate, and what is before and behind `step`.
    Task<Result<void>> change_snapshot(std::string id_or_name, Task<Result<void>> (Qcow2Node::*step)(const std::string &));
    Task<Result<void>> apply_snapshot(const std::string &id_or_name);
    Task<Result<void>> delete_snapshot(const std::string &id_or_name);

    Task<bool> has_preallocated_holes(); ///< status.cc
    Task<Result<void>> failed(const util::Error &error);

    std::unique_ptr<Image> image_;
    std::shared_ptr<BlockNode> backing_;
    std::uint32_t alignment_ = 1;
    std::vector<InFlight *> in_flight_;
    CoMutex compressed_mutex_;
    /// The clusters that were decompressed last, for guests that read them piece by piece; by L2 entry. Emptied
    /// whenever a compressed cluster is written, since entries may then mean something else.
    struct Decompressed {
        std::uint64_t word = 0;
        std::shared_ptr<std::uint8_t[]> bytes;
    };
    std::array<Decompressed, 4> decompressed_;
    unsigned next_decompressed_ = 0;
    std::uint64_t compressed_writes_ = 0;
    bool closed_ = false, holes_known_ = false, has_holes_ = false;
};

/// What each request holds while it runs: the gate, and the clusters that it may be using.
class RequestScope {
public:
    /// Behind `co_await node.gate.enter()` or a try_enter() that said yes.
    explicit RequestScope(Image &image) : image_(image), epoch_(image.grace.enter()) {}
    RequestScope(const RequestScope &) = delete;
    RequestScope &operator=(const RequestScope &) = delete;
    ~RequestScope() {
        image_.grace.leave(epoch_);
        image_.gate.leave();
    }

private:
    Image &image_;
    unsigned epoch_;
};

} // namespace rhea::block::qcow2
