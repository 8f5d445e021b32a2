// block::Task<T>: a coroutine that yields one T; the straight-line form of everything asynchronous here.
//
// A Task starts when it is awaited (or spawned on an IoContext). Where it ends at once its awaiter goes on by itself;
// where it waits, its end resumes the awaiter. So a loop of awaits takes no stack a turn, also in builds whose compiler
// makes no tail calls (symmetric transfer would need them: each turn would leave a frame behind). What is on the stack
// is the chain of awaiters at most. Frames come from a pool of the thread (task_frame.cc).
//
// gcc 12: no temporaries with destructors inside a co_await expression. Name them first:
//
//     IoVector piece = to.slice(0, n);
//     auto done = co_await file.read(offset, piece);
#pragma once
#include <atomic>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace rhea::block {

/// Memory for coroutine frames: free lists by size in each thread; a frame may be freed in another thread.
void *allocate_frame(std::size_t size);
void free_frame(void *frame, std::size_t size) noexcept;

template <typename T> class Task;

namespace detail {

struct PromiseBase {
    /// Who comes second, the task to its end or its awaiter back from starting it, makes the awaiter go on. Atomic, as a
    /// task may end in another thread than it was started in.
    enum class Stage : unsigned char { kStarting, kAwaited, kDone };

    std::coroutine_handle<> awaiter;
    std::atomic<Stage> stage = Stage::kStarting;

    static void *operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void *frame, std::size_t size) noexcept { free_frame(frame, size); }

    std::suspend_always initial_suspend() noexcept { return {}; }
    struct Final {
        bool await_ready() noexcept { return false; }
        template <typename Promise> void await_suspend(std::coroutine_handle<Promise> self) noexcept {
            // Read before: the frame may be gone as soon as the awaiter can see that this is done.
            const std::coroutine_handle<> awaiter = self.promise().awaiter;
            if (self.promise().stage.exchange(Stage::kDone, std::memory_order_acq_rel) == Stage::kAwaited)
                awaiter.resume();
        }
        void await_resume() noexcept {}
    };
    Final final_suspend() noexcept { return {}; }
    /// Errors are Results; an exception that gets here is a bug of ours (or memory that ran out).
    [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
};

template <typename T> struct Promise : PromiseBase {
    std::optional<T> value;
    Task<T> get_return_object() noexcept;
    template <typename U> void return_value(U &&result) { value.emplace(std::forward<U>(result)); }
};

template <> struct Promise<void> : PromiseBase {
    Task<void> get_return_object() noexcept;
    void return_void() noexcept {}
};

} // namespace detail

template <typename T> class [[nodiscard]] Task {
public:
    using promise_type = detail::Promise<T>;
    using Handle = std::coroutine_handle<promise_type>;

    explicit Task(Handle handle) noexcept : handle_(handle) {}
    Task(Task &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Task &operator=(Task &&other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Task() {
        if (handle_)
            handle_.destroy();
    }

    bool await_ready() const noexcept { return false; }
    /// False: the task is done already, the awaiter goes on.
    bool await_suspend(std::coroutine_handle<> awaiter) noexcept {
        handle_.promise().awaiter = awaiter;
        handle_.resume();
        return handle_.promise().stage.exchange(detail::PromiseBase::Stage::kAwaited, std::memory_order_acq_rel) !=
               detail::PromiseBase::Stage::kDone;
    }
    T await_resume() {
        if constexpr (!std::is_void_v<T>)
            return std::move(*handle_.promise().value);
    }

private:
    Handle handle_;
};

template <typename T> Task<T> detail::Promise<T>::get_return_object() noexcept {
    return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> detail::Promise<void>::get_return_object() noexcept {
    return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

} // namespace rhea::block
