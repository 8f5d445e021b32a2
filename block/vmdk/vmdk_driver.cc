// Opening VMware disk images.
#include <algorithm>
#include <cerrno>

#include "block/format/bytes.h"
#include "block/format/finish_options.h"
#include "block/format/slice_node.h"
#include "block/vmdk/vmdk.h"
#include "block/vmdk/vmdk_create.h"
#include "block/vmdk/vmdk_node.h"

namespace rhea::block {

namespace {

/// A descriptor is a page of text.
constexpr std::uint64_t kMaxDescriptor = 1 << 20;

int probe(std::span<const std::uint8_t> head, std::string_view) {
    if (head.size() >= 4 && (load_le32(head.data()) == kVmdkMagic || load_le32(head.data()) == kVmdkCowdMagic))
        return 100;
    return VmdkDescriptor::looks_like_one({reinterpret_cast<const char *>(head.data()), head.size()}) ? 100 : 0;
}

Task<Result<VmdkDescriptor>> read_descriptor(FileAccess &file, std::uint64_t offset, std::uint64_t bytes) {
    if (bytes > kMaxDescriptor || !range_fits(offset, bytes, file.length()))
        co_return file.fail(EINVAL, "the descriptor at offset {} with {} bytes is not inside the file, or too long", offset,
                            bytes);
    std::string text(bytes, '\0');
    auto got = co_await file.read_bytes(offset, text.data(), text.size());
    if (!got)
        co_return util::fail(got.error());
    co_return VmdkDescriptor::parse(text, file.filename());
}

/// The descriptor lies in the only extent.
Task<Result<std::shared_ptr<VmdkNode>>> open_monolithic(OpenRequest &request) {
    auto extent = std::make_shared<VmdkSparseExtent>(request.context, request.file, request.filename);
    extent->set_read_only(request.flags.read_only);
    auto loaded = co_await extent->load();
    if (!loaded)
        co_return util::fail(loaded.error());
    FileAccess &file = extent->access();
    const VmdkHeader &header = extent->header();
    if (header.descriptor_offset == 0 || header.descriptor_size == 0)
        co_return file.fail(EINVAL, "this is one extent of a disk; open the disk's descriptor file");
    if (std::max(header.descriptor_offset, header.descriptor_size) > file.length() / kVmdkSector)
        co_return file.fail(EINVAL, "the descriptor at sector {} is not inside the file", header.descriptor_offset);
    const std::uint64_t offset = header.descriptor_offset * kVmdkSector, bytes = header.descriptor_size * kVmdkSector;
    auto descriptor = co_await read_descriptor(file, offset, bytes);
    if (!descriptor)
        co_return util::fail(descriptor.error());
    VmdkPart part;
    part.line = descriptor->extents.front();
    part.length = extent->length();
    part.node = part.sparse = extent;
    part.filename = request.filename;
    if (descriptor->extents.size() > 1 || part.line.type != "SPARSE")
        co_return file.fail(ENOTSUP, "createType {} with extents beside a sparse one in the same file is not supported",
                            descriptor->create_type);
    auto node = std::make_shared<VmdkNode>(request.context, request.file, request.filename, std::move(*descriptor), offset,
                                           bytes);
    node->add_part(std::move(part));
    co_return node;
}

/// Opens the file of an extent that a descriptor names.
Task<Result<VmdkPart>> open_part(OpenRequest &request, VmdkExtentLine line) {
    VmdkPart part;
    part.length = line.sectors * kVmdkSector;
    part.line = line;
    if (line.type == "ZERO")
        co_return part;
    const auto error = [&](std::string sentence) {
        return util::fail(util::Error("{}: {}", request.filename, sentence).with_code(ENOTSUP));
    };
    if (line.type != "FLAT" && line.type != "VMFS" && line.type != "SPARSE")
        co_return error(fmt::format("extents of type {} are not supported, only FLAT, VMFS, SPARSE and ZERO", line.type));
    NodeOptions options;
    options.set("driver", "file");
    options.set("filename", line.filename);
    OpenFlags flags = request.flags;
    flags.read_only = flags.read_only || line.access != "RW";
    auto opening = request.open_child(std::move(options), flags);
    auto file = co_await opening;
    if (!file)
        co_return util::fail(file.error());
    part.filename = resolve_backing(request.filename, line.filename);
    if (line.type == "SPARSE") {
        part.sparse = std::make_shared<VmdkSparseExtent>(request.context, *file, part.filename);
        part.sparse->set_read_only(flags.read_only);
        auto loaded = co_await part.sparse->load();
        if (!loaded)
            co_return util::fail(loaded.error());
        part.node = part.sparse;
        if (part.sparse->length() < part.length)
            co_return error(fmt::format("extent {} has {} bytes, the descriptor says {}", line.filename,
                                        part.sparse->length(), part.length));
        co_return part;
    }
    const std::uint64_t start = line.offset * kVmdkSector;
    if (!range_fits(start, part.length, (*file)->length()))
        co_return error(fmt::format("extent {} has {} bytes, too few for {} at offset {}", line.filename, (*file)->length(),
                                    part.length, start));
    part.node = std::make_shared<SliceNode>(request.context, "vmdk", *file, part.filename, start, part.length);
    part.node->set_read_only(flags.read_only);
    co_return part;
}

Task<Result<std::shared_ptr<VmdkNode>>> open_descriptor(OpenRequest &request) {
    FileAccess file(request.file, request.filename);
    auto descriptor = co_await read_descriptor(file, 0, file.length());
    if (!descriptor)
        co_return util::fail(descriptor.error());
    const std::string &type = descriptor->create_type;
    constexpr std::string_view kKnown[] = {"monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "vmfs", "custom",
                                           "monolithicSparse"};
    if (std::ranges::find(kKnown, type) == std::end(kKnown))
        co_return file.fail(ENOTSUP, "createType {} is not supported", type);
    const std::vector<VmdkExtentLine> lines = descriptor->extents;
    auto node = std::make_shared<VmdkNode>(request.context, request.file, request.filename, std::move(*descriptor), 0, 0);
    for (const VmdkExtentLine &line : lines) {
        auto part = co_await open_part(request, line);
        if (!part)
            co_return util::fail(part.error());
        if (part->length > INT64_MAX - node->length())
            co_return file.fail(EFBIG, "the extents together are too large");
        node->add_part(std::move(*part));
    }
    co_return node;
}

Task<Result<std::shared_ptr<BlockNode>>> open(OpenRequest request) {
    FileAccess file(request.file, request.filename);
    std::uint8_t magic[4];
    auto got = co_await file.read_bytes(0, magic, sizeof(magic));
    if (!got)
        co_return util::fail(got.error());
    const bool sparse = load_le32(magic) == kVmdkMagic || load_le32(magic) == kVmdkCowdMagic;
    auto opening = sparse ? open_monolithic(request) : open_descriptor(request);
    auto node = co_await opening;
    if (!node)
        co_return util::fail(node.error());
    (*node)->set_read_only(request.flags.read_only);
    const VmdkDescriptor &descriptor = (*node)->descriptor();
    const std::string hint = descriptor.parent_cid == kVmdkNoParent ? "" : descriptor.parent_hint;
    auto backing = co_await open_backing(request, hint, "vmdk");
    if (!backing)
        co_return util::fail(backing.error());
    if (auto known = finish_options(request.options); !known)
        co_return util::fail(known.error());
    if (*backing) {
        [[maybe_unused]] const auto set = (*node)->set_backing(*backing);
        if (auto same = (*node)->check_parent(); !same)
            co_return util::fail(same.error());
    }
    co_return std::shared_ptr<BlockNode>(*node);
}

} // namespace

const BlockDriver kVmdkDriver = {
    .name = "vmdk",
    .supports_backing = true,
    .compresses = true,
    .probe = probe,
    .open = open,
    .create = create_vmdk,
    .create_options = kVmdkCreateOptions,
};

} // namespace rhea::block
