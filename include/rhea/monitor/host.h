// What monitor commands act on: the running emulator, as system/ offers it.
//
// Main thread, without the machine lock (the methods take it where they need it).
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/block/backend.h"
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

    /// device_add: `text` as behind -device; returns what is to be shown (its help).
    virtual util::Result<std::string> add_device(const std::string&) { return util::fail("there is no machine here"); }
    /// device_del: takes it away, or asks the guest to let it go.
    virtual util::Result<void> remove_device(const std::string& id) { return util::fail("there is no device '{}'", id); }

    // ---- drives: those of a machine without disks, unless a host says otherwise ------------------
    virtual std::vector<block::BlockBackend*> drives() { return {}; }
    virtual util::Result<block::BlockBackend*> find_drive(const std::string& id) { return no_drive(id); }
    /// Id and thread id of each.
    virtual std::vector<std::pair<std::string, std::int64_t>> iothreads() { return {}; }
    virtual util::Result<void> eject(const std::string& id, bool) { return no_drive(id); }
    virtual util::Result<void> change_medium(const std::string& id, const std::string&, const std::string&,
                                             const std::string&) {
        return no_drive(id);
    }
    /// "all": every drive that has a backing file.
    virtual util::Result<void> commit(const std::string& id) { return no_drive(id); }
    /// `text` as behind -drive, or (a node) -blockdev.
    virtual util::Result<void> add_drive(const std::string&, bool) { return util::fail("there are no drives here"); }
    virtual util::Result<void> remove_drive(const std::string& id) { return no_drive(id); }
    /// A new overlay above the drive's medium; `reuse`: the file is there already.
    virtual util::Result<void> snapshot_drive(const std::string& id, const std::string&, const std::string&, bool) {
        return no_drive(id);
    }

  private:
    static util::Failure no_drive(const std::string& id) { return util::fail("there is no drive '{}'", id); }
};

}  // namespace rhea::monitor
