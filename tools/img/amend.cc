// amend: changes options of an image that is there.
#include "tools/img/image.h"
#include "tools/img/progress.h"

namespace rhea::img {

Result<int> run_amend(Run& run) {
    auto given = format_options(run);
    if (!given) {
        return fail(given.error());
    }
    if (given->help) {
        const auto format = run.value("f");
        if (!format) {
            return fail("say whose options with -f FORMAT");
        }
        auto driver = block::find_driver(*format);
        if (!driver) {
            return fail(driver.error());
        }
        if (!(*driver)->amend) {
            return fail("images of the format {} cannot be amended", *format);
        }
        fmt::print("{}", describe_options(**driver, true));
        return 0;
    }
    if (auto done = run.need_operands(1, 1); !done) {
        return fail(done.error());
    }
    if (given->options.empty()) {
        return fail("nothing to amend; say what with -o ('-o help' lists the options)");
    }
    auto spec = image_spec(run, run.operands()[0], "f", "t");
    if (!spec) {
        return fail(spec.error());
    }
    spec->flags.for_resize = true;
    auto image = Image::open(run, *spec);
    if (!image) {
        return fail(image.error());
    }
    auto driver = block::find_driver(image->format());
    if (!driver) {
        return fail(driver.error());
    }
    if (!(*driver)->amend) {
        return fail("images of the format {} cannot be amended", image->format());
    }
    {
        constexpr std::uint64_t kParts = 10000;
        Progress progress(run.has("p") && !run.quiet(), kParts);
        auto amending = (*driver)->amend(image->node(), {given->options, run.has("force"), [&](double fraction) {
            progress.set(static_cast<std::uint64_t>(fraction * kParts));
        }});
        if (auto done = run.context().run(std::move(amending)); !done) {
            return fail(done.error());
        }
        progress.set(kParts);
    }
    if (auto done = image->close(); !done) {
        return fail(done.error());
    }
    return 0;
}

}  // namespace rhea::img
