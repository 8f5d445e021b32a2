// resize: a larger or smaller disk.
#include "rhea/util/option_list.h"
#include "tools/img/image.h"

namespace rhea::img {
namespace {

Result<block::Preallocation> preallocation(const Run& run) {
    const std::string mode = run.value("preallocation").value_or("off");
    if (mode == "off") {
        return block::Preallocation::kOff;
    }
    if (mode == "metadata") {
        return block::Preallocation::kMetadata;
    }
    if (mode == "falloc") {
        return block::Preallocation::kFalloc;
    }
    if (mode == "full") {
        return block::Preallocation::kFull;
    }
    return fail("--preallocation takes off, metadata, falloc or full, not '{}'", mode);
}

}  // namespace

Result<int> run_resize(Run& run) {
    if (auto done = run.need_operands(2, 2); !done) {
        return fail(done.error());
    }
    const auto prepare = preallocation(run);
    if (!prepare) {
        return fail(prepare.error());
    }
    std::string_view text = run.operands()[1];
    const char sign = text.empty() ? '\0' : text.front();
    if (sign == '+' || sign == '-') {
        text.remove_prefix(1);
    }
    auto amount = util::parse_size(text);
    if (!amount) {
        return fail(amount.error());
    }
    auto spec = image_spec(run, run.operands()[0]);
    if (!spec) {
        return fail(spec.error());
    }
    spec->flags.for_resize = true;
    auto image = Image::open(run, *spec);
    if (!image) {
        return fail(image.error());
    }
    const std::uint64_t before = image->length();
    std::uint64_t after = *amount;
    if (sign == '+') {
        if (after > INT64_MAX - before) {
            return fail("{} bytes and {} more are more than an image can have", before, after);
        }
        after += before;
    } else if (sign == '-') {
        if (after >= before) {
            return fail("the image has {} bytes; it cannot lose {}", before, after);
        }
        after = before - after;
    }
    if (after < before && !run.has("shrink")) {
        return fail("the image would lose its last {}; say --shrink when that is meant, after making the file "
                    "system in it smaller", human_size(before - after));
    }
    if (after < before && *prepare != block::Preallocation::kOff) {
        return fail("--preallocation is for images that grow");
    }
    if (auto done = image->resize(after, *prepare); !done) {
        return fail(done.error());
    }
    if (auto done = image->close(); !done) {
        return fail(done.error());
    }
    run.say("Image resized.\n");
    return 0;
}

}  // namespace rhea::img
