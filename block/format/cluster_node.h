// block::ClusterNode: what formats have in common that map a disk cluster by cluster to places in a file.
//
// A format says where a cluster lies (place()) and gives storage to some (allocate()); splitting requests, joining
// neighbours, copying from the backing node and block status are here. Clusters with storage are written in place, any
// number at a time; storage is given under a lock, one request at a time. The cluster size is any multiple of 512.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "block/format/file_access.h"
#include "rhea/block/co_sync.h"
#include "rhea/block/node.h"

namespace rhea::block {

/// Where the contents of a cluster lie.
struct ClusterPlace {
    enum class Kind : std::uint8_t {
        kUnallocated, ///< the backing node's, or zeroes without one
        kZero,
        kData,        ///< at `offset` of the file
        kCompressed,  ///< `offset` means something to read_compressed()
    };
    Kind kind = Kind::kUnallocated;
    std::uint64_t offset = 0;
};

class ClusterNode : public BlockNode {
public:
    std::uint64_t length() const override { return length_; }
    std::uint32_t request_alignment() const override { return file_.node().request_alignment(); }
    bool has_fua() const override { return true; }
    std::uint32_t cluster_size() const override { return cluster_size_; }
    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override;
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags) override;
    Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) override;
    Task<Result<void>> flush() override { return file_.flush(); }
    Task<Result<Extent>> block_status(std::uint64_t offset, std::uint64_t length) override;
    Task<Result<NodeInfo>> info() override { return file_.info_of(*this); }
    BlockNode *file() const override { return &file_.node(); }
    BlockNode *backing() const override { return backing_.get(); }

protected:
    struct Shape {
        std::uint64_t length = 0;
        std::uint32_t cluster_size = 0;
    };
    ClusterNode(IoContext &context, std::string driver, std::shared_ptr<BlockNode> file, std::string filename);
    void set_shape(Shape shape) {
        length_ = shape.length;
        cluster_size_ = shape.cluster_size;
    }

    /// Where cluster `index` lies. Fails where the image is damaged.
    virtual Task<Result<ClusterPlace>> place(std::uint64_t index) = 0;
    /// The same when it needs no file access; false: call place().
    virtual bool place_now(std::uint64_t index, ClusterPlace &place) = 0;
    /// Gives storage to `count` clusters from `first` on, none of which has any, and stores `contents`, which begin
    /// `skip` bytes into the first; all bytes of the clusters outside them shall read as zeroes. Called under the lock.
    virtual Task<Result<void>> allocate(std::uint64_t first, std::uint64_t count, std::uint64_t skip,
                                        const IoVector &contents) = 0;
    /// Makes whole clusters read as zeroes without writing them; yields false where the format cannot (the default).
    virtual Task<Result<bool>> make_zero(std::uint64_t first, std::uint64_t count, unsigned flags);
    /// Does allocate() compress? Then clusters are written once, and writes with kCompressed are welcome.
    virtual bool stores_compressed() const { return false; }
    /// Before the first change of the image in this session. Called under the lock.
    virtual Task<Result<void>> before_write() { co_return Result<void>{}; }
    /// Reads bytes [in, in + to.size()) of a kCompressed cluster.
    virtual Task<Result<void>> read_compressed(std::uint64_t index, std::uint64_t offset, std::uint64_t in,
                                               const IoVector &to);
    /// Where the backing node's bytes for this node's `offset` are.
    virtual Task<Result<void>> read_backing(std::uint64_t offset, const IoVector &to);
    virtual bool has_backing() const { return backing_ != nullptr; }

    /// Each write begins with it: fails when the image must not be written, calls before_write() the first time.
    Task<Result<void>> prepare_write();
    /// From here on writes fail: the image is damaged. `what` is the sentence. Returns the failure with EIO.
    util::Failure damaged(std::string what);
    bool is_damaged() const { return damaged_; }
    std::uint64_t cluster_count() const { return length_ / cluster_size_ + (length_ % cluster_size_ != 0); }

    FileAccess file_;
    std::shared_ptr<BlockNode> backing_;
    CoMutex allocation_;

private:
    using Kind = ClusterPlace::Kind;
    Task<Result<ClusterPlace>> find(std::uint64_t index);
    Result<void> check_writable() const;
    /// One kind of place from `offset` on, and how many bytes (at most `limit`) go on in it.
    struct Run {
        ClusterPlace place;
        std::uint64_t length = 0;
    };
    Task<Result<Run>> run_at(std::uint64_t offset, std::uint64_t limit);
    Task<Result<void>> write_new(std::uint64_t offset, const IoVector &from, std::uint64_t &done);
    Task<Result<void>> zero_run(std::uint64_t offset, std::uint64_t length, unsigned flags);

    std::uint64_t length_ = 0;
    std::uint32_t cluster_size_ = 0;
    bool damaged_ = false, written_ = false;
};

} // namespace rhea::block
