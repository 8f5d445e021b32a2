// An NBD server for one image: fixed newstyle handshake, structured replies, base:allocation.
//
// A coroutine a connection reads requests; each request runs in one of its own, at most kMaxInFlight at a time, and the
// answers go out as they come. Nothing that a client sends is believed: lengths and offsets are checked before memory is
// allocated or the image is touched. One thread: the context's. Source: the NBD project's doc/proto.md.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "rhea/block/backend.h"
#include "rhea/block/co_sync.h"
#include "tools/nbd/stream.h"

namespace rhea::nbd {

struct Export {
    std::string name;         ///< empty: the default export
    std::string description;
    bool read_only = false;
    std::uint64_t offset = 0; ///< where in the image it begins
    std::uint64_t length = 0;
    block::BlockBackend* disk = nullptr;
};

/// One client.
class Connection : public std::enable_shared_from_this<Connection> {
  public:
    Connection(block::IoContext& context, int fd, const Export& exported)
        : context_(context), stream_(context, fd), export_(exported) {}

    /// Serves it until it leaves; nothing is in flight then.
    block::Task<void> serve();
    void shut_down() { stream_.shut_down(); }

    static constexpr unsigned kMaxInFlight = 16;

  private:
    struct Request {
        std::uint16_t flags = 0, type = 0;
        std::uint64_t handle = 0, offset = 0;
        std::uint32_t length = 0;
        std::vector<std::uint8_t> payload;
    };
    enum class Next : std::uint8_t { kMore, kTransmission, kEnd };

    // handshake.cc
    block::Task<bool> negotiate();
    // What these are given lives until they are done.
    block::Task<Next> option(std::uint32_t code, const std::vector<std::uint8_t>& data);
    block::Task<Next> list(const std::vector<std::uint8_t>& data, std::uint32_t code);
    block::Task<Next> info(std::uint32_t code, const std::vector<std::uint8_t>& data);
    block::Task<Next> meta_context(std::uint32_t code, const std::vector<std::uint8_t>& data);
    block::Task<bool> reply_option(std::uint32_t code, std::uint32_t type, const Message& data);
    block::Task<Next> refuse_option(std::uint32_t code, std::uint32_t type, std::string_view reason);
    std::uint16_t transmission_flags() const;

    // transmission.cc
    block::Task<void> transmit();
    block::Task<bool> read_request(Request& request);
    block::Task<void> handle(Request request);
    block::Task<void> read(const Request& request);
    block::Task<void> block_status(const Request& request);
    block::Task<std::uint32_t> perform(const Request& request);
    std::uint32_t check(const Request& request) const;
    block::Task<void> reply(const Request& request, std::uint32_t error, std::string_view reason);
    block::Task<void> send(const Message& head, const void* payload, std::size_t length);

    block::IoContext& context_;
    Stream stream_;
    const Export& export_;
    bool no_zeroes_ = false, structured_ = false, allocation_ = false;
    unsigned in_flight_ = 0;
    block::CoQueue drained_;
    block::CoMutex sending_;
    bool gone_ = false;
};

/// The wire's number for an errno.
std::uint32_t wire_error(int code);

}  // namespace rhea::nbd
