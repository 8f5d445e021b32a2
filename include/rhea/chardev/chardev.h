// Character devices of the host: what `-chardev` makes and UARTs, consoles and monitors talk to.
//
// A Chardev is the CharBackend of one front end; a multiplexer (mux.h) gives several front ends a
// share of it. Everything runs under the machine lock. write() never blocks: what the outside does
// not take at once waits in a bounded queue, and a full queue makes write() take fewer bytes.
// Objects are made and destroyed in the main thread.
#pragma once
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "rhea/core/char_backend.h"
#include "rhea/util/event_loop.h"
#include "rhea/util/result.h"

namespace rhea::chardev {

class Chardev : public core::CharBackend {
  public:
    ~Chardev() override;
    Chardev(const Chardev&) = delete;
    Chardev& operator=(const Chardev&) = delete;

    const std::string& id() const { return id_; }
    /// As `info chardev` shows it: "pty:/dev/pts/3", "disconnected:unix:/tmp/s,server=on".
    virtual std::string describe() const = 0;
    /// Is somebody at the other end?
    bool connected() const { return connected_; }
    bool has_front_end() const { return static_cast<bool>(front_end_.receive); }

    std::size_t write(std::span<const std::uint8_t> bytes) final;
    /// A front end that is set while the device is connected is told so at once.
    void set_front_end(FrontEnd front_end) final;
    void accept_input() override {}
    /// Waits a moment for queued output to leave; called once, at exit.
    virtual void flush() {}

    /// Copies all output to a file as well (`logfile=`).
    [[nodiscard]] util::Result<void> open_log(const std::string& path, bool append);

  protected:
    explicit Chardev(std::string id) : id_(std::move(id)) {}

    virtual std::size_t send(std::span<const std::uint8_t> bytes) = 0;
    /// How many bytes the front end takes now.
    std::size_t room() const;
    void deliver(std::span<const std::uint8_t> bytes);
    void tell_writable();
    void tell_break();
    void set_connected(bool connected);

  private:
    struct CloseFile {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };

    std::string id_;
    FrontEnd front_end_;
    bool connected_ = false;
    std::unique_ptr<std::FILE, CloseFile> log_;
};

/// Puts the terminal back as it was found. Any time, any thread, also in a signal handler.
void restore_terminal();
/// The terminal changed hands (SIGCONT): makes it raw again when it was.
void reenter_raw_terminal();

}  // namespace rhea::chardev
