#include "rhea/block/backend.h"

#include <cerrno>
#include <ctime>

namespace rhea::block {
namespace {

using util::Error;
using util::fail;

std::uint64_t now_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

/// `node` and all below it, each once.
void collect(BlockNode &node, std::vector<BlockNode *> &all) {
    if (std::find(all.begin(), all.end(), &node) != all.end())
        return;
    all.push_back(&node);
    for (BlockNode *child : node.children())
        collect(*child, all);
}

} // namespace

/// Counts one request while it lives.
class BlockBackend::Request {
public:
    Request(BlockBackend &backend, BlockStats::Kind &kind, std::uint64_t bytes)
        : backend_(backend), kind_(kind), bytes_(bytes), begin_(now_ns()) {
        backend_.in_flight_.fetch_add(1, std::memory_order_relaxed);
    }
    ~Request() {
        if (backend_.in_flight_.fetch_sub(1, std::memory_order_relaxed) == 1)
            backend_.idle_.wake_all();
    }
    Request(const Request &) = delete;
    Request &operator=(const Request &) = delete;

    Result<void> refused(Result<void> why) {
        ++kind_.invalid;
        return why;
    }
    Result<void> done(Result<void> result) {
        if (result) {
            ++kind_.operations;
            kind_.bytes += bytes_;
            kind_.total_time_ns += now_ns() - begin_;
        } else {
            ++kind_.failed;
        }
        return result;
    }

private:
    BlockBackend &backend_;
    BlockStats::Kind &kind_;
    std::uint64_t bytes_, begin_;
};

BlockBackend::BlockBackend(std::string name, IoContext &context) : name_(std::move(name)), context_(&context) {}
BlockBackend::~BlockBackend() = default;

bool BlockBackend::read_only() const { return node_ && node_->read_only(); }

util::Failure BlockBackend::no_medium() const {
    return fail(Error("drive '{}' has no medium", name_).with_code(ENOMEDIUM));
}

Result<void> BlockBackend::check(std::uint64_t offset, std::uint64_t length, bool is_write) const {
    if (!node_)
        return no_medium();
    const std::uint64_t size = this->length();
    if (offset > size || length > size - offset)
        return fail(Error("drive '{}' ends at {}: {} bytes at {} are outside", name_, size, length, offset).with_code(EINVAL));
    if (is_write && node_->read_only())
        return fail(Error("drive '{}' is read-only", name_).with_code(EPERM));
    return {};
}

Task<Result<void>> BlockBackend::read(std::uint64_t offset, const IoVector &to) {
    if (alone_)
        co_await admitted();
    Request request(*this, stats_.read, to.size());
    if (auto valid = check(offset, to.size(), false); !valid)
        co_return request.refused(std::move(valid));
    if (to.empty())
        co_return Result<void>{};
    if (throttle_)
        co_await throttle_->pass(*context_, false, to.size());
    auto result = co_await node_->read(offset, to);
    co_return request.done(std::move(result));
}

Task<Result<void>> BlockBackend::write(std::uint64_t offset, const IoVector &from, unsigned flags) {
    if (alone_)
        co_await admitted();
    Request request(*this, stats_.write, from.size());
    if (auto valid = check(offset, from.size(), true); !valid)
        co_return request.refused(std::move(valid));
    if (from.empty())
        co_return Result<void>{};
    if (throttle_)
        co_await throttle_->pass(*context_, true, from.size());
    if (!write_cache_)
        flags |= kFua;
    const bool flush_behind = (flags & kFua) != 0 && !node_->has_fua();
    if (flush_behind)
        flags &= ~unsigned{kFua};
    Result<void> result;
    const DetectZeroes detect = node_->settings().detect_zeroes;
    if (detect != DetectZeroes::kOff && from.is_zero(0, from.size())) {
        const unsigned unmap = detect == DetectZeroes::kUnmap ? unsigned{kMayUnmap} : 0u;
        result = co_await node_->write_zeroes(offset, from.size(), flags | unmap);
    } else {
        result = co_await node_->write(offset, from, flags);
    }
    if (result && flush_behind)
        result = co_await node_->flush();
    stats_.write_highest_offset = std::max(stats_.write_highest_offset, offset + from.size());
    co_return request.done(std::move(result));
}

Task<Result<void>> BlockBackend::write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) {
    if (alone_)
        co_await admitted();
    Request request(*this, stats_.write, length);
    if (auto valid = check(offset, length, true); !valid)
        co_return request.refused(std::move(valid));
    if (length == 0)
        co_return Result<void>{};
    if (throttle_)
        co_await throttle_->pass(*context_, true, length);
    if (!node_->settings().unmap)
        flags &= ~unsigned{kMayUnmap};
    const bool flush_behind = (flags & kFua) != 0 || !write_cache_;
    auto result = co_await node_->write_zeroes(offset, length, flags & ~unsigned{kFua});
    if (result && flush_behind)
        result = co_await node_->flush();
    stats_.write_highest_offset = std::max(stats_.write_highest_offset, offset + length);
    co_return request.done(std::move(result));
}

Task<Result<void>> BlockBackend::discard(std::uint64_t offset, std::uint64_t length) {
    if (alone_)
        co_await admitted();
    Request request(*this, stats_.unmap, length);
    if (auto valid = check(offset, length, true); !valid)
        co_return request.refused(std::move(valid));
    Result<void> result;
    if (length > 0 && node_->settings().unmap)
        result = co_await node_->discard(offset, length);
    co_return request.done(std::move(result));
}

Task<Result<void>> BlockBackend::flush() {
    if (alone_)
        co_await admitted();
    Request request(*this, stats_.flush, 0);
    if (!node_)
        co_return request.refused(no_medium());
    Result<void> result;
    if (!node_->read_only())
        result = co_await node_->flush();
    co_return request.done(std::move(result));
}

// ---- errors ------------------------------------------------------------------------------------------------------

void BlockBackend::set_error_actions(ErrorAction on_read, ErrorAction on_write) {
    on_read_error_ = on_read;
    on_write_error_ = on_write;
}

ErrorAction BlockBackend::error_action(bool is_read, int error_code) {
    ErrorAction action = is_read ? on_read_error_ : on_write_error_;
    if (action == ErrorAction::kEnospc)
        action = error_code == ENOSPC ? ErrorAction::kStop : ErrorAction::kReport;
    if (action == ErrorAction::kStop) {
        io_status_.store(error_code, std::memory_order_relaxed);
        if (on_stop) {
            auto failure = io_error(error_code, fmt::format("drive '{}': a {} failed", name_, is_read ? "read" : "write"));
            on_stop(failure.value());
        }
    }
    return action;
}

// ---- life cycle --------------------------------------------------------------------------------------------------

Task<void> BlockBackend::idle() {
    if (throttle_)
        throttle_->set_open(true);
    while (in_flight() > 0) {
        co_await idle_.wait();
        co_await context_->schedule(); // who awaits the last request goes on first
    }
    if (throttle_)
        throttle_->set_open(false);
}

void BlockBackend::set_throttle_group(std::shared_ptr<ThrottleGroup> group) {
    auto change = [](BlockBackend &self, std::shared_ptr<ThrottleGroup> next) -> Task<void> {
        co_await self.idle();
        self.throttle_ = next ? std::make_unique<Throttle>(std::move(next)) : nullptr;
    };
    context_->run_from_other_thread(change(*this, std::move(group)));
}

void BlockBackend::drain() { context_->run_from_other_thread(idle()); }

BlockStats BlockBackend::copy_stats() {
    auto copy = [](BlockStats &stats) -> Task<BlockStats> { co_return stats; };
    return context_->run_from_other_thread(copy(stats_));
}

void BlockBackend::update_length() { length_.store(node_ ? node_->length() : 0, std::memory_order_relaxed); }

Task<void> BlockBackend::admitted() {
    while (alone_)
        co_await admission_.wait();
}

Result<void> BlockBackend::run_alone(Task<Result<void>> task) {
    auto alone = [](BlockBackend &self, Task<Result<void>> work) -> Task<Result<void>> {
        self.alone_ = true;
        co_await self.idle();
        auto done = co_await work;
        self.update_length();
        self.alone_ = false;
        self.admission_.wake_all();
        co_return done;
    };
    return context_->run_from_other_thread(alone(*this, std::move(task)));
}

Result<void> BlockBackend::exchange_node(std::shared_ptr<BlockNode> node, bool close_old) {
    auto change = [](BlockBackend &self, std::shared_ptr<BlockNode> next, bool close) -> Task<Result<void>> {
        std::shared_ptr<BlockNode> old = std::exchange(self.node_, std::move(next));
        if (!old)
            co_return Result<void>{};
        Result<void> done;
        if (!old->read_only())
            done = co_await old->flush();
        if (close) {
            auto closed = co_await old->close();
            if (done)
                done = std::move(closed);
        }
        co_return done;
    };
    return run_alone(change(*this, std::move(node), close_old));
}

Result<void> BlockBackend::resize(std::uint64_t length) {
    auto change = [](BlockBackend &self, std::uint64_t bytes) -> Task<Result<void>> {
        if (!self.node_)
            co_return self.no_medium();
        if (self.node_->read_only())
            co_return fail(Error("drive '{}' is read-only", self.name_).with_code(EPERM));
        co_return co_await self.node_->truncate(bytes, Preallocation::kOff);
    };
    auto done = run_alone(change(*this, length));
    if (done && on_resize)
        on_resize();
    return done;
}

Result<void> BlockBackend::set_context(IoContext &context) {
    if (&context == context_)
        return {};
    std::vector<BlockNode *> nodes;
    auto leave = [](BlockBackend &self, std::vector<BlockNode *> &all) -> Task<Result<void>> {
        co_await self.idle();
        if (self.node_)
            collect(*self.node_, all);
        for (BlockNode *node : all)
            if (auto left = node->leave_context(); !left)
                co_return left;
        co_return Result<void>{};
    };
    auto enter = [](std::vector<BlockNode *> &all) -> Task<void> {
        for (BlockNode *node : all)
            node->enter_context();
        co_return;
    };
    auto left = context_->run_from_other_thread(leave(*this, nodes));
    IoContext &target = left ? context : *context_;
    for (BlockNode *node : nodes)
        node->move_to_context(target);
    target.run_from_other_thread(enter(nodes)); // where moving failed: back to where they were
    context_ = &target;
    return left;
}

} // namespace rhea::block
