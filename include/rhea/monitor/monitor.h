// The monitor for people on one byte stream: prompt, editing, commands.
//
// Input arrives under the machine lock and only fills a queue; commands run in the main loop without
// the lock, because some wait for vCPUs. A multiplexed monitor shows nothing until it gets the focus.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "rhea/core/char_backend.h"
#include "rhea/monitor/host.h"
#include "rhea/util/event_loop.h"

namespace rhea::monitor {

class LineEditor;

class Monitor {
  public:
    /// `waits_for_focus`: set_focus() says when the monitor is to be seen.
    Monitor(util::EventLoop& loop, Host& host, core::CharBackend& backend, bool waits_for_focus);
    ~Monitor();
    Monitor(const Monitor&) = delete;
    Monitor& operator=(const Monitor&) = delete;

    /// Under the machine lock.
    void set_focus(bool focused);

  private:
    static constexpr std::size_t kMaxInput = 4096;
    static constexpr std::size_t kMaxOutput = 4 << 20;

    void on_input(std::span<const std::uint8_t> bytes);
    void on_connection(bool opened);
    void greet();
    void process();
    void execute(const std::string& line);
    void print(std::string_view text);
    void send();

    util::EventLoop& loop_;
    Host& host_;
    core::CharBackend& backend_;
    bool focused_;
    bool connected_ = false;
    bool greeted_ = false;
    bool scheduled_ = false;
    std::deque<std::uint8_t> input_;
    std::string output_;
    std::unique_ptr<LineEditor> editor_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rhea::monitor
