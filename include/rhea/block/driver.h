// Drivers of the block layer: one explicit table (block/drivers.cc), and opening and creating images through it.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/block/node.h"
#include "rhea/block/options.h"

namespace rhea::block {

/// An option of `create -o` or of opening: what -o help and `-blockdev driver=x,help` list.
struct OptionDescription {
    std::string_view name, type, description, default_text;
};

struct OpenFlags {
    bool read_only = false;
    bool no_backing = false;       ///< do not open backing files
    bool check = false;            ///< for check/repair: open images that are dirty or marked corrupt
    bool no_lock = false;          ///< qemu-img's -U, force-share
    bool for_resize = false;
    bool no_io = false;            ///< info only
};

/// What a driver's open() gets. `file` is the opened protocol node for formats; null for protocols.
struct OpenRequest {
    IoContext &context;
    std::string filename;          ///< for messages, and to resolve relative names against
    NodeOptions options;           ///< the driver takes its own; the caller calls finish()
    OpenFlags flags;
    std::shared_ptr<BlockNode> file;
    /// Opens a child (backing file, data file) with inherited settings; resolves names relative to `filename`.
    std::function<Task<Result<std::shared_ptr<BlockNode>>>(NodeOptions options, OpenFlags flags)> open_child;
};

/// What a driver's create() gets.
struct CreateRequest {
    IoContext &context;
    std::string filename;
    std::uint64_t size = 0;
    NodeOptions options;           ///< those of create_options(), "backing_file" and "backing_fmt" among them
    /// Creates and opens the file below (formats); fails as the protocol does.
    std::function<Task<Result<std::shared_ptr<BlockNode>>>()> create_file;
};

struct BlockDriver {
    std::string_view name;         ///< as QEMU spells it: "qcow2", "vpc"
    bool is_protocol = false;
    bool supports_backing = false;
    /// 0: not mine … 100: certainly. `head` has the first 2048 bytes (or fewer). Null: never probed.
    int (*probe)(std::span<const std::uint8_t> head, std::string_view filename) = nullptr;
    Task<Result<std::shared_ptr<BlockNode>>> (*open)(OpenRequest request) = nullptr;
    Task<Result<void>> (*create)(CreateRequest request) = nullptr; ///< null: cannot be created
    std::span<const OptionDescription> open_options, create_options;
    /// Changes options of an existing image (amend); null: not possible.
    Task<Result<void>> (*amend)(BlockNode &node, NodeOptions options, std::function<void(double)> progress) = nullptr;
    /// Bytes that a new image of that content would take (measure); null: not possible.
    Result<std::pair<std::uint64_t, std::uint64_t>> (*measure)(std::uint64_t size, std::uint64_t allocated,
                                                               NodeOptions options) = nullptr;
};

std::span<const BlockDriver *const> block_drivers();
/// By name; the sentence suggests the nearest.
Result<const BlockDriver *> find_driver(std::string_view name);

/// Opens `filename` (a path, "nbd://…", "json:{…}", "driver:rest") with `options` ("driver", …). Without "driver" the format is
/// probed by content; an image that was probed as raw refuses writes that would change what it is probed as.
Task<Result<std::shared_ptr<BlockNode>>> open_image(IoContext &context, std::string filename, NodeOptions options, OpenFlags flags);
/// Makes an image; `driver` is the format.
Task<Result<void>> create_image(IoContext &context, const BlockDriver &driver, std::string filename, std::uint64_t size,
                                NodeOptions options);
/// The name that `backing` in the header of image `image` means: relative names are relative to the image's folder.
std::string resolve_backing(std::string_view image, std::string_view backing);

} // namespace rhea::block
