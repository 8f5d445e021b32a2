// block::IoContext: where coroutines of the block layer run: one thread, its event loop, and an engine for files.
//
// The main thread has one (joined to util::EventLoop), each -object iothread has one with a thread of its own, and
// the tools make one for themselves. A graph of nodes belongs to one context at a time; its coroutines run in that
// context's thread only, so nodes need no locks against threads, only co_sync.h's against each other.
//
// Descriptors and threads are made when the first request needs them: a context that is not used costs nothing.
//
// Rule: a context thread that is not the main thread never takes the machine lock. What must reach a device model
// under that lock goes through post() of the main context. So anybody may wait for a context (run_from()) while
// holding the machine lock.
#pragma once
#include <condition_variable>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>

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

    /// What it is in the end. This context's thread.
    Engine engine();
    /// Is the calling thread this context's?
    bool in_thread() const;

    /// May this thread wait for the host's files? Cached writes and flushes then happen in it, while other threads read ahead: that
    /// saves two changes of threads a write. For a tool that does one thing; off for who serves several (a guest, NBD clients).
    void set_may_block(bool may) { may_block_ = may; }
    bool may_block() const { return may_block_; }

    /// Starts `task`; it runs until its first suspension now. This context's thread.
    void spawn(Task<void> task);
    /// Runs the context until `task` is done and returns what it yields. This context's thread, outside coroutines.
    template <typename T> T run(Task<T> task);
    /// The same from another thread, which waits (from this one it is run()).
    template <typename T> T run_from_other_thread(Task<T> task);

    /// While one lives, file requests of this context are collected; the last to go hands them to the host in one
    /// call. For who spawns several coroutines in a row (a virtqueue). This context's thread.
    class Batch {
    public:
        explicit Batch(IoContext &context) : context_(context) { context_.begin_batch(); }
        ~Batch() { context_.end_batch(); }
        Batch(const Batch &) = delete;
        Batch &operator=(const Batch &) = delete;

    private:
        IoContext &context_;
    };

    /// Runs `function` in this context's thread soon. Any thread.
    void post(std::function<void()> function);
    /// Awaitable: goes on in this context's thread (from a pool thread or another context).
    auto schedule() {
        struct Awaiter {
            IoContext &context;
            bool await_ready() const noexcept { return false; }
            void await_suspend(std::coroutine_handle<> handle) {
                context.post([handle] { handle.resume(); });
            }
            void await_resume() const noexcept {}
        };
        return Awaiter{*this};
    }

    // ---- awaitables for nodes; each yields bytes done or -errno --------------------------------------------------
    // Short transfers are possible only at the end of a file. `to`/`from` live until the await returns. `in_pool`: by a
    // thread even when the engine is io_uring (aio=threads).
    Task<std::int64_t> preadv(int fd, const IoVector &to, std::uint64_t offset, bool in_pool = false);
    Task<std::int64_t> pwritev(int fd, const IoVector &from, std::uint64_t offset, bool fua = false, bool in_pool = false);
    Task<std::int64_t> fdatasync(int fd);
    Task<std::int64_t> fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length);
    /// Runs `work` (blocking calls, compression) in the pool of threads, then goes on here.
    Task<std::int64_t> in_pool(std::function<std::int64_t()> work);
    /// Goes on after `nanoseconds`.
    Task<void> sleep(std::int64_t nanoseconds);
    /// Waits until `fd` has one of `events` (util::EventLoop::Events); yields those that hold.
    Task<unsigned> wait_fd(int fd, unsigned events);

    struct Impl; ///< block/core/io_context_impl.h

private:
    void run_until(const bool &done);
    void begin_batch();
    void end_batch();
    std::shared_ptr<Impl> impl_;
    bool may_block_ = false;
};

template <typename T> T IoContext::run(Task<T> task) {
    bool done = false;
    if constexpr (std::is_void_v<T>) {
        spawn([](Task<void> inner, bool &finished) -> Task<void> {
            co_await inner;
            Task<void>(std::move(inner)); // its arguments die before the caller goes on
            finished = true;
        }(std::move(task), done));
        run_until(done);
    } else {
        std::optional<T> result;
        spawn([](Task<T> inner, std::optional<T> &out, bool &finished) -> Task<void> {
            T value = co_await inner;
            Task<T>(std::move(inner)); // its arguments die before the caller goes on
            out.emplace(std::move(value));
            finished = true;
        }(std::move(task), result, done));
        run_until(done);
        return std::move(*result);
    }
}

template <typename T> T IoContext::run_from_other_thread(Task<T> task) {
    if (in_thread())
        return run(std::move(task));
    using Value = std::conditional_t<std::is_void_v<T>, bool, T>;
    struct Shared {
        std::mutex mutex;
        std::condition_variable changed;
        std::optional<Value> result;
        void finish(Value value) {
            const std::lock_guard guard(mutex);
            result.emplace(std::move(value));
            changed.notify_one(); // under the mutex: the waiter owns *this
        }
    } shared;
    Task<void> outer = [](Task<T> inner, Shared &out) -> Task<void> {
        if constexpr (std::is_void_v<T>) {
            co_await inner;
            Task<void>(std::move(inner)); // its arguments die before the caller goes on
            out.finish(true);
        } else {
            T value = co_await inner;
            Task<T>(std::move(inner)); // its arguments die before the caller goes on
            out.finish(std::move(value));
        }
    }(std::move(task), shared);
    post([this, held = std::make_shared<Task<void>>(std::move(outer))] { spawn(std::move(*held)); });
    std::unique_lock guard(shared.mutex);
    shared.changed.wait(guard, [&] { return shared.result.has_value(); });
    if constexpr (!std::is_void_v<T>)
        return std::move(*shared.result);
}

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
