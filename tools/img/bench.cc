// bench: how fast an image is read or written with many requests in flight.
#include <algorithm>
#include <chrono>

#include "rhea/block/co_sync.h"
#include "tools/img/buffer.h"
#include "tools/img/image.h"

namespace rhea::img {
namespace {

using block::Task;

struct Load {
    std::uint64_t count = 75000, depth = 64, size = 4096, step = 0, offset = 0, flush_interval = 0;
    bool write = false, no_drain = false;
    std::uint8_t pattern = 0;
};

class Bench {
  public:
    Bench(Image& image, const Load& load) : image_(image), load_(load), next_(load.offset) {}

    Result<void> run(block::IoContext& context) {
        const auto all = [](Bench& bench, block::IoContext& place) -> Task<void> {
            block::CoQueue ended;
            bench.active_ = bench.load_.depth;
            const auto one = [](Bench& self, block::CoQueue& queue) -> Task<void> {
                co_await self.worker();
                if (--self.active_ == 0) {
                    queue.wake_all();
                }
            };
            for (std::uint64_t i = 0; i < bench.load_.depth; ++i) {
                place.spawn(one(bench, ended));
            }
            while (bench.active_) {
                co_await ended.wait();
            }
        };
        auto running = all(*this, context);
        context.run(std::move(running));
        return result_;
    }

  private:
    Task<void> worker() {
        Buffer buffer(load_.size);
        std::fill_n(buffer.data(), load_.size, load_.pattern);
        while (started_ < load_.count && result_) {
            ++started_;
            const std::uint64_t offset = next_;
            next_ += load_.step;
            if (image_.length() <= next_ + load_.size) {
                next_ = load_.offset;
            }
            block::IoVector bytes(buffer.data(), load_.size);
            Result<void> done;
            if (load_.write) {
                done = co_await image_.disk().write(offset, bytes);
            } else {
                done = co_await image_.disk().read(offset, bytes);
            }
            if (done && load_.flush_interval && ++since_flush_ >= load_.flush_interval) {
                since_flush_ = 0;
                done = co_await flush();
            }
            if (!done && result_) {
                result_ = done;
            }
        }
    }

    /// Without --no-drain nothing else starts until the flush is done.
    Task<Result<void>> flush() {
        if (load_.no_drain) {
            co_return co_await image_.disk().flush();
        }
        co_await flushing_.lock();
        auto done = co_await image_.disk().flush();
        flushing_.unlock();
        co_return done;
    }

    Image& image_;
    Load load_;
    std::uint64_t next_, started_ = 0, since_flush_ = 0, active_ = 0;
    block::CoMutex flushing_;
    Result<void> result_;
};

Result<Load> read_load(const Run& run) {
    Load load;
    const auto count = run.number("c", load.count, 1, UINT32_MAX);
    const auto depth = run.number("d", load.depth, 1, 4096);
    const auto pattern = run.number("pattern", 0, 0, 255);
    const auto interval = run.number("flush-interval", 0, 0, UINT32_MAX);
    const auto offset = run.size("o", 0);
    const auto size = run.size("s", load.size);
    const auto step = run.size("S", 0);
    for (const auto* value : {&count, &depth, &pattern, &interval, &offset, &size, &step}) {
        if (!*value) {
            return fail(value->error());
        }
    }
    if (*size == 0 || *size > INT32_MAX) {
        return fail("-s takes a size from 1 to 2G");
    }
    load.count = *count;
    load.depth = *depth;
    load.size = *size;
    load.step = *step ? *step : *size;
    load.offset = *offset;
    load.flush_interval = *interval;
    load.write = run.has("w");
    load.no_drain = run.has("no-drain");
    load.pattern = static_cast<std::uint8_t>(*pattern);
    if (!load.write && load.flush_interval) {
        return fail("--flush-interval is for writes: it needs -w");
    }
    if (load.flush_interval && load.flush_interval < load.depth) {
        return fail("--flush-interval must be at least the depth (-d {})", load.depth);
    }
    return load;
}

}  // namespace

Result<int> run_bench(Run& run) {
    if (auto done = run.need_operands(1, 1); !done) {
        return fail(done.error());
    }
    const auto load = read_load(run);
    if (!load) {
        return fail(load.error());
    }
    auto spec = image_spec(run, run.operands()[0], "f", "t");
    if (!spec) {
        return fail(spec.error());
    }
    if (run.has("n")) {
        return fail("-n (native AIO) is chosen with --image-opts: …,file.aio=native");
    }
    spec->flags.read_only = !load->write;
    auto image = Image::open(run, *spec);
    if (!image) {
        return fail(image.error());
    }
    if (image->length() < load->size || load->offset > image->length() - load->size) {
        return fail("'{}' has {} bytes: no request of {} at {} fits", spec->name, image->length(), load->size,
                    load->offset);
    }
    run.say("Sending {} {} requests, {} bytes each, {} in parallel (starting at offset {}, step size {})\n", load->count,
            load->write ? "write" : "read", load->size, load->depth, load->offset, load->step);
    if (load->flush_interval) {
        run.say("Sending flush every {}{} requests\n", load->no_drain ? "" : "draining ", load->flush_interval);
    }
    Bench bench(*image, *load);
    const auto before = std::chrono::steady_clock::now();
    if (auto done = bench.run(run.context()); !done) {
        return fail(done.error());
    }
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - before;
    run.say("Run completed in {:.3f} seconds.\n", taken.count());
    if (auto done = image->close(); !done) {
        return fail(done.error());
    }
    return 0;
}

}  // namespace rhea::img
