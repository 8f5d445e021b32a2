// A virtio device with a driver beside it: fake RAM, a transport that counts, a drive in memory that an I/O thread serves.
#pragma once
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "hw/virtio/virtio_device.h"
#include "rhea/block/backend.h"
#include "rhea/core/machine.h"
#include "rhea/core/machine_lock.h"
#include "tests/support/memory_block_node.h"
#include "tests/support/virtio_driver.h"

namespace rhea::test {

/// Functions that a device wants to be run in the main thread.
class PostBox {
  public:
    std::function<void(std::function<void()>)> port() {
        return [this](std::function<void()> function) {
            const std::lock_guard lock(mutex_);
            waiting_.push_back(std::move(function));
        };
    }
    void run() {
        std::vector<std::function<void()>> now;
        {
            const std::lock_guard lock(mutex_);
            now.swap(waiting_);
        }
        for (const auto& each : now)
            each();
    }

  private:
    std::mutex mutex_;
    std::vector<std::function<void()>> waiting_;
};

class CountingTransport final : public hw::virtio::Transport {
  public:
    void queue_interrupt(unsigned queue) override { ++queue_interrupts[queue]; }
    void config_interrupt() override { ++config_interrupts; }
    std::array<std::atomic<unsigned>, 8> queue_interrupts{};
    std::atomic<unsigned> config_interrupts{0};
};

/// A drive whose node is memory. Requests run in a thread of its own.
class MemoryDrive {
  public:
    explicit MemoryDrive(std::string name, std::uint64_t size)
        : thread("drive"), backend(std::move(name), thread.context()),
          node(std::make_shared<block::testing::MemoryBlockNode>(thread.context(), size)) {
        node->yields = true;
        block::NodeSettings settings;
        settings.unmap = true;
        node->set_settings(settings);
        EXPECT_TRUE(backend.set_node(node));
    }
    ~MemoryDrive() { EXPECT_TRUE(backend.set_node(nullptr)); }

    block::IoThread thread;
    block::BlockBackend backend;
    std::shared_ptr<block::testing::MemoryBlockNode> node;
};

/// Waits for what another thread does; a test that waits in vain fails.
template <typename Condition>
bool eventually(Condition&& condition) {
    for (int i = 0; i < 20'000; ++i) {
        if (condition())
            return true;
        std::this_thread::sleep_for(std::chrono::microseconds(i < 200 ? 50 : 1000));
    }
    return false;
}

/// The driver of one device, by the device's own interface; no transport's registers.
class VirtioBench {
  public:
    static constexpr core::hwaddr kRings = 0x10000, kRingStep = 0x20000, kData = 0x200000;

    explicit VirtioBench(hw::virtio::VirtioDevice& device) : device_(device) {}
    ~VirtioBench() { device_.shutdown(); }

    [[nodiscard]] util::Result<void> realize() {
        return device_.realize({.memory = ram.space, .post = posts.port(), .name = "test"}, transport);
    }
    /// Negotiates and makes every queue ready.
    void start(std::uint64_t features, bool packed = false) {
        const core::MachineLockGuard lock;
        features |= hw::virtio::kVersion1 | (packed ? hw::virtio::kRingPacked : 0);
        device_.set_running(true);
        device_.set_status(1, true);
        device_.set_status(3, true);
        device_.set_driver_features(features);
        device_.set_status(11, true);
        ASSERT_EQ(device_.status(), 11);
        drivers.clear();
        for (unsigned index = 0; index < device_.queue_count(); ++index) {
            hw::virtio::Queue& queue = device_.queue(index);
            queue.size = 16;
            auto& driver = drivers.emplace_back(ram, kRings + index * kRingStep, queue.size, packed);
            queue.desc = driver.desc;
            queue.driver = driver.driver;
            queue.device = driver.device;
            device_.enable_queue(index);
        }
        device_.set_status(15, true);
        ASSERT_EQ(device_.status(), 15);
    }
    void reset() {
        const core::MachineLockGuard lock;
        device_.set_status(0, true);
    }
    /// Makes a request and waits for its end; gives the bytes written.
    std::uint32_t request(unsigned queue, const std::vector<DriverBuffer>& buffers, bool indirect = false) {
        submit(queue, buffers, indirect);
        const auto used = wait_used(queue);
        EXPECT_TRUE(used) << "no answer";
        return used ? used->length : 0;
    }
    std::uint16_t submit(unsigned queue, const std::vector<DriverBuffer>& buffers, bool indirect = false) {
        const std::uint16_t id = drivers[queue].add(buffers, indirect);
        device_.notify(queue);
        return id;
    }
    std::optional<UsedElement> wait_used(unsigned queue) {
        std::optional<UsedElement> used;
        eventually([&] {
            used = drivers[queue].take_used();
            return used.has_value();
        });
        return used;
    }
    bool needs_reset() {
        return eventually([&] {
            posts.run();
            return (device_.status() & hw::virtio::kStatusNeedsReset) != 0;
        });
    }

    GuestRam ram{0x400000};
    PostBox posts;
    CountingTransport transport;
    std::deque<VirtioDriver> drivers;

  private:
    hw::virtio::VirtioDevice& device_;
};

}  // namespace rhea::test
