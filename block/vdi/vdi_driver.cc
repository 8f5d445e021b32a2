// Opening and creating VDI images.
#include "block/vdi/vdi.h"

#include <algorithm>

#include "block/format/bytes.h"
#include "block/format/finish_options.h"
#include "block/vdi/vdi_node.h"

namespace rhea::block {

namespace {

constexpr OptionDescription kCreateOptions[] = {
    {"size", "size", "Virtual disk size", ""},
    {"static", "bool (on/off)", "VDI static (pre-allocated) image", "off"},
};

int probe(std::span<const std::uint8_t> head, std::string_view) {
    return head.size() >= kVdiHeaderBytes && load_le32(&head[kVdiSignatureAt]) == kVdiSignature ? 100 : 0;
}

Task<Result<std::shared_ptr<BlockNode>>> open(OpenRequest request) {
    if (auto known = finish_options(request.options); !known)
        co_return util::fail(known.error());
    auto node = std::make_shared<VdiNode>(request.context, request.file, request.filename);
    node->set_read_only(request.flags.read_only);
    auto loaded = co_await node->load();
    if (!loaded)
        co_return util::fail(loaded.error());
    co_return std::shared_ptr<BlockNode>(node);
}

Task<Result<void>> create(CreateRequest request) {
    auto is_static = request.options.take_bool("static", false);
    if (!is_static)
        co_return util::fail(is_static.error());
    if (auto known = finish_options(request.options, kCreateOptions); !known)
        co_return known;
    auto header =
        VdiHeader::plan(request.size, *is_static ? VdiType::kStatic : VdiType::kDynamic, request.filename);
    if (!header)
        co_return util::fail(header.error());
    auto opened = co_await request.create_file();
    if (!opened)
        co_return util::fail(opened.error());
    FileAccess file(*opened, request.filename);
    const auto raw = header->encode();
    auto done = co_await file.write_bytes(0, raw.data(), raw.size());
    if (!done)
        co_return done;
    if (!*is_static)
        co_return co_await file.fill(header->map_offset, 0xff, header->data_offset - header->map_offset);

    std::vector<std::uint8_t> map(64 << 10);
    for (std::uint64_t block = 0; block < header->blocks_in_image;) {
        const std::uint64_t count = std::min<std::uint64_t>(map.size() / 4, header->blocks_in_image - block);
        for (std::uint64_t i = 0; i < count; ++i)
            store_le32(&map[i * 4], static_cast<std::uint32_t>(block + i));
        done = co_await file.write_bytes(header->map_offset + block * 4, map.data(), count * 4);
        if (!done)
            co_return done;
        block += count;
    }
    co_return co_await file.truncate(header->data_offset +
                                     std::uint64_t{header->blocks_in_image} * header->block_size);
}

} // namespace

const BlockDriver kVdiDriver = {
    .name = "vdi",
    .probe = probe,
    .open = open,
    .create = create,
    .create_options = kCreateOptions,
};

} // namespace rhea::block
