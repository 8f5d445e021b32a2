// QED images: two levels of tables of 64-bit offsets; clusters and tables are appended to the file.
//
// The header's need-check bit is set, on stable storage, before the first cluster is given out, and cleared by close().
// An image that has it is checked and repaired before it is opened for writing. Within a session, contents are written
// before the table entry that refers to them.
#pragma once
#include "block/format/cluster_node.h"
#include "block/format/table_cache.h"
#include "block/qed/qed_header.h"

namespace rhea::block {

class QedNode final : public ClusterNode {
public:
    QedNode(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename);
    Task<Result<void>> load();
    /// Before the image is written in this session (not for check): repairs what the last writer left.
    Task<Result<void>> prepare_for_writing();

    Task<Result<void>> close() override;
    Task<Result<CheckResult>> check(CheckFix fix) override;
    Task<Result<void>> truncate(std::uint64_t length, Preallocation preallocation) override;
    Task<Result<NodeInfo>> info() override;
    Result<void> set_backing(std::shared_ptr<BlockNode> backing) override;
    Task<Result<void>> change_backing_file(std::string filename, std::string format) override;

    const QedHeader &header() const { return header_; }

protected:
    Task<Result<ClusterPlace>> place(std::uint64_t index) override;
    bool place_now(std::uint64_t index, ClusterPlace &place) override;
    Task<Result<void>> allocate(std::uint64_t first, std::uint64_t count, std::uint64_t skip,
                                const IoVector &contents) override;
    Task<Result<bool>> make_zero(std::uint64_t first, std::uint64_t count, unsigned flags) override;

private:
    friend class QedCheck;

    Table l1() const { return {header_.l1_offset, header_.table_bytes()}; }
    Table l2(std::uint64_t offset) const { return {offset, header_.table_bytes()}; }
    bool valid_table(std::uint64_t offset) const;
    bool decode(std::uint64_t entry, ClusterPlace &place) const;
    Task<Result<void>> write_header();
    Task<Result<void>> mark_need_check();
    std::uint64_t take_space(std::uint64_t bytes);
    /// Sets the entries of `count` clusters: `value`, and `step` more for each that follows.
    Task<Result<void>> set_entries(std::uint64_t first, std::uint64_t count, std::uint64_t value, std::uint64_t step);
    Task<Result<void>> set_table_entries(std::uint64_t l1_index, std::uint64_t l2_index, std::vector<std::uint8_t> entries);

    QedHeader header_;
    TableCache cache_;
    std::uint64_t end_ = 0; ///< where the next cluster goes
};

} // namespace rhea::block
