// rebase: gives an image another backing file; its contents stay as they are unless -u says not to look.
#include <algorithm>

#include "tools/img/buffer.h"
#include "tools/img/image.h"
#include "tools/img/progress.h"

namespace rhea::img {
namespace {

using block::IoVector;
using block::Task;

constexpr std::uint64_t kChunk = 1u << 20;

/// Copies into `image` what its old backing chain has and the new one has not.
class Rebase {
  public:
    Rebase(Image& image, Image* fresh, Progress& progress) : image_(image), fresh_(fresh), progress_(progress) {}

    Task<Result<void>> all() {
        for (std::uint64_t offset = 0; offset < image_.length();) {
            auto own = co_await image_.node().block_status(offset, image_.length() - offset);
            if (!own) {
                co_return fail(own.error());
            }
            std::uint64_t length = own->length;
            if (!own->allocated) {
                length = std::min(length, kChunk - offset % kChunk);
                auto done = co_await piece(offset, length);
                if (!done) {
                    co_return done;
                }
            }
            offset += length;
            progress_.set(offset);
        }
        co_return Result<void>{};
    }

  private:
    /// Reads what the guest sees; zeroes behind the end of the new chain.
    Task<Result<void>> read(Image& from, Buffer& buffer, std::uint64_t offset, std::uint64_t length) {
        const std::uint64_t there = offset < from.length() ? std::min(length, from.length() - offset) : 0;
        std::fill_n(buffer.data() + there, length - there, std::uint8_t{0});
        if (there == 0) {
            co_return Result<void>{};
        }
        IoVector into(buffer.data(), there);
        co_return co_await from.disk().read(offset, into);
    }

    Task<Result<void>> piece(std::uint64_t offset, std::uint64_t length) {
        auto before = co_await read(image_, old_, offset, length);
        if (!before) {
            co_return before;
        }
        if (fresh_) {
            auto after = co_await read(*fresh_, new_, offset, length);
            if (!after) {
                co_return after;
            }
        } else {
            std::fill_n(new_.data(), length, std::uint8_t{0});
        }
        // Whole units, so that equal stretches stay with the new backing file.
        constexpr std::uint64_t kUnit = 4096;
        for (std::uint64_t at = 0; at < length;) {
            const auto differs = [&](std::uint64_t place) {
                return std::memcmp(old_.data() + place, new_.data() + place, std::min(kUnit, length - place)) != 0;
            };
            std::uint64_t end = at;
            while (end < length && differs(end)) {
                end = std::min(length, end + kUnit);
            }
            if (end > at) {
                IoVector from(old_.data() + at, end - at);
                auto done = co_await image_.disk().write(offset + at, from);
                if (!done) {
                    co_return done;
                }
            }
            at = std::min(length, end + kUnit);
        }
        co_return Result<void>{};
    }

    Image& image_;
    Image* fresh_;
    Progress& progress_;
    Buffer old_{kChunk}, new_{kChunk};
};

}  // namespace

Result<int> run_rebase(Run& run) {
    if (auto done = run.need_operands(1, 1); !done) {
        return fail(done.error());
    }
    const auto backing = run.value("b");
    if (!backing) {
        return fail("the new backing file is missing; name it with -b ('' for none)");
    }
    const std::string format = run.value("F").value_or("");
    if (!backing->empty() && format.empty()) {
        return fail("the format of the backing file '{}' is missing; say it with -F (guessing it would trust what a guest "
                    "wrote)", *backing);
    }
    if (!format.empty()) {
        // -u opens nothing, so that a wrong word would show only when the image is used.
        if (auto known = block::find_driver(format); !known) {
            return fail(known.error().within("-F"));
        }
    }
    auto spec = image_spec(run, run.operands()[0], "f", "t");
    if (!spec) {
        return fail(spec.error());
    }
    const bool unsafe = run.has("u");
    spec->flags.no_backing = unsafe;
    spec->flags.no_lock = false;  // -U is for the backing files, which are only read
    auto image = Image::open(run, *spec);
    if (!image) {
        return fail(image.error());
    }
    if (!unsafe) {
        std::optional<Image> fresh;
        if (!backing->empty()) {
            ImageSpec fresh_spec;
            const auto filename = image->filename();
            if (!filename) {
                return fail(filename.error());
            }
            fresh_spec.name = block::resolve_backing(*filename, *backing);
            fresh_spec.format = format;
            fresh_spec.cache = run.value("T").value_or("writeback");
            fresh_spec.flags.read_only = true;
            fresh_spec.flags.no_lock = run.has("force-share");
            auto opened = Image::open(run, fresh_spec);
            if (!opened) {
                return fail(opened.error().within("the new backing file"));
            }
            fresh.emplace(std::move(*opened));
        }
        Progress progress(run.has("p") && !run.quiet(), image->length());
        Rebase rebase(*image, fresh ? &*fresh : nullptr, progress);
        auto rebasing = rebase.all();
        if (auto done = run.context().run(std::move(rebasing)); !done) {
            return fail(done.error());
        }
        // What was copied is on stable storage before the header names another file.
        auto flushing = image->disk().flush();
        if (auto done = run.context().run(std::move(flushing)); !done) {
            return fail(done.error());
        }
    }
    auto changing = image->node().change_backing_file(*backing, format);
    if (auto done = run.context().run(std::move(changing)); !done) {
        return fail(done.error());
    }
    if (auto done = image->close(); !done) {
        return fail(done.error());
    }
    return 0;
}

}  // namespace rhea::img
