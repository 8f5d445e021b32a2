// block::IoContext: where coroutines of the block layer run: one thread, its event loop, and an engine for files.
//
// The main thread has one (joined to util::EventLoop), each -object iothread has one with a thread of its own, and
// the tools make one for themselves. A graph of nodes belongs to one context at a time; its coroutines run in that
// context's thread only, so nodes need no locks against threads, only co_sync.h's against each other.
//
// Rule: a context thread that is not the main thread never takes the machine lock. What must reach a device model
// under that lock goes through post() of the main context. So anybody may wait for a context (run_from()) while
// holding the machine lock.
#pragma once
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "rhea/block/io_vector.h"
#include "rhea/block/task.h"
#include "rhea/util/event_loop.h"
#include "rhea/util/result.h"

namespace rhea::block {

/// How file operations reach the host: io_uring, or threads that call pread and friends.
enum class Engine : std::uint8_t { kIoUring, kThreads };

class IoContext {
public:
    /// A context of the calling thread. `loop` (of the same thread) drives it; null: run() does. With kIoUring it falls
    /// back to threads where the host forbids io_uring (engine() tells).
    explicit IoContext(util::EventLoop *loop = nullptr, Engine engine = Engine::kIoUring);
    ~IoContext();
    IoContext(const IoContext &) = delete;
    IoContext &operator=(const IoContext &) = delete;

    Engine engine() const;

    /// Starts `task`; it runs until its first suspension now. This context's thread.
    void spawn(Task<void> task);
    /// Runs the context until `task` is done and returns what it yields. This context's thread, outside coroutines.
    template <typename T> T run(Task<T> task);
    /// The same from another thread, which waits.
    template <typename T> T run_from_other_thread(Task<T> task);

    /// Runs `function` in this context's thread soon. Any thread.
    void post(std::function<void()> function);
    /// Awaitable: goes on in this context's thread (from a pool thread or another context).
    auto schedule();

    // ---- awaitables for nodes; each yields bytes done or -errno --------------------------------------------------
    // Short transfers are possible only at the end of a file. `to`/`from` live until the await returns.
    Task<std::int64_t> preadv(int fd, const IoVector &to, std::uint64_t offset);
    Task<std::int64_t> pwritev(int fd, const IoVector &from, std::uint64_t offset, bool fua = false);
    Task<std::int64_t> fdatasync(int fd);
    Task<std::int64_t> fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length);
    /// Runs `work` (blocking calls, compression) in the pool of threads, then goes on here.
    Task<std::int64_t> in_pool(std::function<std::int64_t()> work);
    /// Goes on after `nanoseconds`.
    Task<void> sleep(std::int64_t nanoseconds);
    /// Waits until `fd` has one of `events` (util::EventLoop::Events); yields those that hold.
    Task<unsigned> wait_fd(int fd, unsigned events);

private:
    struct Impl;
    void run_until(const bool &done);
    std::unique_ptr<Impl> impl_;
};

/// A context with a thread of its own: -object iothread.
class IoThread {
public:
    explicit IoThread(std::string name);
    ~IoThread();
    IoContext &context() { return *context_; }
    const std::string &name() const { return name_; }
    std::int64_t thread_id() const;

private:
    struct Impl;
    std::string name_;
    std::unique_ptr<Impl> impl_;
    IoContext *context_ = nullptr;
};

} // namespace rhea::block
