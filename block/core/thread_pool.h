// The threads that make blocking calls for one IoContext. They come when there is work and none is idle, up to a
// limit, and go after some idle seconds.
//
// submit() belongs to the context's thread; a job's `work` and `finished` run in a pool thread.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

namespace rhea::block {

/// One piece of work; lives in the frame of the coroutine that waits for it.
struct PoolJob {
    std::int64_t (*work)(PoolJob &) = nullptr;
    void (*finished)(PoolJob &) = nullptr; ///< the job may be gone when this returns
    std::int64_t result = 0;
    PoolJob *next = nullptr;
};

class ThreadPool {
public:
    explicit ThreadPool(unsigned limit) : limit_(limit) {}
    /// Waits for the jobs that run; jobs that wait are run first.
    ~ThreadPool();
    ThreadPool(const ThreadPool &) = delete;
    ThreadPool &operator=(const ThreadPool &) = delete;

    void submit(PoolJob &job);

private:
    static void *thread_main(void *pool);
    void serve();
    bool start_thread();

    std::mutex mutex_;
    std::condition_variable work_there_, all_gone_;
    PoolJob *first_ = nullptr, *last_ = nullptr;
    unsigned limit_, threads_ = 0, idle_ = 0, queued_ = 0;
    bool ending_ = false;
};

} // namespace rhea::block
