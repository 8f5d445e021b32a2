#include "block/core/thread_pool.h"

#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <utility>

namespace rhea::block {
namespace {

constexpr auto kIdleTime = std::chrono::seconds(10);
constexpr std::size_t kStackSize = 256 << 10;

} // namespace

ThreadPool::~ThreadPool() {
    std::unique_lock lock(mutex_);
    ending_ = true;
    work_there_.notify_all();
    all_gone_.wait(lock, [this] { return threads_ == 0; });
}

void ThreadPool::submit(PoolJob &job) {
    job.next = nullptr;
    {
        const std::lock_guard lock(mutex_);
        (last_ ? last_->next : first_) = &job;
        last_ = &job;
        ++queued_;
        if (queued_ <= idle_ || threads_ == limit_ || start_thread() || threads_ > 0) {
            work_there_.notify_one();
            return;
        }
        // Not one thread can be had: the work is done here rather than never.
        first_ = last_ = nullptr;
        queued_ = 0;
    }
    job.result = job.work(job);
    job.finished(job);
}

bool ThreadPool::start_thread() {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kStackSize);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    // Signals are for the threads that wait for them.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    const bool started = pthread_create(&thread, &attributes, thread_main, this) == 0;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_attr_destroy(&attributes);
    threads_ += started;
    return started;
}

void *ThreadPool::thread_main(void *pool) {
    pthread_setname_np(pthread_self(), "disk worker");
    static_cast<ThreadPool *>(pool)->serve();
    return nullptr;
}

void ThreadPool::serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
        if (!first_) {
            if (ending_)
                break;
            ++idle_;
            const bool called = work_there_.wait_for(lock, kIdleTime, [this] { return first_ || ending_; });
            --idle_;
            if (!called)
                break;
            continue;
        }
        PoolJob &job = *std::exchange(first_, first_->next);
        if (!first_)
            last_ = nullptr;
        --queued_;
        lock.unlock();
        job.result = job.work(job);
        job.finished(job);
        lock.lock();
    }
    --threads_;
    all_gone_.notify_all(); // under the mutex: the pool may be gone once it is free
}

} // namespace rhea::block
