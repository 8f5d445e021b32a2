// info: what an image is.
#include <set>

#include "tools/img/image.h"
#include "tools/img/text.h"

namespace rhea::img {

Result<int> run_info(Run& run) {
    if (auto done = run.need_operands(1, 1); !done) {
        return fail(done.error());
    }
    const auto json = run.json();
    if (!json) {
        return fail(json.error());
    }
    const bool chain = run.has("backing-chain");
    std::vector<block::NodeInfo> infos;
    std::set<std::string> seen;
    auto spec = image_spec(run, run.operands()[0]);
    if (!spec) {
        return fail(spec.error());
    }
    // Each image is opened by itself, so that a chain with a broken link tells as much as it can.
    for (;;) {
        spec->flags.read_only = spec->flags.no_io = spec->flags.no_backing = true;
        if (!seen.insert(spec->name).second) {
            return fail("the backing chain loops: '{}' is in it twice", spec->name);
        }
        auto image = Image::open(run, *spec);
        if (!image) {
            return fail(image.error());
        }
        auto asking = image->node().info();
        auto info = run.context().run(std::move(asking));
        if (!info) {
            return fail(info.error().within(spec->name));
        }
        infos.push_back(*info);
        if (!chain || info->backing_filename.empty()) {
            break;
        }
        ImageSpec next;
        next.name = info->full_backing_filename.empty() ? block::resolve_backing(spec->name, info->backing_filename)
                                                        : info->full_backing_filename;
        if (!info->backing_format.empty()) {
            next.format = info->backing_format;
        }
        next.flags.no_lock = spec->flags.no_lock;
        *spec = next;
    }
    if (*json) {
        fmt::print("{}", info_json(infos, chain));
        return 0;
    }
    for (std::size_t i = 0; i < infos.size(); ++i) {
        fmt::print("{}{}", i ? "\n" : "", info_text(infos[i]));
    }
    return 0;
}

}  // namespace rhea::img
