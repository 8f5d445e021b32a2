// check: is an image's metadata consistent; repairs.
#include <cerrno>

#include "tools/img/image.h"
#include "tools/img/text.h"

namespace rhea::img {
namespace {

// qemu-img's exit codes.
constexpr int kClean = 0, kCorrupt = 2, kLeaks = 3, kNoChecks = 63;

void print_result(const Run& run, const block::CheckResult& found) {
    for (const std::string& message : found.messages) {
        run.say("{}\n", message);
    }
    if (found.leaks_fixed || found.corruptions_fixed) {
        run.say("The following inconsistencies were found and repaired:\n\n    {} leaked clusters\n    {} corruptions\n\n",
                found.leaks_fixed, found.corruptions_fixed);
    }
    if (!found.corruptions && !found.leaks && !found.check_errors) {
        run.say("No errors were found on the image.\n");
    } else {
        if (found.corruptions) {
            run.say("\n{} errors were found on the image.\nWhat the guest reads may be wrong, and writing "
                    "may make it worse.\n", found.corruptions);
        }
        if (found.leaks) {
            run.say("\n{} leaked clusters were found on the image.\nThey take space in the file; the disk's data "
                    "is whole.\n", found.leaks);
        }
        if (found.check_errors) {
            run.say("\n{} internal errors have occurred during the check.\n", found.check_errors);
        }
    }
    if (found.total_clusters && found.allocated_clusters) {
        const auto percent = [](std::uint64_t part, std::uint64_t whole) {
            return whole ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0.0;
        };
        run.say("{}/{} = {:.2f}% allocated, {:.2f}% fragmented, {:.2f}% compressed clusters\n", found.allocated_clusters,
                found.total_clusters, percent(found.allocated_clusters, found.total_clusters),
                percent(found.fragmented_clusters, found.allocated_clusters),
                percent(found.compressed_clusters, found.allocated_clusters));
    }
    if (found.image_end_offset) {
        run.say("Image end offset: {}\n", found.image_end_offset);
    }
}

}  // namespace

Result<int> run_check(Run& run) {
    if (auto done = run.need_operands(1, 1); !done) {
        return fail(done.error());
    }
    const auto json = run.json();
    if (!json) {
        return fail(json.error());
    }
    block::CheckFix fix = block::CheckFix::kNone;
    if (const auto mode = run.value("r")) {
        if (*mode != "leaks" && *mode != "all") {
            return fail("-r takes leaks or all, not '{}'", *mode);
        }
        fix = *mode == "all" ? block::CheckFix::kAll : block::CheckFix::kLeaks;
    }
    auto spec = image_spec(run, run.operands()[0], "f", "T");
    if (!spec) {
        return fail(spec.error());
    }
    spec->flags.check = true;
    spec->flags.read_only = fix == block::CheckFix::kNone;
    spec->flags.no_backing = true;
    auto image = Image::open(run, *spec);
    if (!image) {
        return fail(image.error());
    }
    block::CheckResult total;
    // A repair can bring further inconsistencies to light, so the last word has a check that found nothing to repair.
    for (bool again = true; again;) {
        auto checking = image->node().check(fix);
        auto found = run.context().run(std::move(checking));
        if (!found) {
            if (found.error().code() == ENOTSUP) {
                complain("images of this format have no metadata that check could look at");
                return kNoChecks;
            }
            return fail(found.error());
        }
        again = found->corruptions_fixed || found->leaks_fixed;
        found->corruptions_fixed += total.corruptions_fixed;
        found->leaks_fixed += total.leaks_fixed;
        found->messages.insert(found->messages.begin(), total.messages.begin(), total.messages.end());
        total = std::move(*found);
        if (fix == block::CheckFix::kNone) {
            break;
        }
    }
    if (auto closed = image->close(); !closed) {
        return fail(closed.error());
    }
    if (*json) {
        run.say("{}", check_json(total, spec->name, spec->format.value_or(image->format())));
    } else {
        print_result(run, total);
    }
    if (total.check_errors) {
        return 1;
    }
    return total.corruptions ? kCorrupt : total.leaks ? kLeaks : kClean;
}

}  // namespace rhea::img
