#include "tools/img/copy.h"

#include <algorithm>
#include <chrono>

namespace rhea::img {
namespace {

using block::IoVector;
using block::Task;

/// With --salvage a bad range is read in pieces of this size.
constexpr std::uint64_t kSalvageUnit = 512;

std::int64_t monotonic_ns() {
    return std::chrono::steady_clock::now().time_since_epoch().count();
}

/// The length of the run at `bytes` that is all zero or all not, where zeroes shorter than `least` count as data. Runs
/// of zeroes begin and end at multiples of `unit` from `base`.
std::uint64_t run_length(const std::uint8_t* bytes, std::uint64_t length, std::uint64_t base, std::uint64_t unit,
                         std::uint64_t least, bool& zero) {
    const auto step_at = [&](std::uint64_t at) { return std::min(unit - (base + at) % unit, length - at); };
    std::uint64_t at = step_at(0);
    zero = all_zero(bytes, at);
    std::uint64_t zeroes = 0;
    while (at < length) {
        const std::uint64_t step = step_at(at);
        const bool here = all_zero(bytes + at, step);
        if (zero) {
            if (!here) {
                break;
            }
        } else {
            zeroes = here ? zeroes + step : 0;
            if (zeroes >= least) {
                return at + step - zeroes;
            }
        }
        at += step;
    }
    if (zero && at < length && at < least) {
        // Too short to be left out: data, together with what follows.
        zero = false;
        std::uint64_t follows = run_length(bytes + at, length - at, base + at, unit, least, zero);
        zero = false;
        return at + follows;
    }
    return at;
}

}  // namespace

Result<void> Copy::run(block::IoContext& context) {
    rate_start_ = monotonic_ns();
    const auto all = [](Copy& copy, block::IoContext& place) -> Task<void> {
        block::CoQueue done;
        copy.active_ = copy.plan_.workers;
        const auto one = [](Copy& self, block::CoQueue& finished) -> Task<void> {
            co_await self.worker();
            if (--self.active_ == 0) {
                finished.wake_all();
            }
        };
        for (unsigned i = 0; i < copy.plan_.workers; ++i) {
            place.spawn(one(copy, done));
        }
        while (copy.active_) {
            co_await done.wait();
        }
    };
    auto copying = all(*this, context);
    context.run(std::move(copying));
    return result_;
}

Task<void> Copy::worker() {
    Buffer buffer(std::max(kCopyChunk, plan_.granularity));
    while (!failed_) {
        auto done = co_await work(buffer);
        if (!done) {
            if (!failed_) {
                failed_ = true;
                result_ = fail(done.error());
            }
            turns_.wake_all();
            co_return;
        }
        if (taken_ >= plan_.length) {
            co_return;
        }
    }
}

Task<Result<void>> Copy::work(const Buffer& buffer) {
    co_await taking_.lock();
    auto taken = co_await take();
    taking_.unlock();
    if (!taken) {
        co_return fail(taken.error());
    }
    const Piece piece = *taken;
    if (piece.length == 0) {
        co_return Result<void>{};
    }
    const bool copied = co_await copied_by_host(piece);
    if (piece.kind == Piece::Kind::kData && !copied) {
        auto done = co_await read(piece, buffer);
        if (!done) {
            co_return done;
        }
    }
    const bool in_order = !plan_.out_of_order && !plan_.compressed;
    while (in_order && written_ != piece.offset && !failed_) {
        co_await turns_.wait();
    }
    if (failed_) {
        co_return Result<void>{};
    }
    Result<void> done;
    if (piece.kind == Piece::Kind::kData) {
        if (plan_.rate) {
            co_await keep_to_rate(piece.length);
        }
        // No ?: here: gcc 12 runs both arms when they await.
        if (copied) {
            done = Result<void>{};
        } else if (plan_.compressed) {
            done = co_await write_compressed(piece, buffer);
        } else {
            done = co_await write(piece, buffer);
        }
    } else if (piece.kind == Piece::Kind::kZero) {
        done = co_await write_zeroes(piece.offset, piece.length);
    }
    written_ = in_order ? piece.offset + piece.length : written_ + piece.length;
    progress_.advance(piece.length);
    turns_.wake_all();
    co_return done;
}

Image& Copy::source_at(std::uint64_t offset, std::uint64_t& inside, std::uint64_t& left) const {
    inside = offset + plan_.source_offset;
    for (Image* image : plan_.sources) {
        if (inside < image->length() || image == plan_.sources.back()) {
            left = image->length() - std::min(image->length(), inside);
            return *image;
        }
        inside -= image->length();
    }
    return *plan_.sources.back();
}

Task<Result<Copy::Piece>> Copy::take() {
    Piece piece;
    piece.offset = taken_;
    if (taken_ >= plan_.length) {
        co_return piece;
    }
    if (taken_ >= known_.offset + known_.length || known_.length == 0) {
        std::uint64_t inside = 0, left = 0;
        Image& image = source_at(taken_, inside, left);
        known_.offset = taken_;
        known_.file = nullptr;
        known_.length = std::min(left, plan_.length - taken_);
        if (known_.length == 0) {
            // The source ends before the copy does: zeroes follow.
            known_.length = plan_.length - taken_;
            known_.kind = Piece::Kind::kZero;
        } else {
            auto mapped = co_await map_range(image.node(), inside, known_.length, plan_.stop_at);
            if (!mapped) {
                if (!plan_.salvage) {
                    co_return fail(mapped.error());
                }
                known_.length = std::min(known_.length, kCopyChunk);
                known_.kind = Piece::Kind::kData;
            } else {
                known_.length = std::min(known_.length, mapped->extent.length);
                known_.kind = plan_.stop_at && mapped->node == plan_.stop_at ? Piece::Kind::kSkip
                              : mapped->extent.zero                      ? Piece::Kind::kZero
                                                                         : Piece::Kind::kData;
                known_.file = mapped->extent.host_offset && !mapped->extent.compressed ? mapped->extent.file : nullptr;
                known_.file_offset = mapped->extent.host_offset.value_or(0);
            }
        }
    }
    piece.kind = known_.kind;
    piece.length = known_.offset + known_.length - taken_;
    piece.file = known_.file;
    piece.file_offset = known_.file_offset + (taken_ - known_.offset);
    if (plan_.compressed && piece.kind != Piece::Kind::kSkip && plan_.granularity) {
        // Compressed clusters are written whole, whatever they are made of.
        const std::uint64_t cluster_end = (taken_ / plan_.granularity + 1) * plan_.granularity;
        const bool partial = taken_ + piece.length < std::min(cluster_end, plan_.length);
        if (piece.kind == Piece::Kind::kData || partial) {
            piece.kind = Piece::Kind::kData;
            piece.length = std::min(cluster_end, plan_.length) - taken_;
        } else {
            piece.length = (taken_ + piece.length) / plan_.granularity * plan_.granularity - taken_;
            if (known_.offset + known_.length >= plan_.length) {
                piece.length = plan_.length - taken_;
            }
        }
    } else if (piece.kind == Piece::Kind::kData) {
        // Up to a multiple of the chunk, so that clusters are filled whole.
        piece.length = std::min(piece.length, kCopyChunk - taken_ % kCopyChunk);
    }
    taken_ += piece.length;
    co_return piece;
}

Task<bool> Copy::copied_by_host(const Piece& piece) {
    if (!plan_.offload || !piece.file || plan_.compressed) {
        co_return false;
    }
    block::BlockNode& target = plan_.target->node();
    const bool done = co_await target.copy_from(target_place(piece.offset), piece.length, *piece.file, piece.file_offset);
    plan_.offload = plan_.offload && done;  // what the host cannot once it cannot later
    co_return done;
}

Task<Result<void>> Copy::read(const Piece& piece, const Buffer& buffer) {
    for (std::uint64_t done = 0; done < piece.length;) {
        std::uint64_t inside = 0, left = 0;
        Image& image = source_at(piece.offset + done, inside, left);
        const std::uint64_t length = left ? std::min(left, piece.length - done) : piece.length - done;
        if (left == 0) {
            std::fill_n(buffer.data() + done, length, std::uint8_t{0});
            done += length;
            continue;
        }
        IoVector into(buffer.data() + done, length);
        auto result = co_await image.disk().read(inside, into);
        if (!result) {
            if (!plan_.salvage) {
                co_return fail(result.error().within(fmt::format("reading at offset {}", inside)));
            }
            result = co_await read_salvaging(image, inside, into);
        }
        done += length;
    }
    co_return Result<void>{};
}

Task<Result<void>> Copy::read_salvaging(Image& image, std::uint64_t offset, const IoVector& into) {
    for (std::uint64_t at = 0; at < into.size(); at += kSalvageUnit) {
        const std::uint64_t length = std::min(kSalvageUnit, into.size() - at);
        IoVector part = into.slice(at, length);
        auto result = co_await image.disk().read(offset + at, part);
        if (!result) {
            part.fill(0, 0, length);
            complain(fmt::format("warning: cannot read {} bytes at offset {}: {}; they are zero in the copy", length,
                                 offset + at, result.error().message()));
            unreadable_ += length;
        }
    }
    co_return Result<void>{};
}

Task<Result<void>> Copy::write(const Piece& piece, const Buffer& buffer) {
    for (std::uint64_t at = 0; at < piece.length;) {
        bool zero = false;
        std::uint64_t length = piece.length - at;
        if (plan_.sparse_size) {
            // Zeroes count in units of what a target can leave out, at most -S and at least a sector.
            const std::uint64_t unit = std::clamp<std::uint64_t>(plan_.sparse_size, 512, 4096);
            length = run_length(buffer.data() + at, piece.length - at, target_place(piece.offset + at), unit,
                                plan_.sparse_size, zero);
        }
        Result<void> done;
        if (zero) {
            done = co_await write_zeroes(piece.offset + at, length);
        } else {
            IoVector from(buffer.data() + at, length);
            done = co_await plan_.target->disk().write(target_place(piece.offset + at), from);
        }
        if (!done) {
            co_return fail(done.error().within(fmt::format("writing at offset {}", target_place(piece.offset + at))));
        }
        at += length;
    }
    co_return Result<void>{};
}

Task<Result<void>> Copy::write_compressed(const Piece& piece, const Buffer& buffer) {
    if (plan_.sparse_size && all_zero(buffer.data(), piece.length)) {
        co_return co_await write_zeroes(piece.offset, piece.length);
    }
    IoVector from(buffer.data(), piece.length);
    auto done = co_await plan_.target->disk().write(target_place(piece.offset), from, block::kCompressed);
    if (!done) {
        co_return fail(done.error().within(fmt::format("writing at offset {}", target_place(piece.offset))));
    }
    co_return done;
}

Task<Result<void>> Copy::write_zeroes(std::uint64_t offset, std::uint64_t length) {
    if (plan_.target_is_zero && plan_.sparse_size) {
        co_return Result<void>{};
    }
    const unsigned flags = plan_.sparse_size ? block::kMayUnmap : block::kNoFlags;
    if (plan_.sparse_size) {
        co_return co_await plan_.target->disk().write_zeroes(target_place(offset), length, flags);
    }
    // -S 0: every byte is to be allocated, so zeroes are written as data.
    Buffer zeroes(std::min(length, kCopyChunk));
    std::fill_n(zeroes.data(), zeroes.size(), std::uint8_t{0});
    for (std::uint64_t at = 0; at < length;) {
        const std::uint64_t part = std::min<std::uint64_t>(zeroes.size(), length - at);
        IoVector from(zeroes.data(), part);
        auto done = co_await plan_.target->disk().write(target_place(offset + at), from);
        if (!done) {
            co_return done;
        }
        at += part;
    }
    co_return Result<void>{};
}

Task<void> Copy::keep_to_rate(std::uint64_t bytes) {
    rate_bytes_ += bytes;
    const auto due = static_cast<std::int64_t>(static_cast<double>(rate_bytes_) / static_cast<double>(plan_.rate) * 1e9);
    const std::int64_t early = rate_start_ + due - monotonic_ns();
    if (early > 0) {
        co_await plan_.target->node().context().sleep(early);
    }
}

Result<bool> reads_as_zero(Run& run, Image& image) {
    for (std::uint64_t offset = 0; offset < image.length();) {
        auto asking = map_range(image.node(), offset, image.length() - offset);
        auto mapped = run.context().run(std::move(asking));
        if (!mapped) {
            return fail(mapped.error());
        }
        if (!mapped->extent.zero) {
            return false;
        }
        offset += mapped->extent.length;
    }
    return true;
}

}  // namespace rhea::img
