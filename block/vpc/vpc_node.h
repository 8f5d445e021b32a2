// Dynamic Virtual PC disk images: blocks with a bitmap in front, each anywhere behind the table.
//
// The bitmap of a block is set as a whole when the block gets storage (unwritten sectors hold zeroes then), and is not
// looked at: without a parent image a clear bit means zeroes, which is what is stored.
#pragma once
#include "block/format/cluster_node.h"
#include "block/format/table_cache.h"
#include "block/vpc/vpc_header.h"

namespace rhea::block {

class VpcNode final : public ClusterNode {
public:
    VpcNode(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename);
    Task<Result<void>> load(VpcFooter footer, std::uint64_t sectors);

protected:
    Task<Result<ClusterPlace>> place(std::uint64_t index) override;
    bool place_now(std::uint64_t index, ClusterPlace &place) override;
    Task<Result<void>> allocate(std::uint64_t first, std::uint64_t count, std::uint64_t skip,
                                const IoVector &contents) override;

private:
    bool decode(std::uint32_t entry, ClusterPlace &place) const;
    Task<Result<void>> write_blocks(std::uint64_t start, std::uint64_t count, std::uint64_t skip,
                                    const IoVector &contents);

    VpcFooter footer_;
    VpcDynamicHeader header_;
    Table table_;
    TableCache cache_;
    std::uint64_t data_end_ = 0; ///< where the footer is, and the next block goes
};

} // namespace rhea::block
