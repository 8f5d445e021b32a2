// snapshot: lists, makes, applies and deletes internal snapshots.
#include <sys/time.h>

#include "tools/img/image.h"
#include "tools/img/text.h"

namespace rhea::img {

Result<int> run_snapshot(Run& run) {
    if (auto done = run.need_operands(1, 1); !done) {
        return fail(done.error());
    }
    const int actions = run.has("a") + run.has("c") + run.has("d") + run.has("l");
    if (actions > 1) {
        return fail("-a, -c, -d and -l exclude each other");
    }
    const bool list = actions == 0 || run.has("l");
    auto spec = image_spec(run, run.operands()[0]);
    if (!spec) {
        return fail(spec.error());
    }
    spec->flags.read_only = list;
    auto image = Image::open(run, *spec);
    if (!image) {
        return fail(image.error());
    }
    block::BlockNode& node = image->node();
    Result<void> done;
    if (list) {
        auto asking = node.info();
        auto info = run.context().run(std::move(asking));
        if (!info) {
            return fail(info.error());
        }
        fmt::print("{}", snapshot_table(*info));
        return 0;
    }
    if (const auto name = run.value("c")) {
        timeval now{};
        gettimeofday(&now, nullptr);
        block::NodeInfo::Snapshot snapshot;
        snapshot.name = *name;
        snapshot.date_sec = static_cast<std::uint32_t>(now.tv_sec);
        snapshot.date_nsec = static_cast<std::uint32_t>(now.tv_usec) * 1000;
        auto task = node.snapshot_create(std::move(snapshot));
        done = run.context().run(std::move(task));
    } else if (const auto applied = run.value("a")) {
        auto task = node.snapshot_apply(*applied);
        done = run.context().run(std::move(task));
    } else {
        auto task = node.snapshot_delete(*run.value("d"));
        done = run.context().run(std::move(task));
    }
    if (!done) {
        return fail(done.error().within(spec->name));
    }
    if (auto closed = image->close(); !closed) {
        return fail(closed.error());
    }
    return 0;
}

}  // namespace rhea::img
