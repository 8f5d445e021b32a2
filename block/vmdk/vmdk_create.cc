#include "block/vmdk/vmdk_create.h"

#include <algorithm>
#include <cerrno>

#include "block/format/bytes.h"
#include "block/format/finish_options.h"
#include "block/format/uuid.h"
#include "block/vmdk/vmdk_descriptor.h"
#include "block/vmdk/vmdk_header.h"
#include "block/vmdk/vmdk_node.h"

namespace rhea::block {

namespace {

using NodePtr = std::shared_ptr<BlockNode>;

constexpr std::uint64_t kSplitBytes = std::uint64_t{2} << 30;
/// What 32-bit sector numbers reach.
constexpr std::uint64_t kMaxSparseBytes = (std::uint64_t{1} << 32) * kVmdkSector;

struct Plan {
    std::string subformat;
    VmdkDescriptor descriptor;
    VmdkDescriptorSettings settings;
    std::uint32_t flags = 0; ///< of sparse extents
    bool flat = false, split = false;
    bool own_descriptor = false; ///< the descriptor is a file of its own
};

util::Failure refuse(std::string sentence) { return util::fail(util::Error(std::move(sentence)).with_code(EINVAL)); }

bool one_of(std::string_view name, std::initializer_list<std::string_view> names) {
    return std::ranges::find(names, name) != names.end();
}

/// "folder/disk.vmdk": the folder with its slash, "disk" and ".vmdk".
struct NameParts {
    std::string folder, stem, extension;
};
NameParts split_name(std::string name) {
    if (name.starts_with("file:"))
        name = name.substr(5);
    NameParts parts;
    const auto slash = name.rfind('/');
    parts.folder = slash == std::string::npos ? "" : name.substr(0, slash + 1);
    parts.stem = name.substr(parts.folder.size());
    if (const auto dot = parts.stem.rfind('.'); dot != std::string::npos) {
        parts.extension = parts.stem.substr(dot);
        parts.stem.resize(dot);
    }
    return parts;
}

Result<Plan> plan_image(CreateRequest &request) {
    Plan plan;
    NodeOptions &options = request.options;
    plan.subformat = options.take("subformat").value_or("monolithicSparse");
    if (!one_of(plan.subformat, {"monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
                                 "streamOptimized"}))
        return refuse(fmt::format("subformat={} is not known; it may be monolithicSparse, monolithicFlat, "
                                  "twoGbMaxExtentSparse, twoGbMaxExtentFlat or streamOptimized",
                                  plan.subformat));
    plan.flat = one_of(plan.subformat, {"monolithicFlat", "twoGbMaxExtentFlat"});
    plan.split = plan.subformat.starts_with("twoGbMaxExtent");
    plan.own_descriptor = plan.flat || plan.split;
    if (plan.subformat == "streamOptimized")
        plan.flags |= kVmdkCompressed | kVmdkMarkers;

    const std::string adapter = options.take("adapter_type").value_or("ide");
    if (!one_of(adapter, {"ide", "lsilogic", "buslogic", "legacyESX"}))
        return refuse(fmt::format("adapter_type={} is not known; it may be ide, lsilogic, buslogic or legacyESX", adapter));
    plan.settings.adapter_type = adapter;
    auto compat6 = options.take_bool("compat6", false);
    auto zeroed_grain = options.take_bool("zeroed_grain", false);
    for (const auto *flag : {&compat6, &zeroed_grain})
        if (!*flag)
            return util::fail(flag->error());
    const auto hardware = options.take("hwversion");
    if (*compat6 && hardware)
        return refuse("compat6=on sets the hardware version itself; leave hwversion= out");
    plan.settings.hardware_version = *compat6 ? "6" : hardware.value_or("4");
    plan.settings.tools_version = options.take("toolsversion").value_or(plan.settings.tools_version);
    if (*zeroed_grain && plan.flat)
        return refuse("zeroed_grain=on is for sparse VMDK images; a flat one has no grains");
    if (*zeroed_grain)
        plan.flags |= kVmdkZeroGrain;

    plan.settings.size = round_up(request.size, kVmdkSector);
    if (!plan.flat && !plan.split && plan.settings.size > kMaxSparseBytes)
        return refuse(fmt::format("{}: a sparse VMDK extent can have at most 2 TiB", request.filename));
    plan.descriptor.create_type = plan.subformat;
    plan.descriptor.cid = random_number() & 0x7fffffff;
    plan.descriptor.parent_hint = options.take("backing_file").value_or("");
    const std::string format = options.take("backing_fmt").value_or("vmdk");
    if (format != "vmdk")
        return refuse(fmt::format("backing_fmt={}: the backing file of a VMDK image is a VMDK image, too", format));
    if (plan.flat && !plan.descriptor.parent_hint.empty())
        return refuse("flat VMDK images cannot have a backing file; use subformat=monolithicSparse");
    if (plan.descriptor.parent_hint.find_first_of("\"\n\r") != std::string::npos)
        return refuse("the backing file's name has a character that the descriptor cannot hold");
    return plan;
}

/// The parent's CID, for the descriptor.
Task<Result<std::uint32_t>> parent_cid(CreateRequest &request, const std::string &hint) {
    NodeOptions options;
    OpenFlags flags;
    flags.read_only = true;
    flags.no_backing = true;
    auto opening = open_image(request.context, resolve_backing(request.filename, hint), std::move(options), flags);
    auto parent = co_await opening;
    if (!parent)
        co_return util::fail(parent.error());
    const auto *node = dynamic_cast<const VmdkNode *>(parent->get());
    if (!node)
        co_return refuse(fmt::format("backing file '{}' is a {} image; that of a VMDK image has to be a VMDK image, too", hint,
                                     (*parent)->driver()));
    co_return node->descriptor().cid;
}

/// Header, directories and empty grain tables.
Task<Result<void>> write_sparse(FileAccess &file, std::uint64_t bytes, std::uint32_t flags) {
    const VmdkHeader header = VmdkHeader::plan(bytes / kVmdkSector, flags);
    auto done = co_await file.truncate(header.grain_offset * kVmdkSector);
    if (!done)
        co_return done;
    const std::uint64_t gd_sectors = divide_up(header.gd_entries() * 4, kVmdkSector);
    for (const std::uint64_t at : {header.rgd_offset, header.gd_offset}) {
        std::vector<std::uint8_t> directory(gd_sectors * kVmdkSector);
        for (std::uint64_t i = 0; i < header.gd_entries(); ++i)
            store_le32(&directory[i * 4], static_cast<std::uint32_t>(at + gd_sectors + i * header.gt_sectors()));
        done = co_await file.write_bytes(at * kVmdkSector, directory.data(), directory.size());
        if (!done)
            co_return done;
    }
    const auto raw = header.encode();
    co_return co_await file.write_bytes(0, raw.data(), raw.size());
}

/// An extent in a file of its own, beside the descriptor.
Task<Result<void>> create_extent(CreateRequest &request, const Plan &plan, std::string path, std::uint64_t bytes) {
    auto driver = find_driver("file");
    if (!driver)
        co_return util::fail(driver.error());
    NodeOptions create_options;
    auto creating = create_image(request.context, **driver, path, plan.flat ? bytes : 0, std::move(create_options));
    auto created = co_await creating;
    if (!created || plan.flat)
        co_return created;
    NodeOptions options;
    options.set("driver", "file");
    OpenFlags flags;
    auto opening = open_image(request.context, path, std::move(options), flags);
    auto opened = co_await opening;
    if (!opened)
        co_return util::fail(opened.error());
    FileAccess file(*opened, path);
    auto written = co_await write_sparse(file, bytes, plan.flags);
    if (!written)
        co_return written;
    co_return co_await (*opened)->close();
}

Task<Result<void>> create_extents(CreateRequest &request, Plan &plan) {
    const NameParts name = split_name(request.filename);
    const std::uint64_t limit = plan.split ? kSplitBytes : plan.settings.size;
    unsigned number = 0;
    for (std::uint64_t at = 0; at < plan.settings.size || number == 0;) {
        const std::uint64_t bytes = std::min(plan.settings.size - at, limit);
        ++number;
        const std::string mark = plan.split ? fmt::format("-{}{:03}", plan.flat ? 'f' : 's', number) : "-flat";
        VmdkExtentLine line{"RW", plan.flat ? "FLAT" : "SPARSE", name.stem + mark + name.extension, bytes / kVmdkSector, 0};
        auto created = co_await create_extent(request, plan, name.folder + line.filename, bytes);
        if (!created)
            co_return created;
        plan.descriptor.extents.push_back(std::move(line));
        at += bytes;
    }
    co_return Result<void>{};
}

constexpr OptionDescription kOptions[] = {
    {"adapter_type", "str", "Disk controller that the descriptor names (ide, lsilogic, buslogic, legacyESX)", "ide"},
    {"backing_file", "str", "The backing file, which has what this image does not hold", ""},
    {"backing_fmt", "str", "The backing file's format, which can only be vmdk", ""},
    {"compat6", "bool (on/off)", "Virtual hardware of version 6, in place of hwversion=", "off"},
    {"hwversion", "str", "Version of the virtual hardware that the descriptor names", "4"},
    {"size", "size", "Bytes of the disk that the guest sees", ""},
    {"subformat", "str",
     "How the disk is kept: one file or files of 2 GB, sparse or flat (monolithicSparse, monolithicFlat, "
     "twoGbMaxExtentSparse, twoGbMaxExtentFlat), or compressed (streamOptimized)",
     "monolithicSparse"},
    {"toolsversion", "str", "Version of the guest's tools that the descriptor names", "2147483647"},
    {"zeroed_grain", "bool (on/off)", "Let an entry of a grain table say that its grain is zero", "off"},
};

} // namespace

const std::span<const OptionDescription> kVmdkCreateOptions = kOptions;

Task<Result<void>> create_vmdk(CreateRequest request) {
    auto planned = plan_image(request);
    if (!planned)
        co_return util::fail(planned.error());
    Plan &plan = *planned;
    if (auto known = finish_options(request.options, kOptions); !known)
        co_return known;
    if (!plan.descriptor.parent_hint.empty()) {
        auto cid = co_await parent_cid(request, plan.descriptor.parent_hint);
        if (!cid)
            co_return util::fail(cid.error());
        plan.descriptor.parent_cid = *cid;
    }
    Result<void> done;
    if (plan.own_descriptor) {
        done = co_await create_extents(request, plan);
    } else {
        const NameParts name = split_name(request.filename);
        plan.descriptor.extents.push_back(
            {"RW", "SPARSE", name.stem + name.extension, plan.settings.size / kVmdkSector, 0});
    }
    if (!done)
        co_return done;
    const std::string text = vmdk_descriptor_text(plan.descriptor, plan.settings);
    auto opened = co_await request.create_file();
    if (!opened)
        co_return util::fail(opened.error());
    FileAccess file(*opened, request.filename);
    if (plan.own_descriptor)
        co_return co_await file.write_bytes(0, text.data(), text.size());
    done = co_await write_sparse(file, plan.settings.size, plan.flags);
    if (!done)
        co_return done;
    const VmdkHeader header = VmdkHeader::plan(plan.settings.size / kVmdkSector, plan.flags);
    if (text.size() > header.descriptor_size * kVmdkSector)
        co_return file.fail(EINVAL, "the descriptor of {} bytes does not fit into {}", text.size(),
                            header.descriptor_size * kVmdkSector);
    co_return co_await file.write_bytes(header.descriptor_offset * kVmdkSector, text.data(), text.size());
}

} // namespace rhea::block
