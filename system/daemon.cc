#include "daemon.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace rhea::system {

util::Result<void> Daemon::detach() {
    int pipe_fds[2];
    if (::pipe2(pipe_fds, O_CLOEXEC) != 0) {
        return util::fail("-daemonize: cannot make a pipe: {}", std::strerror(errno));
    }
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child < 0) {
        return util::fail("-daemonize: cannot fork: {}", std::strerror(errno));
    }
    if (child > 0) {
        ::close(pipe_fds[1]);
        char ready = 0;
        while (::read(pipe_fds[0], &ready, 1) < 0 && errno == EINTR) {
        }
        ::_exit(ready ? 0 : 1);
    }
    ::close(pipe_fds[0]);
    ready_fd_ = pipe_fds[1];
    ::setsid();
    // A second fork, so that no terminal can become this session's.
    const pid_t grandchild = ::fork();
    if (grandchild != 0) {
        ::_exit(grandchild < 0 ? 1 : 0);
    }
    ::umask(027);
    return {};
}

void Daemon::report_ready() {
    if (ready_fd_ < 0) {
        return;
    }
    std::fflush(nullptr);
    if (::chdir("/") != 0) {
        std::perror("chdir");
    }
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (const int fd : {0, 1, 2}) {
        ::dup2(null, fd);
    }
    ::close(null);
    const char ready = 1;
    [[maybe_unused]] const ssize_t written = ::write(ready_fd_, &ready, 1);
    ::close(ready_fd_);
    ready_fd_ = -1;
}

PidFile::~PidFile() {
    if (fd_ >= 0) {
        ::unlink(path_.c_str());
        ::close(fd_);
    }
}

util::Result<void> PidFile::write(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        return util::fail("the PID file {} cannot be opened: {}", path, std::strerror(errno));
    }
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
        ::close(fd);
        return util::fail("the PID file {} belongs to another run; wait for its end or name another file", path);
    }
    const std::string text = fmt::format("{}\n", ::getpid());
    if (::ftruncate(fd, 0) != 0 ||
        ::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
        ::close(fd);
        return util::fail("the PID file {} cannot be written: {}", path, std::strerror(errno));
    }
    fd_ = fd;
    path_ = path.starts_with('/') ? path : [&] {
        char cwd[4096];
        return fmt::format("{}/{}", ::getcwd(cwd, sizeof cwd) ? cwd : ".", path);
    }();
    return {};
}

}  // namespace rhea::system
