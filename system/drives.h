// The disks of a run: I/O threads, nodes that the command line named, and the drives (BlockBackends) that devices claim.
//
// Main thread. Drives run in an -object iothread that their device chose, or in one thread that all others share and that
// starts with the first drive: a run without disks has neither thread nor descriptors.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "command_line.h"
#include "drive_options.h"
#include "rhea/block/backend.h"
#include "rhea/block/driver.h"
#include "rhea/util/event_loop.h"

namespace rhea::system {

class Drives {
  public:
    explicit Drives(util::EventLoop& loop) : main_context_(&loop) {}
    ~Drives() { close(); }

    /// Opens everything that the command line named and puts it into `line.config`.
    util::Result<void> open(CommandLine& line);
    /// Drives that the command line wants attached and that no device of the machine took.
    util::Result<void> check_claimed(const core::MachineConfig& config) const;
    /// Drains, flushes and closes; marks images clean. Drives stay, without a medium.
    void close();

    /// What a drive with werror=stop or rerror=stop calls; any thread.
    std::function<void(const util::Error&)> on_io_error;
    /// The VM stops: nothing is in flight and everything is on stable storage afterwards.
    void quiesce();
    /// The VM goes on: devices submit again what failed. Under the machine lock.
    void resume();

    // ---- for devices ------------------------------------------------------------------------
    util::Result<block::BlockBackend*> claim(std::string_view id);
    void release(block::BlockBackend& drive);
    util::Result<block::IoContext*> find_iothread(std::string_view id);
    block::IoContext& main_context() { return main_context_; }

    // ---- for the monitor --------------------------------------------------------------------
    std::vector<block::BlockBackend*> all() const;
    util::Result<block::BlockBackend*> find(std::string_view id) const;
    std::vector<std::pair<std::string, std::int64_t>> iothreads() const;
    util::Result<void> add_drive(DriveSpec spec);
    util::Result<void> add_node(block::NodeOptions options);
    /// drive_add: a drive with if=none, or (drive_add -n) a node.
    util::Result<void> add_drive_at_run_time(std::string_view text, bool is_node);
    /// blockdev-del: a node of -blockdev that nobody uses.
    util::Result<void> remove_node(std::string_view name);
    /// drive_del: a node as remove_node(); the drive goes; under a device that uses it, its medium does, and the guest's requests fail.
    util::Result<void> remove_drive(std::string_view id);
    util::Result<void> eject(std::string_view id, bool force);
    struct Change {
        std::string filename, format, read_only_mode;
    };
    util::Result<void> change(std::string_view id, const Change& change);
    util::Result<void> commit(std::string_view id);
    util::Result<void> snapshot(std::string_view id, const std::string& filename, const std::string& format, bool reuse);

  private:
    using NodePtr = std::shared_ptr<block::BlockNode>;
    struct Drive {
        std::unique_ptr<block::BlockBackend> backend;
        bool claimed = false;
        bool deleted = false;  ///< drive_del: only its device knows it any more
    };

    block::IoContext& disk_context();
    util::Result<void> make_object(block::NodeOptions options);
    util::Result<NodePtr> open_node(std::string filename, block::NodeOptions options);
    util::Result<NodePtr> open_node_in(block::IoContext& context, std::string filename, block::NodeOptions options);
    util::Result<NodePtr> open_medium(DriveSpec& spec);
    util::Result<NodePtr> with_temporary_overlay(NodePtr base);
    block::BlockBackend& make_backend(const std::string& id);
    void name_nodes(const NodePtr& node);
    Drive* find_entry(std::string_view id);
    /// Is it a node of -blockdev, which lives without a drive?
    bool is_named(const NodePtr& node) const;

    block::IoContext main_context_;
    std::map<std::string, std::unique_ptr<block::IoThread>, std::less<>> iothreads_;
    std::unique_ptr<block::IoThread> disk_thread_;
    block::NodeNames names_;
    std::vector<NodePtr> nodes_;  ///< of -blockdev: they live without a drive, too
    std::vector<Drive> drives_;
    unsigned next_node_ = 0;
};

}  // namespace rhea::system
