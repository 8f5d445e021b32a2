// Filter `throttle`: the node below, slowed down to the limits of a group (-object throttle-group).
#include <cerrno>

#include "block/core/filter_node.h"
#include "block/throttle/throttle_node.h"
#include "rhea/block/throttle.h"

namespace rhea::block {
namespace {

using util::Error;
using util::fail;

class ThrottleNode final : public FilterNode {
public:
    ThrottleNode(IoContext &context, std::shared_ptr<BlockNode> file, std::shared_ptr<ThrottleGroup> group)
        : FilterNode(context, "throttle", std::move(file)), throttle_(std::move(group)) {}

    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override {
        co_await throttle_.pass(context(), false, to.size());
        co_return co_await file()->read(offset, to);
    }
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags) override {
        co_await throttle_.pass(context(), true, from.size());
        co_return co_await file()->write(offset, from, flags);
    }
    Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) override {
        co_await throttle_.pass(context(), true, length);
        co_return co_await file()->write_zeroes(offset, length, flags);
    }
    Task<Result<void>> discard(std::uint64_t offset, std::uint64_t length) override {
        co_await throttle_.pass(context(), true, length);
        co_return co_await file()->discard(offset, length);
    }

private:
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
