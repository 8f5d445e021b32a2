// -object iothread: an IoContext and the thread that does nothing but run it.
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <semaphore>
#include <thread>

#include "rhea/block/io_context.h"

namespace rhea::block {

struct IoThread::Impl {
    std::thread thread;
    std::int64_t id = 0;
    std::coroutine_handle<> quit; ///< the coroutine that the thread runs until its end
};

IoThread::IoThread(std::string name) : name_(std::move(name)), impl_(std::make_unique<Impl>()) {
    std::binary_semaphore ready(0);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    impl_->thread = std::thread([this, &ready] {
        pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
        IoContext context;
        context_ = &context;
        impl_->id = ::syscall(SYS_gettid);
        struct UntilQuit {
            Impl &impl;
            bool await_ready() const noexcept { return false; }
            void await_suspend(std::coroutine_handle<> handle) { impl.quit = handle; }
            void await_resume() const noexcept {}
        };
        Task<void> life = [](Impl &impl, std::binary_semaphore &started) -> Task<void> {
            started.release();
            UntilQuit end{impl};
            co_await end;
        }(*impl_, ready);
        context.run(std::move(life));
    });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    ready.acquire();
}

IoThread::~IoThread() {
    context_->post([this] { impl_->quit.resume(); });
    impl_->thread.join();
}

std::int64_t IoThread::thread_id() const { return impl_->id; }

} // namespace rhea::block
