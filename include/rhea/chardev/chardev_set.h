// All character devices of a run: `-chardev id=...` and the short forms of -serial and friends.
//
// Main thread only (the devices themselves work under the machine lock).
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/chardev/chardev.h"
#include "rhea/chardev/mux.h"
#include "rhea/util/event_loop.h"
#include "rhea/util/option_list.h"
#include "rhea/util/result.h"

namespace rhea::chardev {

/// One backend as `-chardev help` lists it.
struct BackendInfo {
    std::string_view name;
    std::string_view help;
};

class ChardevSet {
  public:
    struct Hooks {
        std::function<void()> quit;                     ///< Ctrl-A x
        std::function<void(std::string_view)> announce; ///< "char device redirected to ..."
    };
    ChardevSet(util::EventLoop& loop, Hooks hooks);
    ~ChardevSet();

    /// The Ctrl-A of multiplexers made from now on (`-echr`).
    void set_escape(std::uint8_t character) { escape_ = character; }

    /// `-chardev BACKEND,id=ID,...`.
    [[nodiscard]] util::Result<Chardev*> add(util::OptionList options);
    /// The short form of -serial, -parallel, -monitor, -debugcon: "stdio", "mon:stdio", "file:x",
    /// "chardev:id", ... "none" gives null. A "mon:" prefix makes a multiplexer, told by `*with_monitor`.
    [[nodiscard]] util::Result<core::CharBackend*> open_short(std::string_view text,
                                                              const std::string& id,
                                                              bool* with_monitor = nullptr);
    /// A front end's share of the chardev `id`: itself, or a new port of its multiplexer.
    [[nodiscard]] util::Result<core::CharBackend*> claim(std::string_view id);

    Chardev* find(std::string_view id);
    std::vector<const Chardev*> all() const;
    static std::span<const BackendInfo> backends();

    /// Lets queued output out (bounded) and puts the terminal back.
    void close();

  private:
    struct Entry {
        std::unique_ptr<Chardev> chardev;
        std::unique_ptr<Mux> mux;
        bool claimed = false;
    };
    Entry* entry(std::string_view id);

    util::EventLoop& loop_;
    Hooks hooks_;
    std::uint8_t escape_ = 1;
    std::vector<std::unique_ptr<Entry>> entries_;
};

}  // namespace rhea::chardev
