// Copying disks: the engine of convert, dd and commit.
//
// Several coroutines each take the next range of the source, find out what holds it, read it, and write what is not
// zero. Memory is bounded by workers times kCopyChunk. One thread: the context's.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "rhea/block/co_sync.h"
#include "tools/img/buffer.h"
#include "tools/img/image.h"
#include "tools/img/progress.h"

namespace rhea::img {

inline constexpr std::uint64_t kCopyChunk = 2u << 20;

struct CopyPlan {
    std::vector<Image*> sources;  ///< one behind the other
    std::uint64_t source_offset = 0;
    Image* target = nullptr;
    std::uint64_t target_offset = 0;
    std::uint64_t length = 0;
    unsigned workers = 8;
    bool compressed = false;       ///< whole clusters, written compressed
    bool out_of_order = false;     ///< -W: write as reads come in
    bool target_is_zero = false;   ///< zeroes need not be written
    /// What no layer above this one holds is not copied, because the target reads it from there, too. Null: everything is copied.
    const block::BlockNode* stop_at = nullptr;
    std::uint64_t sparse_size = 4096;  ///< -S: the shortest run of zeroes that is left out; 0: everything is written
    std::uint64_t granularity = 0;     ///< clusters of the target; 0: none
    std::uint64_t rate = 0;            ///< bytes a second; 0: no limit
    bool offload = false;              ///< -C: data is copied by the host where it can
    bool salvage = false;              ///< bytes that cannot be read are zero
};

class Copy {
  public:
    Copy(const CopyPlan& plan, Progress& progress) : plan_(plan), progress_(progress) {}
    /// Runs it to the end; the first error stops it.
    Result<void> run(block::IoContext& context);

    std::uint64_t unreadable() const { return unreadable_; }

  private:
    /// One range that a worker has taken.
    struct Piece {
        std::uint64_t offset = 0;  ///< in the whole of the sources, from 0
        std::uint64_t length = 0;
        enum class Kind : std::uint8_t { kData, kZero, kSkip } kind = Kind::kData;
        block::BlockNode* file = nullptr;  ///< of data: where it lies as it is; null: nowhere
        std::uint64_t file_offset = 0;
    };

    block::Task<void> worker();
    block::Task<Result<void>> work(const Buffer& buffer);
    block::Task<Result<Piece>> take();
    block::Task<bool> copied_by_host(const Piece& piece);
    block::Task<Result<void>> read(const Piece& piece, const Buffer& buffer);
    block::Task<Result<void>> read_salvaging(Image& image, std::uint64_t offset, const block::IoVector& into);
    block::Task<Result<void>> write(const Piece& piece, const Buffer& buffer);
    block::Task<Result<void>> write_compressed(const Piece& piece, const Buffer& buffer);
    block::Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length);
    block::Task<void> keep_to_rate(std::uint64_t bytes);
    Image& source_at(std::uint64_t offset, std::uint64_t& inside, std::uint64_t& left) const;
    std::uint64_t target_place(std::uint64_t offset) const { return plan_.target_offset + offset; }

    CopyPlan plan_;
    Progress& progress_;
    block::CoMutex taking_;
    block::CoQueue turns_;
    std::uint64_t taken_ = 0;    ///< everything before is some worker's
    std::uint64_t written_ = 0;  ///< in order: everything before is written
    std::uint64_t unreadable_ = 0;
    std::int64_t rate_start_ = 0;
    std::uint64_t rate_bytes_ = 0;
    unsigned active_ = 0;
    bool failed_ = false;
    Result<void> result_;
    /// What block_status said last, so that a long extent is asked for once.
    Piece known_;
};

/// Does a new image read as zeroes throughout (so that zeroes need not be written)?
Result<bool> reads_as_zero(Run& run, Image& image);

}  // namespace rhea::img
