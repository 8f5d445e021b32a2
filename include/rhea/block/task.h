// block::Task<T>: a coroutine that yields one T; the straight-line form of everything asynchronous here.
//
// A Task starts when it is awaited (or spawned on an IoContext) and resumes its awaiter by symmetric transfer, so
// chains of any depth use no stack. It runs in the thread of the IoContext on which it was spawned; nothing here
// locks. Frames come from a pool of the thread (task_frame.cc).
//
// gcc 12: no temporaries with destructors inside a co_await expression. Name them first:
//
//     IoVector piece = to.slice(0, n);
//     auto done = co_await file.read(offset, piece);
#pragma once
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
    std::coroutine_handle<> awaiter = std::noop_coroutine();

    static void *operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void *frame, std::size_t size) noexcept { free_frame(frame, size); }

    std::suspend_always initial_suspend() noexcept { return {}; }
    struct Final {
        bool await_ready() noexcept { return false; }
        template <typename Promise> std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
            return self.promise().awaiter;
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
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) noexcept {
        handle_.promise().awaiter = awaiter;
        return handle_;
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
