// Signals that end the program: a clean shutdown through the main loop, with the terminal as it was.
//
// Before watch() (while sockets wait for clients, say) a signal ends the process at once; afterwards
// the first one asks, and a second one of the same run ends at once.
#pragma once
#include <functional>
#include <memory>

#include "rhea/util/event_loop.h"

namespace rhea::system {

class Signals {
  public:
    Signals();
    ~Signals();
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;

    /// From now on `on_end(signal, sender's process id)` is called in the main loop.
    void watch(util::EventLoop& loop, std::function<void(int, int)> on_end);

  private:
    std::unique_ptr<util::EventLoop::Watch> watch_;
};

}  // namespace rhea::system
