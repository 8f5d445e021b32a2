// create: a new image.
#include "tools/img/image.h"
#include "rhea/util/option_list.h"

namespace rhea::img {
namespace {

/// The size of a new overlay that was given none: its backing image's.
Result<std::uint64_t> backing_size(Run& run, const std::string& image, const std::string& backing,
                                   std::optional<std::string> format) {
    ImageSpec spec;
    spec.name = block::resolve_backing(image, backing);
    spec.format = std::move(format);
    spec.flags.read_only = true;
    spec.flags.no_io = true;
    auto opened = Image::open(run, spec);
    if (!opened) {
        return fail(opened.error().within("the backing file"));
    }
    return opened->length();
}

}  // namespace

Result<int> run_create(Run& run) {
    const std::string format = run.value("f").value_or("raw");
    auto driver = block::find_driver(format);
    if (!driver) {
        return fail(driver.error());
    }
    auto given = format_options(run);
    if (!given) {
        return fail(given.error());
    }
    if (given->help) {
        fmt::print("{}", describe_options(**driver));
        return 0;
    }
    if (auto done = run.need_operands(1, 2); !done) {
        return fail(done.error());
    }
    const std::string& name = run.operands()[0];
    block::NodeOptions options = given->options;
    if (const auto backing = run.value("b")) {
        options.set("backing_file", *backing);
    }
    if (const auto backing_format = run.value("F")) {
        options.set("backing_fmt", *backing_format);
    }
    std::optional<std::string> size_text = options.take("size");
    if (run.operands().size() == 2) {
        if (size_text) {
            return fail("the size is there twice: -o size={} and {}", *size_text, run.operands()[1]);
        }
        size_text = run.operands()[1];
    }
    const auto& values = options.values();
    const auto value_of = [&](const char* key) -> std::optional<std::string> {
        const auto found = values.find(key);
        return found == values.end() ? std::nullopt : std::optional(found->second);
    };
    const auto backing = value_of("backing_file");
    const auto backing_format = value_of("backing_fmt");
    if (backing && !(*driver)->supports_backing) {
        return fail("the format {} has no backing files; qcow2 has", format);
    }
    if (!backing && backing_format) {
        return fail("-F {} says a backing file's format, but there is no backing file; name it with -b", *backing_format);
    }
    if (backing && !backing_format) {
        return fail("the format of the backing file '{}' is missing; say it with -F (guessing it would trust what a "
                    "guest wrote)", *backing);
    }
    std::uint64_t size = 0;
    if (size_text) {
        auto parsed = util::parse_size(*size_text);
        if (!parsed) {
            return fail(parsed.error());
        }
        size = *parsed;
        if (size > INT64_MAX) {
            return fail("{} bytes are more than an image can have; at most {} (8E less one) are possible", size, INT64_MAX);
        }
        if (backing && !run.has("u")) {
            // Opened all the same, so that a wrong name shows now and not at the first start.
            if (auto known = backing_size(run, name, *backing, backing_format); !known) {
                return fail(known.error());
            }
        }
    } else if (backing && !run.has("u")) {
        auto known = backing_size(run, name, *backing, backing_format);
        if (!known) {
            return fail(known.error());
        }
        size = *known;
    } else {
        return fail("the size is missing; write 'rhea-img create -f {} {} 10G'", format, name);
    }
    std::string shown = fmt::format("Formatting '{}', fmt={} size={}", name, format, size);
    for (const auto& [key, value] : values) {
        shown += fmt::format(" {}={}", key, value);
    }
    run.say("{}\n", shown);
    auto creating = block::create_image(run.context(), **driver, name, size, std::move(options));
    if (auto made = run.context().run(std::move(creating)); !made) {
        return fail(made.error());
    }
    return 0;
}

}  // namespace rhea::img
