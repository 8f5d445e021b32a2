// A virtio device without a purpose, for tests of transports.
#pragma once
#include <algorithm>
#include <array>
#include <vector>

#include "hw/virtio/virtio_device.h"

namespace rhea::test {

/// Answers each request with its first byte, as often as it has room for.
class EchoDevice final : public hw::virtio::VirtioDevice {
  public:
    explicit EchoDevice(block::IoContext& context) : VirtioDevice(hw::virtio::kDeviceBlock, "echo"), context_(context) {}
    unsigned config_size() const override { return 12; }
    std::uint64_t device_features() const override { return hw::virtio::bit(5); }
    util::Result<void> realize_device() override {
        add_queue(64);
        add_queue(64);
        return {};
    }
    void fill_config(std::span<std::uint8_t> to) override { std::ranges::copy(config, to.begin()); }
    void config_written(std::span<const std::uint8_t> bytes, unsigned, unsigned) override {
        std::ranges::copy(bytes, config.begin());
    }
    block::IoContext& context() override { return context_; }
    void handle(unsigned queue, hw::virtio::Element* element) override {
        std::uint8_t byte = 0;
        element->out.read(0, &byte, 1);
        const std::vector<std::uint8_t> reply(element->in.size(), byte);
        element->in.write(0, reply.data(), reply.size());
        complete(queue, element, static_cast<std::uint32_t>(reply.size()));
    }
    void change() { config_changed(); }
    std::vector<BootUnit> boot_units() const override { return unit; }
    std::vector<BootUnit> unit;
    std::array<std::uint8_t, 12> config{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

  private:
    block::IoContext& context_;
};

}  // namespace rhea::test
