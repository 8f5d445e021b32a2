// The firmware configuration device ("fw_cfg"): named and numbered items that the machine hands to
// firmware, operating system and kernel loaders.
//
// Ports 0x510 (selector), 0x511 (data) and 0x514 (DMA address, big endian). Numbered items have
// fixed keys; named ones ("etc/e820") get keys from 0x20 on, in order of addition, and appear
// sorted by name in the directory item. An item may be made when it is selected, and may be
// writable (by DMA). Source: the interface's public specification, "QEMU Firmware Configuration
// (fw_cfg) Device". Under the machine lock.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/core/device.h"
#include "rhea/core/memory.h"
#include "rhea/util/result.h"

namespace rhea::hw {

/// Keys of numbered items.
namespace fw_cfg_key {
inline constexpr std::uint16_t kSignature = 0x0000;
inline constexpr std::uint16_t kId = 0x0001;
inline constexpr std::uint16_t kUuid = 0x0002;
inline constexpr std::uint16_t kRamSize = 0x0003;
inline constexpr std::uint16_t kNoGraphic = 0x0004;
inline constexpr std::uint16_t kCpuCount = 0x0005;
inline constexpr std::uint16_t kMachineId = 0x0006;
inline constexpr std::uint16_t kKernelAddress = 0x0007;
inline constexpr std::uint16_t kKernelSize = 0x0008;
inline constexpr std::uint16_t kInitrdAddress = 0x000a;
inline constexpr std::uint16_t kInitrdSize = 0x000b;
inline constexpr std::uint16_t kBootDevice = 0x000c;
inline constexpr std::uint16_t kNuma = 0x000d;
inline constexpr std::uint16_t kBootMenu = 0x000e;
inline constexpr std::uint16_t kMaxCpus = 0x000f;
inline constexpr std::uint16_t kKernelEntry = 0x0010;
inline constexpr std::uint16_t kKernelData = 0x0011;
inline constexpr std::uint16_t kInitrdData = 0x0012;
inline constexpr std::uint16_t kCommandLineAddress = 0x0013;
inline constexpr std::uint16_t kCommandLineSize = 0x0014;
inline constexpr std::uint16_t kCommandLineData = 0x0015;
inline constexpr std::uint16_t kSetupAddress = 0x0016;
inline constexpr std::uint16_t kSetupSize = 0x0017;
inline constexpr std::uint16_t kSetupData = 0x0018;
inline constexpr std::uint16_t kFileDirectory = 0x0019;
inline constexpr std::uint16_t kFirstFile = 0x0020;
inline constexpr std::uint16_t kX86AcpiTables = 0x8000;
inline constexpr std::uint16_t kX86Smbios = 0x8001;
inline constexpr std::uint16_t kX86Irq0Override = 0x8002;
inline constexpr std::uint16_t kX86E820 = 0x8003;
}  // namespace fw_cfg_key

class FwCfg final : public core::Device {
  public:
    using Bytes = std::vector<std::uint8_t>;
    using Generator = std::function<Bytes()>;
    /// After the guest wrote `length` bytes at `offset` of an item.
    using WriteHandler =
        std::function<void(const Bytes& item, std::size_t offset, std::size_t length)>;

    /// DMA goes to `memory`.
    explicit FwCfg(core::AddressSpace& memory);

    void map(core::MemoryRegion& io_root);

    // Numbered items; setting one again replaces it. Integers are little endian.
    void set_item(std::uint16_t key, Bytes bytes);
    void set_u16(std::uint16_t key, std::uint16_t value);
    void set_u32(std::uint16_t key, std::uint32_t value);
    void set_u64(std::uint16_t key, std::uint64_t value);
    /// With its terminating zero.
    void set_string(std::uint16_t key, std::string_view text);

    // Named items. Fail when the name is empty, longer than 55 bytes or taken, or no key is left.
    [[nodiscard]] util::Result<void> add_file(std::string_view name, Bytes bytes);
    /// `generate` makes the contents each time the guest selects the file (and when it reads the
    /// directory, for the size).
    [[nodiscard]] util::Result<void> add_file(std::string_view name, Generator generate);
    [[nodiscard]] util::Result<void> add_writable_file(std::string_view name, Bytes bytes,
                                                       WriteHandler on_write = {});
    /// The contents of a named item now; null: no such item.
    [[nodiscard]] const Bytes* file(std::string_view name) const;
    /// The key of a named item, or 0.
    [[nodiscard]] std::uint16_t file_key(std::string_view name) const;

    [[nodiscard]] std::string_view type() const override { return "fw_cfg"; }
    void reset() override;
    void serialize(core::Archive& archive) override;

  private:
    struct Item {
        Bytes bytes;
        Generator generate;
        WriteHandler on_write;
        bool writable = false;
    };
    /// The selector and data ports, whose addresses overlap.
    class DataPorts final : public core::IoHandler {
      public:
        explicit DataPorts(FwCfg& owner) : owner_(owner) {}
        std::uint64_t io_read(core::hwaddr offset, unsigned size) override;
        void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override;

      private:
        FwCfg& owner_;
    };
    class DmaPorts final : public core::IoHandler {
      public:
        explicit DmaPorts(FwCfg& owner) : owner_(owner) {}
        std::uint64_t io_read(core::hwaddr offset, unsigned size) override;
        void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override;

      private:
        FwCfg& owner_;
    };

    util::Result<void> add_item(std::string_view name, Item item);
    Item* selected();
    void select(std::uint16_t key);
    std::uint8_t read_byte();
    void run_dma(core::hwaddr control_address);
    bool dma_read(core::hwaddr address, std::uint64_t length);
    bool dma_write(core::hwaddr address, std::uint64_t length);
    void skip(std::uint64_t length);
    Bytes make_directory();

    core::AddressSpace& memory_;
    std::map<std::uint16_t, Item> items_;
    std::map<std::string, std::uint16_t, std::less<>> files_;  ///< sorted, as the directory is
    std::uint16_t key_ = fw_cfg_key::kSignature;
    std::uint32_t offset_ = 0;
    std::uint32_t dma_address_high_ = 0;
    DataPorts data_ports_{*this};
    DmaPorts dma_ports_{*this};
    std::unique_ptr<core::MemoryRegion> data_region_, dma_region_;
};

}  // namespace rhea::hw
