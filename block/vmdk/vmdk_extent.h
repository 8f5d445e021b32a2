// A sparse extent of a VMware disk image, as a node of its own.
//
// New grains go to the end of the file: contents first, then the entry in the redundant grain table, then that in the
// one that is read. In compressed extents a grain is written once.
#pragma once
#include "block/format/cluster_node.h"
#include "block/format/table_cache.h"
#include "block/vmdk/vmdk_header.h"

namespace rhea::block {

class VmdkSparseExtent final : public ClusterNode {
public:
    VmdkSparseExtent(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename);
    Task<Result<void>> load();

    /// Unallocated ranges read from `backing`, this extent beginning at `start` there.
    void set_backing_at(std::shared_ptr<BlockNode> backing, std::uint64_t start);
    Task<Result<CheckResult>> check(CheckFix fix) override;
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags) override;
    const VmdkHeader &header() const { return header_; }
    FileAccess &access() { return file_; }

protected:
    Task<Result<ClusterPlace>> place(std::uint64_t index) override;
    bool place_now(std::uint64_t index, ClusterPlace &place) override;
    Task<Result<void>> allocate(std::uint64_t first, std::uint64_t count, std::uint64_t skip,
                                const IoVector &contents) override;
    Task<Result<bool>> make_zero(std::uint64_t first, std::uint64_t count, unsigned flags) override;
    bool stores_compressed() const override { return header_.compressed(); }
    Task<Result<void>> read_compressed(std::uint64_t index, std::uint64_t offset, std::uint64_t in,
                                       const IoVector &to) override;
    Task<Result<void>> read_backing(std::uint64_t offset, const IoVector &to) override;

private:
    using Grain = std::shared_ptr<std::vector<std::uint8_t>>;
    /// One of the two directories.
    struct Directory {
        Table table;
        std::uint64_t entry(std::uint64_t index) const { return index * 4; }
    };
    Table gt(std::uint64_t sector) const;
    bool valid_gt(std::uint64_t sector) const;
    bool decode(std::uint32_t entry, ClusterPlace &place) const;
    Task<Result<void>> store_compressed(std::uint64_t first, std::uint64_t count, std::uint64_t skip, const IoVector &contents);
    /// A marker and the compressed grain, in whole sectors; compresses in the pool of threads.
    Task<Result<std::vector<std::uint8_t>>> compress_grain(std::uint64_t index, std::uint64_t in, const IoVector &contents);
    Task<Result<void>> write_grain(std::uint64_t index, const IoVector &contents);
    /// Appends it. Under the lock.
    Task<Result<void>> append_grain(std::uint64_t index, const std::vector<std::uint8_t> &stored);
    Task<Result<Grain>> load_grain(std::uint64_t index, std::uint64_t offset);
    /// Sets the entries of `count` grains in both tables: `value`, and `step` more for each that follows.
    Task<Result<void>> set_entries(std::uint64_t first, std::uint64_t count, std::uint32_t value, std::uint32_t step);
    Task<Result<void>> set_gt_entries(Table directory, std::uint64_t gd_index, std::uint64_t gt_index,
                                      const std::vector<std::uint8_t> &entries);

    VmdkHeader header_;
    Table gd_, rgd_; ///< rgd_ without bytes: there is none
    TableCache directories_, tables_;
    std::uint64_t end_ = 0; ///< where the next grain goes
    std::uint64_t backing_start_ = 0;
    Grain last_grain_; ///< the decompressed grain that was read last
    std::uint64_t last_index_ = 0;
};

} // namespace rhea::block
