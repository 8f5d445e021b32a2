// A connection to an NBD server: libnbd's state machine, driven by the context's loop; it never blocks.
//
// While commands are in flight, one coroutine waits for replies, and another one, when the socket is full, for room. Nothing
// waits while none is, so an idle connection holds nothing of the context. Coroutines keep the connection alive.
#pragma once
#include <coroutine>
#include <memory>
#include <string>
#include <vector>

#include "block/nbd/libnbd.h"
#include "block/nbd/nbd_address.h"
#include "rhea/block/io_context.h"

namespace rhea::block {

class NbdConnection : public std::enable_shared_from_this<NbdConnection> {
public:
    static Task<util::Result<std::shared_ptr<NbdConnection>>> open(IoContext &context, NbdAddress address);
    ~NbdConnection();

    nbd_handle *handle() const { return handle_; }
    const LibNbd &lib() const { return *lib_; }

    /// A command: issue() calls libnbd with completion(), then `co_await` it; it yields 0 or an errno.
    class Command {
    public:
        explicit Command(NbdConnection &connection) : connection_(&connection) {}
        Command(const Command &) = delete;
        Command &operator=(const Command &) = delete;
        nbd_completion_callback completion();
        bool await_ready() const noexcept { return done_; }
        void await_suspend(std::coroutine_handle<> waiter) noexcept { waiter_ = waiter; }
        int await_resume() const noexcept { return error_; }

    private:
        friend class NbdConnection;
        NbdConnection *connection_;
        std::coroutine_handle<> waiter_;
        bool done_ = false;
        int error_ = 0;
    };
    /// After libnbd took a command (`cookie`), or refused it (-1).
    void issued(IoContext &context, Command &command, std::int64_t cookie);
    /// Tells the server that this was all.
    void disconnect();

private:
    explicit NbdConnection(const LibNbd &lib) : lib_(&lib) {}
    Task<util::Result<void>> handshake(IoContext &context, const std::string &where);
    util::Failure error(const std::string &where) const;
    void deliver();
    void start_writer(IoContext &context);
    static Task<void> wait_for_replies(std::shared_ptr<NbdConnection> self, IoContext &context);
    static Task<void> wait_for_room(std::shared_ptr<NbdConnection> self, IoContext &context);

    const LibNbd *lib_;
    nbd_handle *handle_ = nullptr;
    std::vector<Command *> finished_; ///< libnbd has called back, the waiter does not run yet
    unsigned in_flight_ = 0;
    bool reading_ = false, writing_ = false;
};

} // namespace rhea::block
