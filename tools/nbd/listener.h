// Where clients connect: a TCP or UNIX socket. Each client gets a Connection.
#pragma once
#include <list>
#include <memory>
#include <string>

#include "rhea/util/result.h"
#include "tools/nbd/server.h"

namespace rhea::nbd {

struct Address {
    std::string unix_path;         ///< not empty: a UNIX socket
    std::string host = "0.0.0.0";
    std::string port = "10809";
};

class Listener {
  public:
    /// Binds and listens; a stale socket file is replaced.
    static util::Result<std::unique_ptr<Listener>> open(block::IoContext& context, const Address& address,
                                                        const Export& exported);
    ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    /// Serves clients, at most `shared` at a time (0: any number), until stop(), or until the last client has left
    /// unless `persistent`.
    block::Task<void> run(unsigned shared, bool persistent);
    /// No new clients; those that are there are disconnected.
    void stop();

  private:
    Listener(block::IoContext& context, int fd, std::string unix_path, const Export& exported)
        : context_(context), fd_(fd), unix_path_(std::move(unix_path)), export_(exported) {}
    block::Task<void> accept_all(unsigned shared);
    block::Task<void> serve(int client);

    block::IoContext& context_;
    int fd_;
    std::string unix_path_;
    const Export& export_;
    std::list<std::shared_ptr<Connection>> clients_;
    block::CoQueue changed_;
    bool stopping_ = false, seen_one_ = false, accepting_ = false;
};

}  // namespace rhea::nbd
