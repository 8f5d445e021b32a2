// Filter `throttle`: the node below, slowed down to the limits of a group (-object throttle-group).
#include <cerrno>

#include "block/throttle/throttle_node.h"
#include "rhea/block/throttle.h"

namespace rhea::block {
namespace {

using util::Error;
using util::fail;

class ThrottleNode final : public BlockNode {
public:
    ThrottleNode(IoContext &context, std::shared_ptr<BlockNode> file, std::shared_ptr<ThrottleGroup> group)
        : BlockNode(context, "throttle"), file_(std::move(file)), throttle_(std::move(group)) {}

    std::uint64_t length() const override { return file_->length(); }
    std::uint32_t request_alignment() const override { return file_->request_alignment(); }
    bool has_fua() const override { return file_->has_fua(); }
    std::uint32_t cluster_size() const override { return file_->cluster_size(); }
    BlockNode *file() const override { return file_.get(); }
    bool is_filter() const override { return true; }

    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override {
        co_await throttle_.pass(context(), false, to.size());
        co_return co_await file_->read(offset, to);
    }
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags) override {
        co_await throttle_.pass(context(), true, from.size());
        co_return co_await file_->write(offset, from, flags);
    }
    Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) override {
        co_await throttle_.pass(context(), true, length);
        co_return co_await file_->write_zeroes(offset, length, flags);
    }
    Task<Result<void>> discard(std::uint64_t offset, std::uint64_t length) override {
        co_await throttle_.pass(context(), true, length);
        co_return co_await file_->discard(offset, length);
    }
    Task<Result<void>> flush() override { return file_->flush(); }
    Task<Result<Extent>> block_status(std::uint64_t offset, std::uint64_t length) override { return file_->block_status(offset, length); }
    Task<Result<void>> truncate(std::uint64_t length, Preallocation preallocation) override {
        return file_->truncate(length, preallocation);
    }
    Task<Result<void>> close() override { return close_below(*file_); }

private:
    std::shared_ptr<BlockNode> file_;
    Throttle throttle_;
};

Task<Result<std::shared_ptr<BlockNode>>> open_throttle(OpenRequest request) {
    const auto name = request.options.take("throttle-group");
    if (auto done = request.options.finish({"throttle-group"}); !done)
        co_return fail(done.error());
    if (!name)
        co_return fail(Error("driver 'throttle' needs throttle-group=").with_code(EINVAL));
    auto group = request.flags.names ? request.flags.names->find_throttle_group(*name) : nullptr;
    if (!group)
        co_return fail(Error("there is no throttle group '{}'; -object throttle-group,id={} makes one", *name, *name).with_code(ENOENT));
    co_return std::make_shared<ThrottleNode>(request.context, request.file, std::move(group));
}

constexpr std::array<OptionDescription, 1> kOpenOptions{{
    {"throttle-group", "str", "id of the throttle-group object whose limits hold", ""},
}};

} // namespace

const BlockDriver kThrottleDriver = {
    .name = "throttle",
    .open = open_throttle,
    .open_options = kOpenOptions,
};

} // namespace rhea::block
