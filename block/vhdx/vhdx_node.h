// Hyper-V disk images: blocks of 1 to 256 MiB, each anywhere in the file in steps of 1 MiB; the table of blocks changes
// through the log.
//
// The first write of a session gives the headers new GUIDs, that of the log among them; close() takes the log's away. An image
// that was not closed is replayed when it is opened for writing, and refused read-only while its log has entries.
#pragma once
#include "block/format/cluster_node.h"
#include "block/format/table_cache.h"
#include "block/vhdx/vhdx_layout.h"
#include "block/vhdx/vhdx_log.h"

namespace rhea::block {

class VhdxNode final : public ClusterNode {
public:
    VhdxNode(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename);
    Task<Result<void>> load();

    Task<Result<void>> close() override;
    Task<Result<CheckResult>> check(CheckFix fix) override;
    Task<Result<NodeInfo>> info() override;

protected:
    Task<Result<ClusterPlace>> place(std::uint64_t index) override;
    bool place_now(std::uint64_t index, ClusterPlace &place) override;
    Task<Result<void>> allocate(std::uint64_t first, std::uint64_t count, std::uint64_t skip,
                                const IoVector &contents) override;
    Task<Result<void>> before_write() override;

private:
    Task<Result<void>> replay_log();
    Task<Result<void>> write_headers();
    bool decode(std::uint64_t index, std::uint64_t entry, ClusterPlace &place) const;
    /// The sectors of the BAT in which `count` blocks from `first` on lie at `start` and behind.
    Task<Result<std::vector<VhdxSector>>> changed_sectors(std::uint64_t first, std::uint64_t count, std::uint64_t start);

    VhdxHeader header_;
    unsigned current_header_ = 0;
    VhdxRegions regions_;
    VhdxMetadata metadata_;
    Table bat_;
    TableCache cache_;
    VhdxLog log_;
    bool replayed_ = false;
};

} // namespace rhea::block
