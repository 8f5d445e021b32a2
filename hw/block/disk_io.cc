#include "hw/block/disk_io.h"

#include "rhea/core/machine_lock.h"

#include <utility>

namespace rhea::hw {

DiskIo::DiskIo(block::BlockBackend &disk, block::IoContext &main_context) : disk_(disk), shared_(std::make_shared<Shared>()) {
    shared_->owner = this;
    shared_->main_context = &main_context;
}

DiskIo::~DiskIo() {
    quiesce();
    shared_->owner = nullptr;
}

void DiskIo::start(Work work, Done done) {
    ++pending_;
    auto request = std::make_unique<Request>(Request{std::move(work), std::move(done), {}});
    bool first;
    {
        const std::lock_guard guard(shared_->mutex);
        first = shared_->waiting.empty();
        shared_->waiting.push_back(std::move(request));
    }
    if (first) {
        block::IoContext &context = disk_.context();
        context.post([shared = shared_, &context] { start_waiting(shared, context); });
    }
}

void DiskIo::start_waiting(const std::shared_ptr<Shared> &shared, block::IoContext &context) {
    std::vector<std::unique_ptr<Request>> requests;
    {
        const std::lock_guard guard(shared->mutex);
        requests.swap(shared->waiting);
    }
    const block::IoContext::Batch batch(context);
    for (auto &request : requests)
        context.spawn(run(shared, std::move(request)));
}

block::Task<void> DiskIo::run(std::shared_ptr<Shared> shared, std::unique_ptr<Request> request) {
    block::Task<block::Result<void>> task = request->work();
    request->result = co_await task;
    bool first;
    {
        const std::lock_guard guard(shared->mutex);
        first = shared->ended.empty();
        shared->ended.push_back(std::move(request));
    }
    if (first) {
        shared->main_context->post([shared] {
            const core::MachineLockGuard lock;
            if (shared->owner)
                shared->owner->finish_ended();
        });
    }
}

void DiskIo::finish_ended() {
    std::vector<std::unique_ptr<Request>> requests;
    {
        const std::lock_guard guard(shared_->mutex);
        requests.swap(shared_->ended);
    }
    for (const auto &request : requests) {
        --pending_;
        request->done(request->result);
    }
}

void DiskIo::quiesce() {
    const core::MachineLockGuard lock;
    while (pending_ > 0) {
        // What was posted has begun when a coroutine that is posted now goes on.
        block::IoContext &context = disk_.context();
        context.run_from_other_thread([](block::IoContext &where) -> block::Task<void> { co_await where.schedule(); }(context));
        disk_.drain();
        finish_ended();
    }
}

} // namespace rhea::hw
