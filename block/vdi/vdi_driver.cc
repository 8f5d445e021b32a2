// Opening and creating VDI images.
#include "block/vdi/vdi.h"

#include <algorithm>

#include "block/format/bytes.h"
#include "block/format/open_loaded.h"
#include "block/vdi/vdi_node.h"

namespace rhea::block {

namespace {

constexpr OptionDescription kCreateOptions[] = {
    {"size", "size", "Bytes of the disk that the guest sees", ""},
    {"static", "bool (on/off)", "Give all blocks their space at once", "off"},
};

int probe(std::span<const std::uint8_t> head, std::string_view) {
    return head.size() >= kVdiHeaderBytes && load_le32(&head[kVdiSignatureAt]) == kVdiSignature ? 100 : 0;
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

    auto writing = file.write_table(header->map_offset, header->blocks_in_image, 4,
                                    [](std::uint8_t *at, std::uint64_t block) { store_le32(at, static_cast<std::uint32_t>(block)); });
    done = co_await writing;
    if (!done)
        co_return done;
    co_return co_await file.truncate(header->data_offset +
                                     std::uint64_t{header->blocks_in_image} * header->block_size);
}

} // namespace

const BlockDriver kVdiDriver = {
    .name = "vdi",
    .probe = probe,
    .open = open_loaded<VdiNode>,
    .create = create,
    .create_options = kCreateOptions,
};

} // namespace rhea::block
