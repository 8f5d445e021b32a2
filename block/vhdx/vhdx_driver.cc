// Opening and creating Hyper-V disk images.
#include <algorithm>
#include <bit>
#include <cerrno>

#include "block/format/bytes.h"
#include "block/format/open_loaded.h"
#include "block/vhdx/vhdx.h"
#include "block/vhdx/vhdx_node.h"

namespace rhea::block {

namespace {

constexpr OptionDescription kCreateOptions[] = {
    {"block_size", "size", "Bytes of a block: a power of two from 1M to 256M, or 0: as the disk's size suggests", "0"},
    {"block_state_zero", "bool (on/off)",
     "Mark blocks without data as zero (on) or as not present (off)",
     "on"},
    {"log_size", "size", "Bytes of the log: a multiple of 1M", "1048576"},
    {"size", "size", "Bytes of the disk that the guest sees, up to 64T", ""},
    {"subformat", "str", "Blocks get their space when they are written (dynamic) or at once (fixed)", "dynamic"},
};

int probe(std::span<const std::uint8_t> head, std::string_view) {
    return head.size() >= kVhdxIdentifier.size() &&
                   std::equal(kVhdxIdentifier.begin(), kVhdxIdentifier.end(), head.begin())
               ? 100
               : 0;
}

/// Where everything of a new image lies.
struct Plan {
    VhdxHeader header;
    VhdxRegions regions;
    VhdxMetadata metadata;
    bool fixed = false, zero_state = true;
    std::uint64_t end = 0; ///< of the metadata
};

/// Larger disks have larger blocks, so that the table stays small.
std::uint32_t usual_block_size(std::uint64_t size) {
    constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
    const unsigned mib = size > 32 * 1024 * kGiB ? 64 : size > 100 * kGiB ? 32 : size > kGiB ? 16 : 8;
    return mib * kVhdxMiB;
}

util::Failure refuse(std::string sentence) { return util::fail(util::Error(std::move(sentence)).with_code(EINVAL)); }

Result<Plan> plan(CreateRequest &request) {
    Plan plan;
    auto log_size = request.options.take_size("log_size", kVhdxMiB);
    auto block_size = request.options.take_size("block_size", 0);
    auto zero_state = request.options.take_bool("block_state_zero", true);
    for (const auto *size : {&log_size, &block_size})
        if (!*size)
            return util::fail(size->error());
    if (!zero_state)
        return util::fail(zero_state.error());
    const std::string subformat = request.options.take("subformat").value_or("dynamic");
    if (subformat != "dynamic" && subformat != "fixed")
        return refuse(fmt::format("subformat={} is not known; a VHDX image is 'dynamic' or 'fixed'", subformat));
    if (*log_size < kVhdxMiB || *log_size % kVhdxMiB != 0 || *log_size > UINT32_MAX)
        return refuse(fmt::format("log_size={} is not 1 MiB or a multiple of it below 4 GiB", *log_size));
    if (*block_size != 0 && (!std::has_single_bit(*block_size) || *block_size < kVhdxMiB || *block_size > 256 * kVhdxMiB))
        return refuse(fmt::format("block_size={} is not a power of two from 1 to 256 MiB", *block_size));
    if (request.size > kVhdxMaxSize)
        return refuse(fmt::format("{}: a VHDX image can have at most 64 TiB", request.filename));

    plan.fixed = subformat == "fixed";
    plan.zero_state = *zero_state;
    plan.metadata.disk_size = round_up(request.size, plan.metadata.logical_sector);
    plan.metadata.block_size =
        *block_size ? static_cast<std::uint32_t>(*block_size) : usual_block_size(plan.metadata.disk_size);
    plan.metadata.leave_allocated = plan.fixed;
    plan.header.file_guid = random_uuid(false);
    plan.header.data_guid = random_uuid(false);
    plan.header.log_offset = kVhdxMiB;
    plan.header.log_length = static_cast<std::uint32_t>(*log_size);
    const std::uint64_t behind_log = kVhdxMiB + *log_size;
    const std::uint64_t bat_bytes = std::max(round_up(plan.metadata.bat_entries() * 8, kVhdxMiB), kVhdxMiB);
    plan.regions.metadata = {behind_log, kVhdxMiB};
    plan.regions.bat = {behind_log + kVhdxMiB, static_cast<std::uint32_t>(bat_bytes)};
    plan.end = plan.regions.bat.end();
    return plan;
}

/// The BAT: blocks behind each other in fixed images, else none that is there.
Task<Result<void>> write_bat(FileAccess &file, const Plan &plan) {
    const VhdxMetadata &metadata = plan.metadata;
    if (!plan.fixed && !plan.zero_state)
        co_return Result<void>{}; // all zeroes: not present
    std::uint64_t block = 0;
    auto writing = file.write_table(plan.regions.bat.offset, metadata.bat_entries(), 8, [&](std::uint8_t *at, std::uint64_t entry) {
        const bool bitmap = (entry + 1) % (metadata.chunk_ratio() + 1) == 0;
        std::uint64_t value = 0;
        if (!bitmap && plan.fixed)
            value = vhdx_entry(VhdxBlockState::kFullyPresent, plan.end + block * metadata.block_size);
        else if (!bitmap)
            value = vhdx_entry(VhdxBlockState::kZero, 0);
        block += !bitmap;
        store_le64(at, value);
    });
    co_return co_await writing;
}

Task<Result<void>> write_image(FileAccess &file, Plan plan) {
    std::uint64_t length = plan.end;
    if (plan.fixed)
        length += plan.metadata.block_count() * plan.metadata.block_size;
    auto done = co_await file.truncate(length);
    if (!done)
        co_return done;
    for (const std::uint64_t at : kVhdxHeaderAt) {
        ++plan.header.sequence;
        const auto header = plan.header.encode();
        done = co_await file.write_bytes(at, header.data(), header.size());
        if (!done)
            co_return done;
    }
    const auto regions = plan.regions.encode();
    for (const std::uint64_t at : kVhdxRegionTableAt) {
        done = co_await file.write_bytes(at, regions.data(), regions.size());
        if (!done)
            co_return done;
    }
    const auto metadata = plan.metadata.encode();
    done = co_await file.write_bytes(plan.regions.metadata.offset, metadata.data(), metadata.size());
    if (!done)
        co_return done;
    done = co_await write_bat(file, plan);
    if (!done)
        co_return done;
    // The identifier, with the creator's name in UTF-16, last: half an image is none.
    std::vector<std::uint8_t> identifier(kVhdxIdentifier.begin(), kVhdxIdentifier.end());
    for (const char letter : std::string_view("Rhea")) {
        identifier.push_back(static_cast<std::uint8_t>(letter));
        identifier.push_back(0);
    }
    co_return co_await file.write_bytes(0, identifier.data(), identifier.size());
}

Task<Result<void>> create(CreateRequest request) {
    auto planned = plan(request);
    if (!planned)
        co_return util::fail(planned.error());
    if (auto known = finish_options(request.options, kCreateOptions); !known)
        co_return known;
    auto opened = co_await request.create_file();
    if (!opened)
        co_return util::fail(opened.error());
    FileAccess file(*opened, request.filename);
    co_return co_await write_image(file, *planned);
}

} // namespace

const BlockDriver kVhdxDriver = {
    .name = "vhdx",
    .probe = probe,
    .open = open_loaded<VhdxNode>,
    .create = create,
    .create_options = kCreateOptions,
};

} // namespace rhea::block
