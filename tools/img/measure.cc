// measure: what a new image would take on the host.
#include <algorithm>

#include "rhea/util/option_list.h"
#include "tools/img/bitmap.h"
#include "tools/img/image.h"
#include "tools/img/text.h"

namespace rhea::img {
namespace {

/// The bytes of an image that hold data, counted in whole clusters of the new one.
Result<std::uint64_t> data_bytes(Run& run, Image& image, std::uint64_t cluster) {
    std::uint64_t clusters = 0, counted_to = 0;
    for (std::uint64_t offset = 0; offset < image.length();) {
        auto asking = map_range(image.node(), offset, image.length() - offset);
        auto mapped = run.context().run(std::move(asking));
        if (!mapped) {
            return fail(mapped.error());
        }
        const std::uint64_t end = offset + mapped->extent.length;
        if (!mapped->extent.zero) {
            const std::uint64_t first = std::max(counted_to, offset / cluster);
            const std::uint64_t last = (end + cluster - 1) / cluster;
            if (last > first) {
                clusters += last - first;
                counted_to = last;
            }
        }
        offset = end;
    }
    return clusters * cluster;
}

/// What copies of the bitmaps would add to a qcow2 image: the directory (24 bytes, the name, to a multiple of 8), and for each
/// its bits and the table of their clusters (qcow2 specification, section Bitmaps).
std::uint64_t bitmap_bytes(const std::vector<StoredBitmap>& bitmaps, std::uint64_t size, std::uint64_t cluster) {
    const auto clusters = [&](std::uint64_t bytes) { return (bytes + cluster - 1) / cluster; };
    std::uint64_t all = 0, directory = 0;
    for (const StoredBitmap& bitmap : bitmaps) {
        const std::uint64_t bits = (size + bitmap.granularity - 1) / bitmap.granularity;
        const std::uint64_t stored = clusters((bits + 7) / 8);
        all += stored + clusters(stored * 8);
        directory += (24 + bitmap.name.size() + 7) / 8 * 8;
    }
    return (all + clusters(directory)) * cluster;
}

}  // namespace

Result<int> run_measure(Run& run) {
    if (auto done = run.need_operands(0, 1); !done) {
        return fail(done.error());
    }
    const auto json = run.json();
    if (!json) {
        return fail(json.error());
    }
    auto given = format_options(run);
    if (!given) {
        return fail(given.error());
    }
    const std::string format = run.value("O").value_or("raw");
    auto driver = block::find_driver(format);
    if (!driver) {
        return fail(driver.error());
    }
    if (given->help) {
        fmt::print("{}", describe_options(**driver));
        return 0;
    }
    if (!(*driver)->measure) {
        return fail("the size of images of the format {} cannot be told beforehand", format);
    }
    if (run.has("size") == !run.operands().empty()) {
        return fail("give either --size N or an image");
    }
    std::uint64_t size = 0, allocated = 0;
    std::optional<std::uint64_t> bitmaps;
    if (run.has("size")) {
        const auto asked = run.size("size", 0);
        if (!asked) {
            return fail(asked.error());
        }
        size = *asked;
    } else {
        auto spec = image_spec(run, run.operands()[0]);
        if (!spec) {
            return fail(spec.error());
        }
        spec->flags.read_only = true;
        auto image = Image::open(run, *spec);
        if (!image) {
            return fail(image.error());
        }
        if (const auto snapshot = run.value("l")) {
            if (auto done = show_snapshot(run, *image, *snapshot); !done) {
                return fail(done.error());
            }
        }
        size = image->length();
        block::NodeOptions options = given->options;
        auto cluster = options.take_size("cluster_size", 64 << 10);
        if (!cluster || *cluster < 512) {
            return fail("-o cluster_size: {}", cluster ? "it is at least 512" : cluster.error().message());
        }
        auto bytes = data_bytes(run, *image, *cluster);
        if (!bytes) {
            return fail(bytes.error());
        }
        allocated = *bytes;
        auto source = block::find_driver(image->format());
        if (source && (*source)->change_bitmap && (*driver)->change_bitmap) {
            auto stored = stored_bitmaps(run, *image);
            if (!stored) {
                return fail(stored.error());
            }
            bitmaps = bitmap_bytes(*stored, size, *cluster);
        }
    }
    auto measured = (*driver)->measure(size, allocated, given->options);
    if (!measured) {
        return fail(measured.error());
    }
    if (*json) {
        fmt::print("{}", measure_json(measured->first, measured->second, bitmaps));
    } else {
        fmt::print("required size: {}\nfully allocated size: {}\n", measured->first, measured->second);
        if (bitmaps) {
            fmt::print("bitmaps size: {}\n", *bitmaps);
        }
    }
    return 0;
}

}  // namespace rhea::img
