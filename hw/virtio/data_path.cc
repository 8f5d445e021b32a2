#include "hw/virtio/data_path.h"

#include <unistd.h>

#include <cstdint>

namespace rhea::hw::virtio {
namespace {

void signal(int notifier) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(notifier, &one, sizeof one);
}

/// Was it signalled?
bool take(int notifier) {
    std::uint64_t count = 0;
    return ::read(notifier, &count, sizeof count) == sizeof count;
}

} // namespace

void DataPath::start(block::IoContext &context, std::vector<Lane> lanes) {
    context_ = &context;
    lanes_ = std::move(lanes);
    context.post([this] {
        stopping_ = false;
        loops_ = static_cast<unsigned>(lanes_.size());
        const block::IoContext::Batch batch(*context_);
        client_.data_path_started();
        for (const Lane &lane : lanes_)
            context_->spawn(serve(lane));
    });
}

void DataPath::stop() {
    if (!context_)
        return;
    context_->run_from_other_thread(finish());
    context_ = nullptr;
}

block::Task<void> DataPath::finish() {
    stopping_ = true;
    for (const Lane &lane : lanes_)
        signal(lane.notifier);
    while (loops_ > 0 || in_flight_ > 0)
        co_await idle_.wait();
    // Whoever woke this one is still on its way out.
    co_await context_->schedule();
}

block::Task<void> DataPath::serve(Lane lane) {
    while (!stopping_) {
        {
            const block::IoContext::Batch batch(*context_);
            client_.queue_notified(lane.queue);
        }
        while (!take(lane.notifier))
            co_await context_->wait_fd(lane.notifier, util::EventLoop::kReadable);
    }
    if (--loops_ == 0)
        idle_.wake_all();
}

} // namespace rhea::hw::virtio
