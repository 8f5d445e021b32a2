// VirtualBox disk images: a map of 1 MiB blocks, each stored anywhere behind the map, in the order of first writing.
//
// Order of writes that give a block storage: its contents, the header's count of blocks, the map. What is killed in
// between leaves a block that nothing refers to, never one that two refer to.
#pragma once
#include "block/format/cluster_node.h"
#include "block/format/table_cache.h"
#include "block/vdi/vdi_header.h"

namespace rhea::block {

class VdiNode final : public ClusterNode {
public:
    VdiNode(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename);
    Task<Result<void>> load();

    Task<Result<CheckResult>> check(CheckFix fix) override;

protected:
    Task<Result<ClusterPlace>> place(std::uint64_t index) override;
    bool place_now(std::uint64_t index, ClusterPlace &place) override;
    Task<Result<void>> allocate(std::uint64_t first, std::uint64_t count, std::uint64_t skip,
                                const IoVector &contents) override;

private:
    bool decode(std::uint32_t entry, ClusterPlace &place) const;

    VdiHeader header_;
    Table map_;
    TableCache cache_;
};

} // namespace rhea::block
