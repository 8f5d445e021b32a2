// Drivers of the block layer: one explicit table (block/drivers.cc), and opening and creating images through it.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/block/bitmap.h"
#include "rhea/block/node.h"
#include "rhea/block/options.h"

namespace rhea::block {

class ThrottleGroup;

/// An option of `create -o` or of opening: what -o help and `-blockdev driver=x,help` list.
struct OptionDescription {
    std::string_view name, type, description, default_text;
};

/// The nodes that -blockdev, -drive and blockdev-add named: what "file=NAME" and "backing=NAME" look in. Any thread.
class NodeNames {
public:
    /// Fails when the name is taken.
    Result<void> add(const std::shared_ptr<BlockNode> &node);
    std::shared_ptr<BlockNode> find(std::string_view name) const; ///< null: none
    std::vector<std::shared_ptr<BlockNode>> all() const;

    Result<void> add_throttle_group(std::shared_ptr<ThrottleGroup> group);
    std::shared_ptr<ThrottleGroup> find_throttle_group(std::string_view id) const; ///< null: none

private:
    mutable std::mutex mutex_;
    std::map<std::string, std::shared_ptr<ThrottleGroup>, std::less<>> throttle_groups_;
    std::map<std::string, std::weak_ptr<BlockNode>, std::less<>> nodes_;
};

struct NameChain {
    std::string filename;
    std::shared_ptr<const NameChain> above;
};

struct OpenFlags {
    bool read_only = false;
    bool no_backing = false;       ///< do not open backing files
    bool check = false;            ///< for check/repair: open images that are dirty or marked corrupt
    bool no_lock = false;          ///< qemu-img's -U, force-share
    bool for_resize = false;
    bool no_io = false;            ///< info only
    bool auto_read_only = false;   ///< read-only when the host refuses writes
    unsigned depth = 0;            ///< of the chain of backing files; open_image() counts and limits it
    /// Files that are being opened above this one: a chain of backing files that comes back to one is refused.
    std::shared_ptr<const struct NameChain> above;
    /// Where this node's options stand among those of the image that was asked for: "backing.file."; for messages.
    std::string option_prefix = {};
    NodeNames *names = nullptr;    ///< null: nodes cannot be referred to by name
};

/// What a driver's open() gets. `file` is the opened protocol node for formats; null for protocols.
struct OpenRequest {
    IoContext &context;
    /// Formats: for messages, and to resolve relative names against. Protocols: option "filename" as given ("nbd://h:1/x",
    /// "file:a.img"), which is not among `options` any more; empty when there was none.
    std::string filename;
    NodeOptions options;           ///< the driver takes its own; the caller calls finish()
    OpenFlags flags;
    NodeSettings settings;         ///< the caller puts them on the node, too
    std::shared_ptr<BlockNode> file;
    /// Opens a child (backing file, data file) with inherited settings; a relative "filename" among `options` is relative to
    /// the folder of this image. Without "driver" the format is probed. `flags`: begin with those of this request.
    std::function<Task<Result<std::shared_ptr<BlockNode>>>(NodeOptions options, OpenFlags flags)> open_child;
};

/// What a driver's create() gets.
struct CreateRequest {
    IoContext &context;
    std::string filename;
    std::uint64_t size = 0;
    NodeOptions options;           ///< those of create_options(), "backing_file" and "backing_fmt" among them
    /// Creates and opens the file below (formats), of no length; fails as the protocol does.
    std::function<Task<Result<std::shared_ptr<BlockNode>>>()> create_file;
    /// The same with a length and options of the protocol (raw).
    std::function<Task<Result<std::shared_ptr<BlockNode>>>(std::uint64_t size, NodeOptions options)> create_file_with;
};

/// What a driver's amend() gets.
struct AmendRequest {
    NodeOptions options;
    bool force = false;                          ///< also changes that can lose the data
    std::function<void(double)> progress = {};   ///< called with the part that is done, 0 to 1
};

struct BlockDriver {
    std::string_view name;         ///< as QEMU spells it: "qcow2", "vpc"
    bool is_protocol = false;
    std::span<const std::string_view> schemes = {}; ///< of a protocol's file names: "nbd" (of "nbd://", "nbd:"), "nbd+unix"
    bool supports_backing = false;
    bool compresses = false;       ///< its nodes take kCompressed
    /// 0: not mine … 100: certainly. `head` has the first 2048 bytes (or fewer). Null: never probed.
    int (*probe)(std::span<const std::uint8_t> head, std::string_view filename) = nullptr;
    Task<Result<std::shared_ptr<BlockNode>>> (*open)(OpenRequest request) = nullptr;
    Task<Result<void>> (*create)(CreateRequest request) = nullptr; ///< null: cannot be created
    std::span<const OptionDescription> open_options = {}, create_options = {};
    /// Changes options of an existing image (amend), those of amend_options; null: not possible.
    Task<Result<void>> (*amend)(BlockNode &node, AmendRequest request) = nullptr;
    std::span<const OptionDescription> amend_options = {};
    /// A step on one of the bitmaps that the image keeps; null: it keeps none.
    Task<Result<void>> (*change_bitmap)(BlockNode &node, BitmapChange change) = nullptr;
    /// Bytes that a new image of that content would take (measure); null: not possible.
    Result<std::pair<std::uint64_t, std::uint64_t>> (*measure)(std::uint64_t size, std::uint64_t allocated,
                                                               NodeOptions options) = nullptr;
};

std::span<const BlockDriver *const> block_drivers();
/// By name; the sentence suggests the nearest.
Result<const BlockDriver *> find_driver(std::string_view name);

/// -drive cache=MODE, rhea-img -t MODE: sets cache.direct and cache.no-flush, and tells whether each write is flushed
/// (BlockBackend::set_write_cache(false)). none, writeback, writethrough, directsync, unsafe.
Result<bool> set_cache_mode(NodeOptions &options, std::string_view mode);

/// Opens `filename` (a path, "nbd://…", "json:{…}", "driver:rest") with `options` ("driver", …). Without "driver" the format is
/// probed by content; an image that was probed as raw refuses writes that would change what it is probed as.
Task<Result<std::shared_ptr<BlockNode>>> open_image(IoContext &context, std::string filename, NodeOptions options, OpenFlags flags);
/// What a format's open() calls for its backing file: `name` and `format` are the header's (empty: none). Options "backing" (a
/// node's name, or "": none) and "backing.*" of the request win. Null when there is none, or the flags say so.
Task<Result<std::shared_ptr<BlockNode>>> open_backing(OpenRequest &request, std::string name, std::string format);
/// The format that the content of `file` shows, never null: raw when it shows none.
Task<Result<const BlockDriver *>> probe_format(BlockNode &file, std::string_view filename);
/// Makes an image; `driver` is the format.
Task<Result<void>> create_image(IoContext &context, const BlockDriver &driver, std::string filename, std::uint64_t size,
                                NodeOptions options);
/// The name that `backing` in the header of image `image` means: relative names are relative to the image's folder.
std::string resolve_backing(std::string_view image, std::string_view backing);

} // namespace rhea::block
