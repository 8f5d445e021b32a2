// An NVMe controller on a PCI bus with a namespace in memory, and the half of a driver that its tests need.
#pragma once
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "hw/nvme/nvme_controller.h"
#include "hw/pci/pci_bus.h"
#include "rhea/block/io_context.h"
#include "tests/support/fake_ports.h"
#include "tests/support/memory_block_node.h"

namespace rhea::test {

using block::testing::MemoryBlockNode;

class NvmeRig {
  public:
    static constexpr core::hwaddr kBar = 0xe0000000;
    static constexpr std::uint32_t kAdminSq = 0x1000, kAdminCq = 0x2000, kIoSq = 0x3000, kIoCq = 0x4000, kList = 0x8000, kData = 0x10000;
    static constexpr std::uint32_t kAdminEntries = 16, kIoEntries = 8;

    class Messages final : public hw::MsiSink {
      public:
        void send_msi(std::uint64_t, std::uint32_t data) override { sent.push_back(data); }
        std::vector<std::uint32_t> sent;
    };
    struct Answer {
        std::uint32_t result = 0;
        std::uint16_t command = 0, sq = 0, sq_head = 0;
        std::uint16_t status = 0xffff;  ///< without the phase; 0xffff: there was none
    };

    explicit NvmeRig(bool yields = false, std::vector<std::pair<std::string, std::string>> properties = {}, std::uint64_t size = 1 << 20) {
        memory.root->add(0, *ram_region);
        memory.root->add(0, *window, -1);
        node = std::make_shared<MemoryBlockNode>(context, size);
        node->yields = yields;
        block::NodeSettings settings;
        settings.unmap = true;
        node->set_settings(settings);
        EXPECT_TRUE(drive.set_node(node));
        config.main_context = &context;
        config.claim_drive = [this](std::string_view) -> util::Result<block::BlockBackend*> { return &drive; };
        clocks.use_manual_time(0);
        properties.emplace_back("drive", "d");
        properties.emplace_back("serial", "nv1");
        for (const auto& [key, value] : properties) {
            EXPECT_TRUE(nvme->properties().set(key, value));
        }
        EXPECT_TRUE(bus.attach(*nvme, {.slot = 4}));
        EXPECT_TRUE(nvme->realize());
        place();
    }
    void place() {
        nvme->config().write(0x10, static_cast<std::uint32_t>(kBar), 4);
        nvme->config().write(0x14, 0, 4);
        nvme->config().write(4, 6, 2);
    }

    void settle() {
        for (int i = 0; i < rounds; ++i) {
            context.run([](block::IoContext& where) -> block::Task<void> { co_await where.schedule(); }(context));
        }
    }
    std::uint64_t reg(unsigned offset, unsigned size = 4) { return memory.load(kBar + offset, size); }
    void set_reg(unsigned offset, std::uint64_t value, unsigned size = 4) { memory.store(kBar + offset, value, size); }
    std::uint32_t csts() { return static_cast<std::uint32_t>(reg(0x1c)); }

    /// Admin queues, and the controller on.
    void enable() {
        std::memset(ram.host() + kAdminSq, 0, 0x7000);
        set_reg(0x24, (kAdminEntries - 1) << 16 | (kAdminEntries - 1));
        set_reg(0x28, kAdminSq, 8);
        set_reg(0x30, kAdminCq, 8);
        set_reg(0x14, 6u << 16 | 4u << 20 | 1);
        admin_ = io_ = {};
        settle();
    }
    /// One queue pair for I/O, vector 1 (0 without MSI-X).
    void make_io_queues(std::uint16_t vector = 0) {
        EXPECT_EQ(admin(command(5, 0, kIoCq, 0, {(kIoEntries - 1) << 16 | 1, static_cast<std::uint32_t>(vector) << 16 | 3})).status, 0);
        EXPECT_EQ(admin(command(1, 0, kIoSq, 0, {(kIoEntries - 1) << 16 | 1, 1u << 16 | 1})).status, 0);
    }

    static std::array<std::uint8_t, 64> command(std::uint8_t opcode, std::uint32_t nsid, std::uint64_t prp1, std::uint64_t prp2,
                                                std::vector<std::uint32_t> dw = {}) {
        std::array<std::uint8_t, 64> bytes{};
        bytes[0] = opcode;
        std::memcpy(&bytes[4], &nsid, 4);
        std::memcpy(&bytes[24], &prp1, 8);
        std::memcpy(&bytes[32], &prp2, 8);
        for (std::size_t i = 0; i < dw.size(); ++i) {
            std::memcpy(&bytes[40 + 4 * i], &dw[i], 4);
        }
        return bytes;
    }
    /// Read, write and the like of `blocks` blocks.
    static std::array<std::uint8_t, 64> transfer(std::uint8_t opcode, std::uint64_t lba, std::uint32_t blocks, std::uint64_t prp1 = kData,
                                                 std::uint64_t prp2 = 0, std::uint32_t flags = 0) {
        return command(opcode, 1, prp1, prp2, {static_cast<std::uint32_t>(lba), static_cast<std::uint32_t>(lba >> 32), (blocks - 1) | flags});
    }

    Answer admin(const std::array<std::uint8_t, 64>& bytes) { return run(admin_, 0, kAdminSq, kAdminCq, kAdminEntries, bytes); }
    Answer io(const std::array<std::uint8_t, 64>& bytes) { return run(io_, 1, kIoSq, kIoCq, kIoEntries, bytes); }
    void submit_io(const std::array<std::uint8_t, 64>& bytes) { submit(io_, 1, kIoSq, kIoEntries, bytes); }
    void submit_admin(const std::array<std::uint8_t, 64>& bytes) { submit(admin_, 0, kAdminSq, kAdminEntries, bytes); }
    Answer poll_io() { return poll(io_, 1, kIoCq, kIoEntries); }
    Answer poll_admin() { return poll(admin_, 0, kAdminCq, kAdminEntries); }

    static std::vector<std::uint8_t> pattern(std::size_t bytes, unsigned seed) {
        std::vector<std::uint8_t> data(bytes);
        for (std::size_t i = 0; i < bytes; ++i) {
            data[i] = static_cast<std::uint8_t>(i * 5 + seed + (i >> 9));
        }
        return data;
    }

    int rounds = 64;  ///< that settle() gives the block layer and the main loop
    block::IoContext context;
    core::MachineConfig config;
    core::Clocks clocks;
    std::shared_ptr<MemoryBlockNode> node;
    block::BlockBackend drive{"d", context};
    FakeSpace memory{"memory", 1ull << 40}, ports{"io", 0x10000};
    core::RamBlock ram{"ram", 0, 8 << 20};
    std::unique_ptr<core::MemoryRegion> ram_region = core::MemoryRegion::ram("ram", ram);
    std::unique_ptr<core::MemoryRegion> window = core::MemoryRegion::container("pci", 1ull << 40);
    FakeIrqSink irq;
    Messages messages;
    hw::PciBus bus{{*window, *ports.root, memory.space, &messages}};
    std::unique_ptr<hw::nvme::NvmeController> nvme = [this] {
        bus.connect_pirqs({irq.line(0), irq.line(1), irq.line(2), irq.line(3)});
        return std::make_unique<hw::nvme::NvmeController>(config, clocks);
    }();

  private:
    struct Ring {
        std::uint32_t tail = 0, head = 0;
        bool phase = true;
        std::uint16_t next_id = 100;
    };
    void submit(Ring& ring, unsigned queue, std::uint32_t base, std::uint32_t entries, std::array<std::uint8_t, 64> bytes) {
        std::memcpy(&bytes[2], &ring.next_id, 2);
        ++ring.next_id;
        memory.space.write(base + ring.tail * 64, bytes.data(), bytes.size());
        ring.tail = (ring.tail + 1) % entries;
        set_reg(0x1000 + queue * 8, ring.tail);
    }
    Answer poll(Ring& ring, unsigned queue, std::uint32_t base, std::uint32_t entries) {
        settle();
        const std::uint32_t at = base + ring.head * 16;
        const auto last = static_cast<std::uint32_t>(memory.load(at + 12, 4));
        if ((last >> 16 & 1) != ring.phase) {
            return {};
        }
        const auto third = static_cast<std::uint32_t>(memory.load(at + 8, 4));
        const Answer answer{.result = static_cast<std::uint32_t>(memory.load(at, 4)),
                            .command = static_cast<std::uint16_t>(last),
                            .sq = static_cast<std::uint16_t>(third >> 16),
                            .sq_head = static_cast<std::uint16_t>(third),
                            .status = static_cast<std::uint16_t>(last >> 17)};
        ring.head = (ring.head + 1) % entries;
        ring.phase ^= ring.head == 0;
        set_reg(0x1000 + queue * 8 + 4, ring.head);
        return answer;
    }
    Answer run(Ring& ring, unsigned queue, std::uint32_t sq, std::uint32_t cq, std::uint32_t entries, const std::array<std::uint8_t, 64>& bytes) {
        const std::uint16_t id = ring.next_id;
        submit(ring, queue, sq, entries, bytes);
        const Answer answer = poll(ring, queue, cq, entries);
        if (answer.status != 0xffff) {
            EXPECT_EQ(answer.command, id);
            EXPECT_EQ(answer.sq, queue);
        }
        return answer;
    }
    Ring admin_, io_;
};

}  // namespace rhea::test
