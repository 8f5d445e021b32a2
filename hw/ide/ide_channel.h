// One IDE channel: the registers that its two drives share, and the half of a bus master that moves their data.
//
// Register writes go to both drives; the drive that the device register selects is the one that answers and whose
// interrupt reaches the wire. Nobody answers for an absent device 0; device 0 answers for an absent device 1, with a
// status of 0 (ATA/ATAPI-7 volume 2, 7.5). It is also the bus ("ide.0") that `-device ide-hd` and `ide-cd` sit on. Under the
// machine lock. Source for the bus master: Intel 82371SB (290550-002), 2.6; "Programming Interface for Bus Master IDE
// Controller", revision 1.0.
#pragma once
#include "hw/ide/ata_drive.h"
#include "rhea/core/bus.h"
#include "rhea/core/irq.h"
#include "rhea/core/memory.h"
#include "rhea/core/register_bank.h"

#include <array>
#include <memory>

namespace rhea::hw {

class IdeDevice;

class IdeChannel final : public core::Bus, private core::IoHandler, private IdeHost {
public:
    static constexpr unsigned kDrives = 2;

    /// Whose channel it is: the way to memory, and what firmware calls the controller.
    class Controller {
    public:
        virtual bool read_memory(core::hwaddr address, void *to, std::size_t length) = 0;
        virtual bool write_memory(core::hwaddr address, const void *from, std::size_t length) = 0;
        virtual std::string firmware_path() const = 0;

    protected:
        ~Controller() = default;
    };

    IdeChannel(unsigned number, core::IrqLine irq, Controller &controller);

    unsigned number() const { return number_; }
    const Controller &controller() const { return controller_; }
    /// The eight ports of the command block, and the one of the control block.
    core::MemoryRegion &command_region() { return *command_region_; }
    core::MemoryRegion &control_region() { return *control_region_; }
    /// This channel's registers of the bus master, from offset 8 * number on.
    void add_bus_master_registers(core::RegisterBank &bank);

    util::Result<void> plug(core::Device &device) override;
    void unplug(core::Device &device) override;
    bool full() const override { return drives_[0] && drives_[1]; }
    IdeDevice *drive(unsigned unit) const { return drives_[unit]; }
    /// Where a new drive's registers lead; to be called by IdeDevice.
    IdeHost &host() { return *this; }

    void reset();
    void serialize(core::Archive &archive);

private:
    // Bus master command and status
    static constexpr std::uint8_t kBmStart = 0x01, kBmToMemory = 0x08;
    static constexpr std::uint8_t kBmActive = 0x01, kBmError = 0x02, kBmInterrupt = 0x04, kBmDriveCapable = 0x60;

    class ControlPort final : public core::IoHandler {
    public:
        explicit ControlPort(IdeChannel &channel) : channel_(channel) {}
        std::uint64_t io_read(core::hwaddr offset, unsigned size) override;
        void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override;

    private:
        IdeChannel &channel_;
    };

    AtaDrive *disk(unsigned unit) const;
    AtaDrive *selected() const { return disk(slave_selected_ ? 1 : 0); }
    /// Device 0, which answers for an absent device 1.
    AtaDrive *stand_in() const { return slave_selected_ ? disk(0) : nullptr; }

    std::uint64_t io_read(core::hwaddr offset, unsigned size) override;
    void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override;
    std::uint8_t read_register(unsigned reg);
    void write_register(unsigned reg, std::uint8_t value);
    void write_command(std::uint8_t command);
    std::uint8_t alternate_status() const;
    void write_control(std::uint8_t value);
    void write_bus_master_command(std::uint8_t value);

    // IdeHost
    void interrupt_changed() override;
    void dma_ready() override;
    Segments dma_segments(std::uint64_t bytes) override;
    bool dma_read(const Segments &from, std::uint8_t *to) override;
    bool dma_write(const Segments &to, const std::uint8_t *from) override;
    void dma_end(bool exhausted, bool failed) override;

    unsigned number_;
    core::IrqLine irq_;
    Controller &controller_;
    std::array<IdeDevice *, kDrives> drives_{};
    bool slave_selected_ = false;
    std::uint8_t control_ = 0;
    bool irq_level_ = false;
    std::uint8_t bm_command_ = 0, bm_status_ = 0;
    std::uint32_t bm_table_ = 0;
    ControlPort control_port_{*this};
    std::unique_ptr<core::MemoryRegion> command_region_, control_region_;
};

} // namespace rhea::hw
