#include "block/qcow2/check.h"

#include <cerrno>

#include "block/qcow2/node.h"

namespace rhea::block::qcow2 {

namespace {
constexpr std::size_t kMaxMessages = 10000;
/// More clusters than any file has that was not made to use up memory.
constexpr std::uint64_t kMaxClusters = 1ull << 33;
} // namespace

void Checker::add_message(std::string message, std::uint64_t &counter) {
    ++counter;
    if (result_.messages.size() < kMaxMessages)
        result_.messages.push_back(std::move(message));
    else if (result_.messages.size() == kMaxMessages)
        result_.messages.push_back("further findings are counted, but not listed");
}

void Checker::count(std::uint64_t offset, std::uint64_t bytes, const char *what) {
    if (bytes == 0)
        return;
    const std::uint64_t first = offset >> g_.cluster_bits, last = (offset + bytes - 1) >> g_.cluster_bits;
    if (last < first || last >= counted_.size()) {
        corruption(fmt::format("ERROR {} at {:#x} ({} bytes) lies behind the end of the file at {:#x}", what, offset, bytes, image_.file.length()), false);
        return;
    }
    for (std::uint64_t cluster = first; cluster <= last; ++cluster)
        counted_.add(cluster);
}

Task<Result<CheckResult>> Checker::run() {
    const std::uint64_t clusters = g_.clusters(image_.file.length());
    const bool wide = g_.refcount_order > 4;
    if (clusters > kMaxClusters || !counted_.resize(clusters, wide) || !stored_.resize(clusters, wide))
        co_return util::fail(util::Error("{}: there is not enough memory to count {} clusters", image_.filename(), clusters).with_code(ENOMEM));
    result_.total_clusters = g_.clusters(image_.header.size);
    auto done = co_await load_stored();
    if (done)
        done = co_await walk();
    if (!done)
        co_return util::fail(done.error());
    walk_refcounts();
    compare();
    result_.image_end_offset = (highest_ + 1) << g_.cluster_bits;
    if (fix_ != CheckFix::kNone) {
        done = co_await repair();
        if (!done)
            co_return util::fail(done.error());
    }
    co_return std::move(result_);
}

Task<Result<CheckResult>> Qcow2Node::check(CheckFix fix) {
    Image &image = *image_;
    if (fix != CheckFix::kNone && !image.writable)
        co_return util::fail(util::Error("{}: the image is opened read-only and cannot be repaired", image.filename()).with_code(EPERM));
    co_await image.gate.close();
    const GateClosed closed(image.gate);
    if (image.writable && image.write_prepared()) {
        auto done = co_await image.settle();
        if (!done)
            co_return util::fail(done.error());
    }
    Checker checker(image, fix);
    auto result = co_await checker.run();
    image.l2.forget_all();
    if (!result || fix == CheckFix::kNone)
        co_return result;
    if (result->check_errors == 0 && result->corruptions == result->corruptions_fixed) {
        auto done = co_await image.set_incompatible(kCorrupt, false);
        if (done && fix == CheckFix::kAll)
            done = co_await image.set_incompatible(kDirty, false);
        if (!done)
            co_return util::fail(done.error());
    }
    co_return result;
}

} // namespace rhea::block::qcow2
