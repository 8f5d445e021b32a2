#include "rhea/monitor/monitor.h"

#include <fmt/format.h>

#include "line_editor.h"
#include "rhea/core/machine_lock.h"
#include "rhea/monitor/command.h"

namespace rhea::monitor {

Monitor::Monitor(util::EventLoop& loop, Host& host, core::CharBackend& backend,
                 bool waits_for_focus)
    : loop_(loop), host_(host), backend_(backend), focused_(!waits_for_focus),
      editor_(std::make_unique<LineEditor>(
          "(qemu) ",
          LineEditor::Hooks{[this](std::string_view text) { print(text); },
                            [this](const std::string& line) { execute(line); },
                            [](std::string_view line) { return completions(line); }})) {
    core::CharBackend::FrontEnd front_end;
    front_end.can_receive = [this] { return kMaxInput - input_.size(); };
    front_end.receive = [this](std::span<const std::uint8_t> bytes) { on_input(bytes); };
    front_end.on_writable = [this] { send(); };
    front_end.on_connection = [this](bool opened) { on_connection(opened); };
    const core::MachineLockGuard lock;
    backend_.set_front_end(std::move(front_end));
}

Monitor::~Monitor() {
    const core::MachineLockGuard lock;
    backend_.set_front_end({});
}

void Monitor::on_connection(bool opened) {
    connected_ = opened;
    greeted_ = false;
    output_.clear();
    input_.clear();
    editor_->clear();
    if (opened && focused_) {
        greet();
    }
}

void Monitor::set_focus(bool focused) {
    focused_ = focused;
    if (!focused || !connected_) {
        return;
    }
    if (greeted_) {
        editor_->show_prompt();
    } else {
        greet();
    }
}

void Monitor::greet() {
    greeted_ = true;
    print(fmt::format("Rhea {} monitor - type 'help' for more information\r\n", host_.version()));
    editor_->show_prompt();
}

void Monitor::on_input(std::span<const std::uint8_t> bytes) {
    input_.insert(input_.end(), bytes.begin(), bytes.end());
    if (std::exchange(scheduled_, true)) {
        return;
    }
    loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.lock()) {
            process();
        }
    });
}

void Monitor::process() {
    for (;;) {
        std::uint8_t byte;
        {
            const core::MachineLockGuard lock;
            if (input_.empty()) {
                scheduled_ = false;
                backend_.accept_input();
                return;
            }
            byte = input_.front();
            input_.pop_front();
        }
        editor_->input(byte);
    }
}

void Monitor::execute(const std::string& line) {
    const std::string text = run_line(host_, line);
    std::string shown;
    for (const char c : text) {
        shown += c == '\n' ? "\r\n" : std::string(1, c);
    }
    print(shown);
    editor_->show_prompt();
}

void Monitor::print(std::string_view text) {
    const core::MachineLockGuard lock;
    if (output_.size() < kMaxOutput) {
        output_ += text;  // who never reads gets no more
    }
    send();
}

void Monitor::send() {
    if (output_.empty()) {
        return;
    }
    const std::size_t taken =
        backend_.write({reinterpret_cast<const std::uint8_t*>(output_.data()), output_.size()});
    output_.erase(0, taken);
}

}  // namespace rhea::monitor
