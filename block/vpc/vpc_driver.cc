// Opening and creating Virtual PC disk images.
#include <algorithm>
#include <cerrno>

#include "block/format/bytes.h"
#include "block/format/finish_options.h"
#include "block/format/slice_node.h"
#include "block/vpc/vpc.h"
#include "block/vpc/vpc_node.h"

namespace rhea::block {

namespace {

constexpr OptionDescription kOpenOptions[] = {
    {"force_size_calc", "str", "Take the disk's size from 'chs' or 'current_size' of the footer", "by its creator"},
};
constexpr OptionDescription kCreateOptions[] = {
    {"force_size", "bool (on/off)",
     "Keep the size to the sector instead of rounding it to cylinders, heads and sectors", "off"},
    {"size", "size", "Bytes of the disk that the guest sees", ""},
    {"subformat", "str", "Blocks get their space when they are written (dynamic) or at once (fixed)", "dynamic"},
};

/// Fixed images have nothing in front that tells them from raw ones.
int probe(std::span<const std::uint8_t> head, std::string_view) {
    return head.size() >= kVpcFooterBytes && VpcFooter::is_footer(head.data()) ? 100 : 0;
}

Task<Result<VpcFooter>> load_footer(FileAccess &file) {
    VpcFooter footer;
    std::uint64_t at = 0;
    auto got = co_await file.read_bytes(0, footer.raw.data(), footer.raw.size());
    if (got && !VpcFooter::is_footer(footer.raw.data()) && file.length() >= kVpcFooterBytes) {
        at = file.length() - kVpcFooterBytes;
        got = co_await file.read_bytes(at, footer.raw.data(), footer.raw.size());
    }
    if (!got)
        co_return util::fail(got.error());
    if (!VpcFooter::is_footer(footer.raw.data()))
        co_return file.fail(EINVAL, "this is no VHD image: no footer (\"conectix\") at its beginning or end");
    if (!footer.checksum_is_right())
        co_return file.fail(EINVAL, "the checksum of the footer at offset {} is wrong", at);
    if (at != 0 && footer.type() != VpcType::kFixed)
        co_return file.fail(EINVAL, "the footer at offset {} is that of a dynamic image, whose copy at offset 0 is missing",
                            at);
    co_return footer;
}

Task<Result<std::shared_ptr<BlockNode>>> open(OpenRequest request) {
    const std::string from = request.options.take("force_size_calc").value_or("");
    VpcSizeFrom size_from = VpcSizeFrom::kCreator;
    if (from == "chs")
        size_from = VpcSizeFrom::kGeometry;
    else if (from == "current_size")
        size_from = VpcSizeFrom::kCurrentSize;
    else if (!from.empty())
        co_return util::fail(util::Error("force_size_calc={} is not known; it is 'chs' or 'current_size'", from)
                                 .with_code(EINVAL));
    if (auto known = finish_options(request.options, kOpenOptions); !known)
        co_return util::fail(known.error());

    FileAccess file(request.file, request.filename);
    auto footer = co_await load_footer(file);
    if (!footer)
        co_return util::fail(footer.error());
    const std::uint64_t sectors = footer->sectors(size_from);
    if (sectors > kVpcMaxSectors)
        co_return file.fail(EFBIG, "{} sectors are more than the {} that a VHD image can have", sectors, kVpcMaxSectors);
    std::shared_ptr<BlockNode> node;
    if (footer->type() == VpcType::kDynamic) {
        auto dynamic = std::make_shared<VpcNode>(request.context, request.file, request.filename);
        auto loaded = co_await dynamic->load(*footer, sectors);
        if (!loaded)
            co_return util::fail(loaded.error());
        node = dynamic;
    } else if (footer->type() == VpcType::kFixed) {
        if (!range_fits(sectors * kVpcSector, kVpcFooterBytes, file.length()))
            co_return file.fail(EINVAL, "the file of {} bytes is too short for the {} sectors that its footer tells",
                                file.length(), sectors);
        node = std::make_shared<SliceNode>(request.context, "vpc", request.file, request.filename, 0,
                                           sectors * kVpcSector);
    } else {
        co_return file.fail(ENOTSUP, "VHD images of type {} (4: differencing) are not supported, only fixed and dynamic",
                            static_cast<std::uint32_t>(footer->type()));
    }
    node->set_read_only(request.flags.read_only);
    co_return node;
}

Task<Result<void>> write_dynamic(FileAccess &file, const VpcFooter &footer, std::uint64_t sectors) {
    VpcDynamicHeader header;
    header.table_offset = kVpcFooterBytes + kVpcDynamicHeaderBytes;
    header.block_size = kVpcBlockSize;
    header.table_entries = static_cast<std::uint32_t>(divide_up(sectors, kVpcBlockSize / kVpcSector));
    const std::uint64_t table_bytes = round_up(std::uint64_t{header.table_entries} * 4, kVpcSector);
    const auto raw = header.encode();
    auto done = co_await file.write_bytes(kVpcFooterBytes, raw.data(), raw.size());
    if (!done)
        co_return done;
    done = co_await file.fill(header.table_offset, 0xff, table_bytes);
    if (!done)
        co_return done;
    done = co_await file.write_bytes(header.table_offset + table_bytes, footer.raw.data(), footer.raw.size());
    if (!done)
        co_return done;
    co_return co_await file.write_bytes(0, footer.raw.data(), footer.raw.size());
}

Task<Result<void>> create(CreateRequest request) {
    const std::string subformat = request.options.take("subformat").value_or("dynamic");
    if (subformat != "dynamic" && subformat != "fixed")
        co_return util::fail(util::Error("subformat={} is not known; a VHD image is 'dynamic' or 'fixed'", subformat)
                                 .with_code(EINVAL));
    auto exact = request.options.take_bool("force_size", false);
    if (!exact)
        co_return util::fail(exact.error());
    if (auto known = finish_options(request.options, kCreateOptions); !known)
        co_return known;
    std::uint64_t sectors = divide_up(request.size, kVpcSector);
    if (sectors > kVpcMaxSectors)
        co_return util::fail(util::Error("{}: a VHD image can have at most {} bytes, {} are too many", request.filename,
                                         kVpcMaxSectors * kVpcSector, request.size)
                                 .with_code(EFBIG));
    VpcGeometry geometry = VpcGeometry::largest();
    if (!*exact) {
        geometry = VpcGeometry::covering(sectors);
        if (geometry.total() != VpcGeometry::largest().total())
            sectors = geometry.total();
    }
    const VpcFooter footer = VpcFooter::make(subformat == "fixed" ? VpcType::kFixed : VpcType::kDynamic, sectors, geometry,
                                             *exact);
    auto opened = co_await request.create_file();
    if (!opened)
        co_return util::fail(opened.error());
    FileAccess file(*opened, request.filename);
    if (subformat == "dynamic")
        co_return co_await write_dynamic(file, footer, sectors);
    auto done = co_await file.truncate(sectors * kVpcSector + kVpcFooterBytes);
    if (!done)
        co_return done;
    co_return co_await file.write_bytes(sectors * kVpcSector, footer.raw.data(), footer.raw.size());
}

} // namespace

const BlockDriver kVpcDriver = {
    .name = "vpc",
    .probe = probe,
    .open = open,
    .create = create,
    .open_options = kOpenOptions,
    .create_options = kCreateOptions,
};

} // namespace rhea::block
