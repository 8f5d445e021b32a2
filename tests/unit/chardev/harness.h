// A ChardevSet on an event loop, and a front end that remembers.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>

#include "rhea/chardev/chardev_set.h"
#include "rhea/core/machine_lock.h"

namespace rhea::chardev {

/// A device that takes what comes, up to `room` bytes.
struct Device {
    std::string received;
    std::size_t room = 1 << 20;
    unsigned opened = 0, closed = 0, breaks = 0, writable = 0;

    core::CharBackend::FrontEnd front_end() {
        core::CharBackend::FrontEnd end;
        end.can_receive = [this] { return room; };
        end.receive = [this](std::span<const std::uint8_t> bytes) {
            received.append(bytes.begin(), bytes.end());
            room -= bytes.size();
        };
        end.on_writable = [this] { ++writable; };
        end.on_connection = [this](bool now) { ++(now ? opened : closed); };
        end.on_break = [this] { ++breaks; };
        return end;
    }
};

class ChardevTest : public testing::Test {
  protected:
    ChardevTest() {
        char name[] = "/tmp/rhea-chardev-XXXXXX";
        folder_ = ::mkdtemp(name);
    }
    ~ChardevTest() override {
        const std::string command = "rm -rf " + folder_;
        EXPECT_EQ(std::system(command.c_str()), 0);
    }

    /// The backend of a short form, connected to `device`.
    core::CharBackend* open(const std::string& text, Device& device) {
        auto backend = set_.open_short(text, "id" + std::to_string(next_id_++));
        EXPECT_TRUE(backend) << (backend ? "" : backend.error().message());
        if (!backend || !*backend) {
            return nullptr;
        }
        const core::MachineLockGuard lock;
        (*backend)->set_front_end(device.front_end());
        return *backend;
    }
    std::string refusal(const std::string& text) {
        auto backend = set_.open_short(text, "id" + std::to_string(next_id_++));
        EXPECT_FALSE(backend) << text;
        return backend ? "" : backend.error().message();
    }
    std::size_t write(core::CharBackend* backend, std::string_view text) {
        const core::MachineLockGuard lock;
        return backend->write({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    }
    void accept(core::CharBackend* backend) {
        const core::MachineLockGuard lock;
        backend->accept_input();
    }
    /// Runs the loop until `done`; gives up after a while.
    bool wait_for(const std::function<bool()>& done) {
        const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (!done()) {
            if (!loop_.iterate(false)) {
                ::usleep(500);
            }
            if (std::chrono::steady_clock::now() > give_up) {
                return false;
            }
        }
        return true;
    }
    void settle() {
        for (int i = 0; i < 20; ++i) {
            loop_.iterate(false);
        }
    }

    std::string folder_;
    unsigned quits_ = 0;
    std::string announced_;
    int next_id_ = 0;
    util::EventLoop loop_;
    ChardevSet set_{loop_, {[this] { ++quits_; },
                            [this](std::string_view text) { announced_ += text; }}};
};

}  // namespace rhea::chardev
