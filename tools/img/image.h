// An opened image: its node, and a back end that checks bounds and alignment.
#pragma once
#include <memory>
#include <string>

#include "rhea/block/backend.h"
#include "tools/img/run.h"

namespace rhea::img {

/// How an image is to be opened.
struct ImageSpec {
    std::string name;                   ///< file name, or with image_opts "driver=…,file.filename=…"
    std::optional<std::string> format;  ///< -f; none: by content
    bool image_opts = false;
    block::NodeOptions options;         ///< more of them; they win
    std::string cache = "writeback";    ///< -t, -T
    block::OpenFlags flags;
};

class Image {
  public:
    Image(Image&&) = default;
    Image& operator=(Image&&) = delete;
    /// Closes what was not closed.
    ~Image();

    static Result<Image> open(Run& run, const ImageSpec& spec);
    /// A layer of an open image's backing chain, written with cache mode `cache`. It is closed before the image is.
    static Image of_layer(Run& run, block::BlockNode& layer, std::string_view cache);

    block::BlockNode& node() const { return *node_; }
    std::shared_ptr<block::BlockNode> share() const { return node_; }
    block::BlockBackend& disk() const { return *disk_; }
    std::uint64_t length() const { return node_->length(); }
    /// Of the file below, where relative names in the image's header begin.
    Result<std::string> filename() const;
    /// Makes the disk larger or smaller, with new space prepared as `preallocation` says.
    Result<void> resize(std::uint64_t length, block::Preallocation preallocation = block::Preallocation::kOff);
    /// Shows an internal snapshot (id or name) in place of the disk; its length may be another one.
    Result<void> show_snapshot(std::string id_or_name);
    /// The name of its driver; also after close().
    const std::string& format() const { return format_; }
    /// Writes everything back; the image is not used afterwards.
    Result<void> close();

  private:
    Image(block::IoContext& context, std::shared_ptr<block::BlockNode> node, std::string_view cache);

    block::IoContext* context_;
    std::string format_;
    std::shared_ptr<block::BlockNode> node_;
    std::unique_ptr<block::BlockBackend> disk_;
};

/// The image that operand `name` means with the options -f, --image-opts, -U (and `cache_key`, "t" or "T") of `run`.
Result<ImageSpec> image_spec(const Run& run, std::string name, std::string_view format_key = "f",
                             std::string_view cache_key = {});

/// The options of -o (all of them, the last of equal keys wins). `help`: -o help was asked for.
struct FormatOptions {
    block::NodeOptions options;
    bool help = false;
};
Result<FormatOptions> format_options(const Run& run);
/// What -o help prints.
std::string describe_options(const block::BlockDriver& driver, bool amend = false);

/// -l: "snapshot.id=1", "snapshot.name=x", or an id or a name.
Result<void> show_snapshot(Run& run, Image& image, std::string_view parameter);

/// The state of a range as the whole chain of `node` has it.
struct Mapped {
    block::Extent extent;
    unsigned depth = 0;   ///< how many backing files down
    bool present = false; ///< some layer has it allocated
    block::BlockNode* node = nullptr;
};
/// `stop_at`: layers from this one down are not looked at (null: all are).
block::Task<Result<Mapped>> map_range(block::BlockNode& node, std::uint64_t offset, std::uint64_t length,
                                      const block::BlockNode* stop_at = nullptr);

}  // namespace rhea::img
