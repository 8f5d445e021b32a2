// Requests of a device model to its block back end: started under the machine lock by any thread, run as coroutines in
// the back end's context, ended under the machine lock by the main thread.
//
// A request that was started ends by its callback, unless the device is destroyed first. quiesce() and the destructor
// are for the main thread, while no vCPU runs (reset, saving state, the end).
#pragma once
#include "rhea/block/backend.h"

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace rhea::hw {

class DiskIo {
public:
    using Work = std::function<block::Task<block::Result<void>>()>;
    using Done = std::function<void(const block::Result<void> &result)>;

    /// `main_context`: that of the main loop.
    DiskIo(block::BlockBackend &disk, block::IoContext &main_context);
    ~DiskIo();
    DiskIo(const DiskIo &) = delete;
    DiskIo &operator=(const DiskIo &) = delete;

    block::BlockBackend &disk() const { return disk_; }
    /// `work` makes the coroutine; it and what it refers to live until `done` was called.
    void start(Work work, Done done);
    unsigned pending() const { return pending_; }
    bool idle() const { return pending_ == 0; }
    /// Waits until every request that was started has ended (those included that their ends start).
    void quiesce();

private:
    struct Request {
        Work work;
        Done done;
        block::Result<void> result;
    };
    /// What the context's thread sees; outlives this object while something is posted.
    struct Shared {
        std::mutex mutex;
        std::vector<std::unique_ptr<Request>> waiting, ended;
        DiskIo *owner = nullptr;      ///< main thread; null: gone
        block::IoContext *main_context = nullptr;
    };
    static void start_waiting(const std::shared_ptr<Shared> &shared, block::IoContext &context);
    static block::Task<void> run(std::shared_ptr<Shared> shared, std::unique_ptr<Request> request);
    void finish_ended();

    block::BlockBackend &disk_;
    std::shared_ptr<Shared> shared_;
    unsigned pending_ = 0;
};

} // namespace rhea::hw
