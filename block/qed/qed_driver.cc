// Opening and creating QED images.
#include <algorithm>
#include <cerrno>

#include "block/format/bytes.h"
#include "block/format/finish_options.h"
#include "block/qed/qed.h"
#include "block/qed/qed_node.h"

namespace rhea::block {

namespace {

constexpr OptionDescription kCreateOptions[] = {
    {"backing_file", "str", "The backing file, which has what this image does not hold", ""},
    {"backing_fmt", "str", "The backing file's format", ""},
    {"cluster_size", "size", "Bytes of a cluster: a power of two from 4k to 64M", "65536"},
    {"size", "size", "Bytes of the disk that the guest sees", ""},
    {"table_size", "size", "Clusters that an L1 or L2 table takes: 1, 2, 4, 8 or 16", "4"},
};

int probe(std::span<const std::uint8_t> head, std::string_view) {
    return head.size() >= kQedHeaderBytes && load_le32(head.data()) == kQedMagic ? 100 : 0;
}

Task<Result<std::shared_ptr<BlockNode>>> open(OpenRequest request) {
    auto node = std::make_shared<QedNode>(request.context, request.file, request.filename);
    node->set_read_only(request.flags.read_only);
    auto loaded = co_await node->load();
    if (!loaded)
        co_return util::fail(loaded.error());
    const QedHeader &header = node->header();
    auto backing = co_await open_backing(request, header.backing_file, header.features & kQedRawBacking ? "raw" : "");
    if (!backing)
        co_return util::fail(backing.error());
    if (auto known = finish_options(request.options); !known)
        co_return util::fail(known.error());
    [[maybe_unused]] const auto set = node->set_backing(*backing);
    if (!request.flags.read_only && !request.flags.check) {
        auto prepared = co_await node->prepare_for_writing();
        if (!prepared)
            co_return util::fail(prepared.error());
    }
    co_return std::shared_ptr<BlockNode>(node);
}

Task<Result<void>> create(CreateRequest request) {
    QedHeader header;
    auto cluster_size = request.options.take_size("cluster_size", header.cluster_size);
    if (!cluster_size)
        co_return util::fail(cluster_size.error());
    auto table_size = request.options.take_size("table_size", header.table_size);
    if (!table_size)
        co_return util::fail(table_size.error());
    header.cluster_size = static_cast<std::uint32_t>(std::min<std::uint64_t>(*cluster_size, UINT32_MAX));
    header.table_size = static_cast<std::uint32_t>(std::min<std::uint64_t>(*table_size, UINT32_MAX));
    header.image_size = round_up(request.size, 512);
    header.l1_offset = header.cluster_size;
    header.backing_file = request.options.take("backing_file").value_or("");
    const std::string format = request.options.take("backing_fmt").value_or("");
    if (auto known = finish_options(request.options, kCreateOptions); !known)
        co_return known;
    if (auto sizes = header.check_sizes(request.filename); !sizes)
        co_return sizes;
    if (!header.backing_file.empty())
        header.features |= kQedBackingFile;
    if (!header.backing_file.empty() && format == "raw")
        header.features |= kQedRawBacking;
    if (header.backing_file.size() > header.max_backing_name())
        co_return util::fail(util::Error("{}: the backing file's name is longer than {} bytes", request.filename,
                                         header.max_backing_name())
                                 .with_code(EINVAL));
    auto opened = co_await request.create_file();
    if (!opened)
        co_return util::fail(opened.error());
    FileAccess file(*opened, request.filename);
    auto done = co_await file.truncate(header.l1_offset + header.table_bytes()); // the L1 table is all zeroes
    if (!done)
        co_return done;
    const auto raw = header.encode();
    co_return co_await file.write_bytes(0, raw.data(), raw.size());
}

} // namespace

const BlockDriver kQedDriver = {
    .name = "qed",
    .supports_backing = true,
    .probe = probe,
    .open = open,
    .create = create,
    .create_options = kCreateOptions,
};

} // namespace rhea::block
