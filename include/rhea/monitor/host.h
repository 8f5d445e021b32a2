// What monitor commands act on: the running emulator, as system/ offers it.
//
// Main thread, without the machine lock (the methods take it where they need it).
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/core/machine.h"
#include "rhea/util/result.h"

namespace rhea::monitor {

class Host {
  public:
    virtual ~Host() = default;

    virtual core::Machine& machine() = 0;
    virtual core::Accelerator& accelerator() = 0;

    struct Status {
        std::string_view name;  ///< as QMP writes it: "prelaunch"
        std::string_view text;  ///< as people read it: "paused (prelaunch)"
        bool running = false;
    };
    virtual Status status() const = 0;
    virtual void stop() = 0;
    virtual util::Result<void> cont() = 0;
    virtual void quit() = 0;
    virtual void reset() = 0;
    virtual void power_button() = 0;
    virtual void nmi() = 0;
    /// Runs `body` under the machine lock while every vCPU stands still with its registers readable.
    virtual void with_parked_vcpus(const std::function<void()>& body) = 0;

    /// The CPU that commands about one CPU mean (`cpu N`).
    unsigned current_cpu = 0;

    struct CpuThread {
        std::int64_t thread_id = 0;
        bool halted = false;
    };
    virtual std::vector<CpuThread> cpu_threads() = 0;

    struct CharDevice {
        std::string id, filename;
    };
    virtual std::vector<CharDevice> char_devices() = 0;
    virtual util::Result<std::string> ringbuf_read(const std::string& id, std::size_t size) = 0;
    virtual util::Result<void> ringbuf_write(const std::string& id, const std::string& data) = 0;

    virtual std::string version() const = 0;
};

}  // namespace rhea::monitor
