#include "rhea/util/event_loop.h"

#include <glib-unix.h>
#include <glib.h>

#include <atomic>
#include <utility>

namespace rhea::util {
namespace {

/// One GSource for a descriptor whose wanted events can change.
struct FdSource {
    GSource base;
    gpointer tag;
    const std::function<void(unsigned)> *callback;
};

GIOCondition to_condition(unsigned events) {
    unsigned condition = G_IO_HUP | G_IO_ERR;
    if (events & EventLoop::kReadable)
        condition |= G_IO_IN;
    if (events & EventLoop::kWritable)
        condition |= G_IO_OUT;
    return static_cast<GIOCondition>(condition);
}

gboolean dispatch_fd(GSource *source, GSourceFunc, gpointer) {
    auto *self = reinterpret_cast<FdSource *>(source);
    if (!self->tag)
        return G_SOURCE_CONTINUE;
    const GIOCondition ready = g_source_query_unix_fd(source, self->tag);
    unsigned events = 0;
    if (ready & G_IO_IN)
        events |= EventLoop::kReadable;
    if (ready & G_IO_OUT)
        events |= EventLoop::kWritable;
    if (ready & (G_IO_HUP | G_IO_ERR))
        events |= EventLoop::kHangup;
    if (events) {
        const std::function<void(unsigned)> callback = *self->callback; // the watch may be destroyed by its own callback
        callback(events);
    }
    return G_SOURCE_CONTINUE;
}

GSourceFuncs g_fd_functions = {nullptr, nullptr, dispatch_fd, nullptr, nullptr, nullptr};

class FdWatch final : public EventLoop::Watch {
public:
    FdWatch(GMainContext *context, int fd, unsigned events, std::function<void(unsigned)> callback)
        : callback_(std::move(callback)), fd_(fd), source_(g_source_new(&g_fd_functions, sizeof(FdSource))) {
        self()->callback = &callback_;
        self()->tag = nullptr;
        // Nothing runs the loop inside a callback. glib guards against that by taking the descriptor out of the poll and
        // back in, and wakes its own loop twice for it: two system calls and one more turn for each event.
        g_source_set_can_recurse(source_, TRUE);
        set_events(events);
        g_source_attach(source_, context);
    }
    ~FdWatch() override {
        g_source_destroy(source_);
        g_source_unref(source_);
    }
    void set_events(unsigned events) override {
        gpointer &tag = self()->tag;
        if (events == 0) {
            // Out of the poll altogether: a descriptor whose other end is gone is always ready.
            if (tag)
                g_source_remove_unix_fd(source_, std::exchange(tag, nullptr));
        } else if (tag) {
            g_source_modify_unix_fd(source_, tag, to_condition(events));
        } else {
            tag = g_source_add_unix_fd(source_, fd_, to_condition(events));
        }
    }

private:
    FdSource *self() { return reinterpret_cast<FdSource *>(source_); }

    std::function<void(unsigned)> callback_;
    int fd_;
    GSource *source_;
};

} // namespace

struct EventLoop::Impl {
    GMainContext *context = g_main_context_default();
    std::atomic<bool> quit{false};
};

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()) {}
EventLoop::~EventLoop() = default;

std::unique_ptr<EventLoop::Watch> EventLoop::watch(int fd, unsigned events, std::function<void(unsigned)> callback) {
    return std::make_unique<FdWatch>(impl_->context, fd, events, std::move(callback));
}

void EventLoop::post(std::function<void()> function) {
    auto *held = new std::function<void()>(std::move(function));
    GSource *source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(
        source,
        [](gpointer data) -> gboolean {
            (*static_cast<std::function<void()> *>(data))();
            return G_SOURCE_REMOVE;
        },
        held, [](gpointer data) { delete static_cast<std::function<void()> *>(data); });
    g_source_attach(source, impl_->context);
    g_source_unref(source);
}

void EventLoop::run() {
    while (!impl_->quit.load(std::memory_order_acquire))
        g_main_context_iteration(impl_->context, TRUE);
    impl_->quit.store(false, std::memory_order_release);
}

bool EventLoop::iterate(bool block) { return g_main_context_iteration(impl_->context, block ? TRUE : FALSE); }

void EventLoop::quit() {
    impl_->quit.store(true, std::memory_order_release);
    g_main_context_wakeup(impl_->context);
}

} // namespace rhea::util
