// dd: copies a part of an image, with dd's operands.
#include "rhea/util/option_list.h"
#include "rhea/util/nearest_name.h"
#include "tools/img/copy.h"

namespace rhea::img {
namespace {

struct Operands {
    std::string input, output;
    std::uint64_t block_size = 512, skip = 0;
    std::optional<std::uint64_t> count;
};

Result<Operands> read_operands(const Run& run) {
    Operands operands;
    for (const std::string& word : run.operands()) {
        const std::size_t equals = word.find('=');
        const std::string key = word.substr(0, equals);
        const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
        if (key == "if") {
            operands.input = value;
        } else if (key == "of") {
            operands.output = value;
        } else if (key == "bs" || key == "count" || key == "skip") {
            auto number = util::parse_size(value);
            if (!number || (key == "bs" && (*number == 0 || *number > INT32_MAX))) {
                return fail("{}= takes a number (bs= from 1 to 2G), not '{}'", key, value);
            }
            if (key == "bs") {
                operands.block_size = *number;
            } else if (key == "skip") {
                operands.skip = *number;
            } else {
                operands.count = *number;
            }
        } else {
            static constexpr std::array<std::string_view, 5> kKnown{"bs", "count", "skip", "if", "of"};
            const auto nearest = util::nearest_name(key, kKnown);
            return fail("dd has no operand '{}'{}; it knows bs=, count=, skip=, if= and of=", word,
                        nearest ? fmt::format(" (did you mean {}=?)", *nearest) : "");
        }
    }
    if (operands.input.empty() || operands.output.empty()) {
        return fail("dd needs both if=INPUT and of=OUTPUT");
    }
    return operands;
}

}  // namespace

Result<int> run_dd(Run& run) {
    auto operands = read_operands(run);
    if (!operands) {
        return fail(operands.error());
    }
    const std::string format = run.value("O").value_or("raw");
    auto driver = block::find_driver(format);
    if (!driver) {
        return fail(driver.error());
    }
    auto spec = image_spec(run, operands->input);
    if (!spec) {
        return fail(spec.error());
    }
    spec->flags.read_only = true;
    auto input = Image::open(run, *spec);
    if (!input) {
        return fail(input.error());
    }
    const bool beyond = operands->skip > input->length() / operands->block_size;
    const std::uint64_t start = beyond ? input->length() : operands->skip * operands->block_size;
    if (beyond) {
        complain(fmt::format("warning: '{}' has {} bytes, so that skip={} leaves nothing", operands->input,
                             input->length(), operands->skip));
    }
    const std::uint64_t rest = input->length() - start;
    const bool bounded = operands->count && *operands->count <= rest / operands->block_size;
    const std::uint64_t length = bounded ? *operands->count * operands->block_size : rest;
    auto creating = block::create_image(run.context(), **driver, operands->output, length, {});
    if (auto done = run.context().run(std::move(creating)); !done) {
        return fail(done.error());
    }
    ImageSpec target_spec;
    target_spec.name = operands->output;
    target_spec.format = format;
    auto target = Image::open(run, target_spec);
    if (!target) {
        return fail(target.error());
    }
    CopyPlan plan;
    plan.sources = {&*input};
    plan.source_offset = start;
    plan.target = &*target;
    plan.length = length;
    plan.granularity = target->node().cluster_size();
    auto zero = reads_as_zero(run, *target);
    if (!zero) {
        return fail(zero.error());
    }
    plan.target_is_zero = *zero;
    {
        Progress progress(false, length);
        Copy copying(plan, progress);
        if (auto done = copying.run(run.context()); !done) {
            return fail(done.error());
        }
    }
    if (auto done = target->close(); !done) {
        return fail(done.error());
    }
    return 0;
}

}  // namespace rhea::img
