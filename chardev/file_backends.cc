// Backends on paths of the host: file and pipe.
#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "chardev/backends.h"
#include "chardev/stream_chardev.h"

namespace rhea::chardev {
namespace {

class FileChardev final : public StreamChardev {
  public:
    FileChardev(std::string id, util::EventLoop& loop, OwnedFd in, OwnedFd out, std::string name)
        : StreamChardev(std::move(id), loop), in_(std::move(in)), out_(std::move(out)),
          name_(std::move(name)) {
        open_stream(in_ ? in_.get() : -1, out_.get());
    }
    ~FileChardev() override { close_stream(); }
    std::string describe() const override { return name_; }

  private:
    OwnedFd in_, out_;
    std::string name_;
};

/// One end of a named pipe: PATH.in or PATH.out, or PATH for both.
OwnedFd open_fifo(const std::string& path) {
    // Read and write, so that opening does not wait for the other side and its leaving is no end.
    return OwnedFd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
}

}  // namespace

util::Result<std::unique_ptr<Chardev>> make_file(const BackendContext& context, std::string id,
                                                 util::OptionList& options) {
    const auto path = options.take("path");
    if (!path || path->empty()) {
        return util::fail("backend 'file' needs path=");
    }
    const auto append = options.take_bool("append", false);
    if (!append) {
        return util::fail(append.error());
    }
    // O_NONBLOCK matters when the path is a pipe or a terminal.
    const int flags = O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY |
                      (*append ? O_APPEND : O_TRUNC);
    OwnedFd out(::open(path->c_str(), flags, 0666));
    if (!out) {
        return util::fail("cannot open {}: {}", *path, std::strerror(errno));
    }
    OwnedFd in;
    if (const auto input = options.take("input-path")) {
        in.reset(::open(input->c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
        if (!in) {
            return util::fail("cannot open {}: {}", *input, std::strerror(errno));
        }
    }
    return std::make_unique<FileChardev>(std::move(id), context.loop, std::move(in),
                                         std::move(out), "file");
}

util::Result<std::unique_ptr<Chardev>> make_pipe(const BackendContext& context, std::string id,
                                                 util::OptionList& options) {
    const auto path = options.take("path");
    if (!path || path->empty()) {
        return util::fail("backend 'pipe' needs path=");
    }
    OwnedFd in = open_fifo(*path + ".in");
    OwnedFd out = open_fifo(*path + ".out");
    if (!in || !out) {
        in = open_fifo(*path);
        out = open_fifo(*path);
    }
    if (!in || !out) {
        return util::fail("cannot open the named pipe {}: {}; make {}.in and {}.out with mkfifo",
                          *path, std::strerror(errno), *path, *path);
    }
    return std::make_unique<FileChardev>(std::move(id), context.loop, std::move(in),
                                         std::move(out), "pipe");
}

}  // namespace rhea::chardev
