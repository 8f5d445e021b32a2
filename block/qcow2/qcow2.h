// The entry of the qcow2 driver in the table of drivers, and what its parts share.
#pragma once
#include "block/qcow2/node.h"
#include "rhea/block/driver.h"

namespace rhea::block {

extern const BlockDriver kQcow2Driver;

namespace qcow2 {

/// For NodeOptions::finish().
inline std::vector<std::string_view> known_names(std::span<const OptionDescription> options) {
    std::vector<std::string_view> names;
    for (const OptionDescription &option : options)
        names.push_back(option.name);
    return names;
}

/// open.cc
Task<Result<std::shared_ptr<BlockNode>>> open(OpenRequest request);
/// A node on `file` alone, writable, without backing or data file of its own: for create and tests.
Task<Result<std::shared_ptr<Qcow2Node>>> open_on(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename,
                                                 std::shared_ptr<BlockNode> data, OpenFlags flags = {},
                                                 const OpenOptions *options = nullptr);

/// create.cc
Task<Result<void>> create(CreateRequest request);

/// Options of create, measure and amend, checked.
struct CreateOptions {
    Header header;
    Preallocation preallocation = Preallocation::kOff;
    std::optional<crypto::LuksParameters> luks; ///< the image is to be encrypted
    std::string key_secret;
};
Result<CreateOptions> parse_create_options(NodeOptions &options, std::uint64_t size, const std::string &filename);

Result<std::pair<std::uint64_t, std::uint64_t>> measure(std::uint64_t size, std::uint64_t allocated, NodeOptions options);
Task<Result<void>> change_bitmap(BlockNode &node, BitmapChange change);
Task<Result<void>> amend(BlockNode &node, AmendRequest request);

} // namespace qcow2
} // namespace rhea::block
