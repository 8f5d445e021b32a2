// The main thread's event loop: file descriptors, posted functions, idle work. GLib underneath, behind this wall.
//
// watch() and its handle belong to the main thread; post() and quit() may be called from any thread.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

namespace rhea::util {

class EventLoop {
public:
    EventLoop();
    ~EventLoop();
    EventLoop(const EventLoop &) = delete;
    EventLoop &operator=(const EventLoop &) = delete;

    enum Events : unsigned { kReadable = 1, kWritable = 2, kHangup = 4 };

    /// A registration; destroying it ends the watch. May be destroyed from inside its own callback.
    class Watch {
    public:
        virtual ~Watch() = default;
        /// Changes what is waited for (0: only a hang-up). Any thread.
        virtual void set_events(unsigned events) = 0;
    };

    /// Calls back with the events that hold, for as long as the Watch lives. kHangup is always reported.
    [[nodiscard]] std::unique_ptr<Watch> watch(int fd, unsigned events, std::function<void(unsigned events)> callback);

    /// Runs `function` in the loop's thread soon. Any thread.
    void post(std::function<void()> function);

    /// Runs until quit().
    void run();
    /// Handles what is ready; waits for something first when `block`. Returns whether anything was handled.
    bool iterate(bool block);
    /// Makes run() return. Any thread.
    void quit();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace rhea::util
