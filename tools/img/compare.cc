// compare: do two images hold the same bytes.
#include <algorithm>
#include <cstring>

#include "tools/img/buffer.h"
#include "tools/img/image.h"
#include "tools/img/progress.h"

namespace rhea::img {
namespace {

using block::Task;

// qemu-img's exit codes.
constexpr int kEqual = 0, kDifferent = 1, kCannotOpen = 2, kNoStatus = 3, kNoRead = 4;
constexpr std::uint64_t kChunk = 2u << 20;

struct Outcome {
    int status = kEqual;
    std::string message;
};

/// Where two buffers first differ; `length` when nowhere.
std::uint64_t first_difference(const Buffer& a, const Buffer& b, std::uint64_t length) {
    if (std::memcmp(a.data(), b.data(), length) == 0) {
        return length;
    }
    return static_cast<std::uint64_t>(std::mismatch(a.data(), a.data() + length, b.data()).first - a.data());
}

class Comparison {
  public:
    Comparison(Run& run, Image& first, Image& second, Progress& progress)
        : strict_(run.has("s")), first_(first), second_(second), progress_(progress) {}

    Task<Outcome> all() {
        const std::uint64_t common = std::min(first_.length(), second_.length());
        for (std::uint64_t offset = 0; offset < common;) {
            auto step = co_await piece(offset, common - offset);
            if (step.status != kEqual) {
                co_return step;
            }
            offset += advanced_;
            progress_.set(offset);
        }
        Image& longer = first_.length() > second_.length() ? first_ : second_;
        for (std::uint64_t offset = common; offset < longer.length();) {
            auto step = co_await tail(longer, offset);
            if (step.status != kEqual) {
                co_return step;
            }
            offset += advanced_;
            progress_.set(offset);
        }
        co_return Outcome{};
    }

  private:
    Task<Outcome> piece(std::uint64_t offset, std::uint64_t length) {
        auto one = co_await map_range(first_.node(), offset, length);
        if (!one) {
            co_return Outcome{kNoStatus, one.error().message()};
        }
        auto two = co_await map_range(second_.node(), offset, std::min(length, one->extent.length));
        if (!two) {
            co_return Outcome{kNoStatus, two.error().message()};
        }
        advanced_ = std::min(one->extent.length, two->extent.length);
        if (strict_ && one->present != two->present) {
            co_return Outcome{kDifferent, fmt::format("Strict mode: Offset {} block status mismatch!", offset)};
        }
        if (one->extent.zero && two->extent.zero) {
            co_return Outcome{};
        }
        advanced_ = std::min(advanced_, kChunk);
        if (one->extent.zero || two->extent.zero) {
            co_return co_await must_be_zero(one->extent.zero ? second_ : first_, offset);
        }
        block::IoVector into_a(a_.data(), advanced_), into_b(b_.data(), advanced_);
        auto read_a = co_await first_.disk().read(offset, into_a);
        if (!read_a) {
            co_return Outcome{kNoRead, read_a.error().message()};
        }
        auto read_b = co_await second_.disk().read(offset, into_b);
        if (!read_b) {
            co_return Outcome{kNoRead, read_b.error().message()};
        }
        const std::uint64_t at = first_difference(a_, b_, advanced_);
        if (at < advanced_) {
            co_return Outcome{kDifferent, fmt::format("Content mismatch at offset {}!", offset + at)};
        }
        co_return Outcome{};
    }

    /// What lies behind the end of the shorter image.
    Task<Outcome> tail(Image& image, std::uint64_t offset) {
        auto mapped = co_await map_range(image.node(), offset, image.length() - offset);
        if (!mapped) {
            co_return Outcome{kNoStatus, mapped.error().message()};
        }
        advanced_ = mapped->extent.length;
        if (mapped->extent.zero) {
            co_return Outcome{};
        }
        advanced_ = std::min(advanced_, kChunk);
        co_return co_await must_be_zero(image, offset);
    }

    /// Compares `advanced_` bytes with zeroes.
    Task<Outcome> must_be_zero(Image& image, std::uint64_t offset) {
        block::IoVector into(a_.data(), advanced_);
        auto read = co_await image.disk().read(offset, into);
        if (!read) {
            co_return Outcome{kNoRead, read.error().message()};
        }
        const auto* end = a_.data() + advanced_;
        const auto* found = std::find_if(static_cast<const std::uint8_t*>(a_.data()), end,
                                         [](std::uint8_t byte) { return byte != 0; });
        if (found != end) {
            co_return Outcome{kDifferent, fmt::format("Content mismatch at offset {}!",
                                                      offset + static_cast<std::uint64_t>(found - a_.data()))};
        }
        co_return Outcome{};
    }

    bool strict_;
    Image &first_, &second_;
    Progress& progress_;
    Buffer a_{kChunk}, b_{kChunk};
    std::uint64_t advanced_ = 0;
};

}  // namespace

Result<int> run_compare(Run& run) {
    if (auto done = run.need_operands(2, 2); !done) {
        complain(done.error().message());
        return kCannotOpen;
    }
    auto open = [&](std::size_t index, std::string_view format) -> Result<Image> {
        auto spec = image_spec(run, run.operands()[index], format, "T");
        if (!spec) {
            return fail(spec.error());
        }
        spec->flags.read_only = true;
        return Image::open(run, *spec);
    };
    auto first = open(0, "f");
    if (!first) {
        complain(first.error().message());
        return kCannotOpen;
    }
    auto second = open(1, "F");
    if (!second) {
        complain(second.error().message());
        return kCannotOpen;
    }
    if (first->length() != second->length()) {
        if (run.has("s")) {
            run.say("Strict mode: Image size mismatch!\n");
            return kDifferent;
        }
        run.say("Warning: Image size mismatch!\n");
    }
    Outcome outcome;
    {
        Progress progress(run.has("p"), std::max(first->length(), second->length()));
        Comparison comparison(run, *first, *second, progress);
        auto comparing = comparison.all();
        outcome = run.context().run(std::move(comparing));
    }
    if (outcome.status == kEqual) {
        run.say("Images are identical.\n");
    } else if (outcome.status == kDifferent) {
        run.say("{}\n", outcome.message);
    } else {
        complain(outcome.message);
    }
    return outcome.status;
}

}  // namespace rhea::img
