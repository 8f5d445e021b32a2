// -daemonize and -pidfile.
//
// The fork happens before threads, KVM and descriptors exist. The parent waits until the child says
// that it is ready (or that it failed, its message already printed) and leaves with that status.
#pragma once
#include <string>

#include "rhea/util/result.h"

namespace rhea::system {

class Daemon {
  public:
    /// Forks; returns in the child. The parent leaves the process in here.
    [[nodiscard]] util::Result<void> detach();
    /// Everything that others wait for exists: closes standard streams and lets the parent go.
    void report_ready();

  private:
    int ready_fd_ = -1;
};

/// A file that holds the process id, locked while the process lives and removed at the end.
class PidFile {
  public:
    ~PidFile();
    [[nodiscard]] util::Result<void> write(const std::string& path);

  private:
    std::string path_;
    int fd_ = -1;
};

}  // namespace rhea::system
