// Several tasks at once, and waiting for all of them: the pieces of one request.
#pragma once
#include <coroutine>

#include "rhea/block/io_context.h"
#include "rhea/util/result.h"

namespace rhea::block::qcow2 {

class TaskGroup {
public:
    explicit TaskGroup(IoContext &context) : context_(context) {}
    TaskGroup(const TaskGroup &) = delete;
    TaskGroup &operator=(const TaskGroup &) = delete;

    /// Runs `task` up to its first suspension now.
    void start(Task<util::Result<void>> task) {
        ++running_;
        context_.spawn(run(std::move(task)));
    }
    unsigned running() const { return running_; }
    bool failed() const { return !result_.has_value(); }
    void fail(util::Error error) {
        if (result_)
            result_ = util::fail(std::move(error));
    }

    /// Until at most `at_most` are running.
    auto below(unsigned at_most) {
        struct Awaiter {
            TaskGroup &group;
            unsigned limit;
            bool await_ready() noexcept { return group.running_ <= limit; }
            void await_suspend(std::coroutine_handle<> handle) {
                group.limit_ = limit;
                group.waiter_ = handle;
            }
            void await_resume() noexcept {}
        };
        return Awaiter{*this, at_most};
    }
    /// Until all are done; the first error, if any.
    Task<util::Result<void>> wait() {
        co_await below(0);
        co_return result_;
    }

private:
    Task<void> run(Task<util::Result<void>> task) {
        auto done = co_await task;
        if (!done)
            fail(done.error());
        --running_;
        if (waiter_ && running_ <= limit_)
            std::exchange(waiter_, nullptr).resume();
    }

    IoContext &context_;
    unsigned running_ = 0, limit_ = 0;
    std::coroutine_handle<> waiter_;
    util::Result<void> result_;
};

} // namespace rhea::block::qcow2
