// An IDE controller on a PCI bus with disks in memory, driven through ports as a guest does.
#pragma once
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "hw/ide/ide_cdrom.h"
#include "hw/ide/ide_hard_disk.h"
#include "hw/ide/piix3_ide.h"
#include "hw/pci/pci_bus.h"
#include "rhea/block/io_context.h"
#include "tests/support/fake_ports.h"
#include "tests/support/memory_block_node.h"

namespace rhea::test {

using block::testing::MemoryBlockNode;

class IdeRig {
  public:
    static constexpr unsigned kCommand[] = {0x1f0, 0x170}, kControl[] = {0x3f6, 0x376}, kBusMaster = 0xc000;

    explicit IdeRig(bool yields = false) : yields_(yields) {
        memory.root->add(0, *ram_);
        config.main_context = &context;
        config.claim_drive = [this](std::string_view id) -> util::Result<block::BlockBackend*> {
            const auto found = drives.find(std::string(id));
            if (found == drives.end()) {
                return util::fail("there is no drive '{}'", id);
            }
            return found->second.get();
        };
        EXPECT_TRUE(bus.attach(*controller, {.slot = 1, .function = 1}));
        controller->enable_channels();
        controller->config().write(0x20, kBusMaster | 1, 4);
    }
    ~IdeRig() {
        disks.clear();
        controller.reset();
    }

    MemoryBlockNode& add_drive(const std::string& id, std::uint64_t size) {
        auto node = std::make_shared<MemoryBlockNode>(context, size);
        node->yields = yields_;
        block::NodeSettings settings;
        settings.unmap = true;
        node->set_settings(settings);
        drives[id] = std::make_unique<block::BlockBackend>(id, context);
        EXPECT_TRUE(drives[id]->set_node(node));
        nodes[id] = node;
        return *node;
    }
    util::Result<hw::IdeHardDisk*> add_disk(unsigned channel, const std::string& id,
                                            std::vector<std::pair<std::string, std::string>> properties = {}) {
        return add_device<hw::IdeHardDisk>(channel, id, std::move(properties));
    }
    template <typename T>
    util::Result<T*> add_device(unsigned channel, const std::string& id, std::vector<std::pair<std::string, std::string>> properties = {}) {
        auto disk = std::make_unique<T>(config);
        T& made = *disk;
        properties.emplace_back("drive", id);
        for (const auto& [key, value] : properties) {
            if (auto done = disk->properties().set(key, value); !done) {
                return util::fail(done.error());
            }
        }
        if (auto done = controller->channel(channel).plug(*disk); !done) {
            return util::fail(done.error());
        }
        disks.push_back(std::move(disk));
        if (auto done = disks.back()->realize(); !done) {
            return util::fail(done.error());
        }
        return &made;
    }

    /// Lets the block layer and the main loop do what they have to.
    void settle() {
        for (int i = 0; i < 64; ++i) {
            context.run([](block::IoContext& where) -> block::Task<void> { co_await where.schedule(); }(context));
        }
    }

    std::uint8_t in(unsigned reg, unsigned channel = 0) {
        return static_cast<std::uint8_t>(io.load(kCommand[channel] + reg));
    }
    void out(unsigned reg, std::uint8_t value, unsigned channel = 0) { io.store(kCommand[channel] + reg, value); }
    std::uint8_t alternate(unsigned channel = 0) { return static_cast<std::uint8_t>(io.load(kControl[channel])); }
    void control(std::uint8_t value, unsigned channel = 0) { io.store(kControl[channel], value); }

    /// Task file and command; 28-bit LBA.
    void command(std::uint8_t code, std::uint32_t lba = 0, std::uint8_t count = 0, unsigned slave = 0) {
        out(hw::ata::kDevice, static_cast<std::uint8_t>(0xe0 | slave << 4 | (lba >> 24 & 15)));
        out(hw::ata::kCount, count);
        address(lba);
        out(hw::ata::kStatus, code);
        settle();
    }
    void command48(std::uint8_t code, std::uint64_t lba, std::uint16_t count) {
        out(hw::ata::kDevice, 0xe0);
        out(hw::ata::kCount, static_cast<std::uint8_t>(count >> 8));
        out(hw::ata::kCount, static_cast<std::uint8_t>(count));
        address(static_cast<std::uint32_t>(lba >> 24));
        address(static_cast<std::uint32_t>(lba));
        out(hw::ata::kStatus, code);
        settle();
    }
    void address(std::uint32_t lba) {
        for (unsigned i = 0; i < 3; ++i) {
            out(hw::ata::kLbaLow + i, static_cast<std::uint8_t>(lba >> (8 * i)));
        }
    }
    std::vector<std::uint8_t> read_data(std::size_t bytes) {
        std::vector<std::uint8_t> data;
        while (data.size() < bytes) {
            const auto word = io.load(kCommand[0], 2);
            data.push_back(static_cast<std::uint8_t>(word));
            data.push_back(static_cast<std::uint8_t>(word >> 8));
        }
        settle();
        return data;
    }
    void write_data(const std::vector<std::uint8_t>& data) {
        for (std::size_t i = 0; i < data.size(); i += 4) {
            io.store(kCommand[0], data[i] | data[i + 1] << 8 | data[i + 2] << 16 | std::uint32_t{data[i + 3]} << 24, 4);
        }
        settle();
    }
    std::vector<std::uint16_t> identify(unsigned slave = 0) {
        command(hw::ata::kIdentifyDevice, 0, 0, slave);
        EXPECT_EQ(in(hw::ata::kStatus), 0x58);
        const auto bytes = read_data(512);
        std::vector<std::uint16_t> words;
        for (std::size_t i = 0; i < 512; i += 2) {
            words.push_back(static_cast<std::uint16_t>(bytes[i] | bytes[i + 1] << 8));
        }
        return words;
    }

    /// One PRD at `at`.
    void prd(core::hwaddr at, std::uint32_t address, std::uint32_t bytes, bool last) {
        memory.store(at, address, 4);
        memory.store(at + 4, (bytes & 0xffff) | (last ? 0x80000000u : 0), 4);
    }
    void start_dma(std::uint32_t table, bool to_memory) {
        io.store(kBusMaster + 4, table, 4);
        io.store(kBusMaster + 2, 0x06);
        io.store(kBusMaster, to_memory ? 0x08 : 0x00);
        io.store(kBusMaster, to_memory ? 0x09 : 0x01);
        settle();
    }
    std::uint8_t dma_status() { return static_cast<std::uint8_t>(io.load(kBusMaster + 2)); }

    static std::vector<std::uint8_t> pattern(std::size_t bytes, unsigned seed) {
        std::vector<std::uint8_t> data(bytes);
        for (std::size_t i = 0; i < bytes; ++i) {
            data[i] = static_cast<std::uint8_t>(i * 7 + seed + (i >> 8));
        }
        return data;
    }

    bool yields_;
    block::IoContext context;
    core::MachineConfig config;
    std::map<std::string, std::shared_ptr<MemoryBlockNode>> nodes;
    std::map<std::string, std::unique_ptr<block::BlockBackend>> drives;
    FakeSpace memory{"memory", 1ull << 32}, io{"io", 0x10000};
    core::RamBlock ram_block{"ram", 0, 1 << 20};
    std::unique_ptr<core::MemoryRegion> ram_ = core::MemoryRegion::ram("ram", ram_block);
    std::unique_ptr<core::MemoryRegion> window = core::MemoryRegion::container("pci", 1ull << 32);
    FakeIrqSink irq;
    hw::PciBus bus{{*window, *io.root, memory.space, nullptr}};
    std::unique_ptr<hw::Piix3Ide> controller =
        std::make_unique<hw::Piix3Ide>(std::array{irq.line(14), irq.line(15)}, *io.root);
    std::vector<std::unique_ptr<hw::IdeDevice>> disks;
};

}  // namespace rhea::test
