// bitmap: adds, removes, clears, switches and merges the dirty bitmaps that an image keeps. Also what convert --bitmaps does.
#include "tools/img/bitmap.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/img/image.h"

namespace rhea::img {
namespace {

using block::BitmapChange;
using Kind = BitmapChange::Kind;

struct Action {
    std::string_view option;
    Kind kind;
};
constexpr Action kActions[] = {{"add", Kind::kAdd},       {"remove", Kind::kRemove},   {"clear", Kind::kClear},
                               {"enable", Kind::kEnable}, {"disable", Kind::kDisable}, {"merge", Kind::kMerge}};

Result<void> check_choices(const Run& run, std::size_t actions) {
    if (actions == 0) {
        return fail("say what to do: --add, --remove, --clear, --enable, --disable or --merge SOURCE");
    }
    if (run.has("remove") && actions > 1) {
        return fail("--remove excludes all other actions");
    }
    if (run.has("enable") && run.has("disable")) {
        return fail("--enable and --disable exclude each other");
    }
    if (run.has("g") && !run.has("add")) {
        return fail("-g is for a new bitmap: it needs --add");
    }
    if (run.has("b") && !run.has("merge")) {
        return fail("-b names the image to merge from: it needs --merge");
    }
    if (run.has("F") && !run.has("b")) {
        return fail("-F is the format of -b's image: it needs -b");
    }
    return {};
}

Result<void> change(Run& run, Image& image, BitmapChange step) {
    auto driver = block::find_driver(image.format());
    if (!driver) {
        return fail(driver.error());
    }
    if (!(*driver)->change_bitmap) {
        return fail("images of the format {} keep no bitmaps", image.format());
    }
    auto changing = (*driver)->change_bitmap(image.node(), std::move(step));
    return run.context().run(std::move(changing));
}

}  // namespace

Result<int> run_bitmap(Run& run) {
    if (auto done = run.need_operands(2, 2); !done) {
        return fail(done.error());
    }
    std::vector<BitmapChange> steps;
    for (const auto& [key, value] : run.given()) {
        const auto action = std::ranges::find(kActions, key, &Action::option);
        if (action != std::end(kActions)) {
            BitmapChange step;
            step.kind = action->kind;
            step.name = run.operands()[1];
            step.source_name = value;
            steps.push_back(std::move(step));
        }
    }
    if (auto done = check_choices(run, steps.size()); !done) {
        return fail(done.error());
    }
    const auto granularity = run.size("g", 65536);
    if (!granularity) {
        return fail(granularity.error());
    }
    auto spec = image_spec(run, run.operands()[0]);
    if (!spec) {
        return fail(spec.error());
    }
    auto image = Image::open(run, *spec);
    if (!image) {
        return fail(image.error());
    }
    std::optional<Image> source;
    if (const auto name = run.value("b")) {
        ImageSpec from;
        from.name = *name;
        from.format = run.value("F");
        from.flags.read_only = true;
        auto opened = Image::open(run, from);
        if (!opened) {
            return fail(opened.error());
        }
        source.emplace(std::move(*opened));
    }
    for (BitmapChange& step : steps) {
        step.granularity = *granularity;
        step.source = source ? &source->node() : nullptr;
        if (auto done = change(run, *image, std::move(step)); !done) {
            return fail(done.error());
        }
    }
    if (auto closed = image->close(); !closed) {
        return fail(closed.error());
    }
    return 0;
}

Result<std::vector<StoredBitmap>> stored_bitmaps(Run& run, Image& image) {
    auto asking = image.node().info();
    auto info = run.context().run(std::move(asking));
    if (!info) {
        return fail(info.error());
    }
    std::vector<StoredBitmap> bitmaps;
    for (const auto& detail : info->details) {
        if (detail.key != "bitmaps") {
            continue;
        }
        const auto list = nlohmann::json::parse(detail.json, nullptr, false);
        if (list.is_discarded()) {
            return fail("the names of the bitmaps are no UTF-8 text");
        }
        for (const auto& one : list) {
            StoredBitmap bitmap{one.at("name").get<std::string>(), one.at("granularity").get<std::uint64_t>(), false, false};
            for (const auto& flag : one.at("flags")) {
                bitmap.enabled |= flag == "auto";
                bitmap.broken |= flag == "in-use";
            }
            bitmaps.push_back(std::move(bitmap));
        }
    }
    return bitmaps;
}

Result<void> copy_bitmaps(Run& run, Image& source, Image& target, const std::vector<StoredBitmap>& bitmaps) {
    for (const StoredBitmap& bitmap : bitmaps) {
        if (bitmap.broken) {
            complain(fmt::format("warning: bitmap '{}' is in use, so that it has gaps; it is left out", bitmap.name));
            continue;
        }
        BitmapChange step;
        step.name = bitmap.name;
        step.granularity = bitmap.granularity;
        step.source = &source.node();
        step.source_name = bitmap.name;
        for (const Kind kind : {Kind::kAdd, Kind::kMerge, Kind::kDisable}) {
            if (kind == Kind::kDisable && bitmap.enabled) {
                continue;  // a new one is enabled
            }
            step.kind = kind;
            if (auto done = change(run, target, step); !done) {
                return fail(done.error().within(fmt::format("copying bitmap '{}'", bitmap.name)));
            }
        }
    }
    return {};
}

}  // namespace rhea::img
