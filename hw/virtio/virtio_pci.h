// virtio over PCI (VIRTIO 1.2, section 4.1): a PCI function that shows a VirtioDevice to the guest.
//
// Modern interface: BAR 4 with the structures that four vendor capabilities point to, and the fifth for access through
// configuration space. Legacy interface (4.1.4.8): I/O BAR 0. MSI-X in BAR 1, with the interrupt pin and the ISR as the
// other way. Notifications are ioeventfds while the driver is ready. Under the machine lock.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "hw/boot_device.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pci_msi.h"
#include "hw/virtio/virtio_device.h"
#include "rhea/core/register_bank.h"

namespace rhea::hw::virtio {

class VirtioPci final : public PciDevice, public BootDevice, private Transport {
public:
    /// By the type's name: "-transitional" has both interfaces, "-non-transitional" the modern one; else properties say.
    enum class Kind : std::uint8_t { kBySettings, kTransitional, kNonTransitional };
    struct Config {
        std::string_view type;        ///< as -device spells it
        std::uint32_t class_code = 0;
        std::uint16_t legacy_device_id = 0;
        unsigned extra_vectors = 1;   ///< MSI-X vectors beyond one a queue when vectors= says nothing
        Kind kind = Kind::kBySettings;
    };
    struct Spaces {
        core::AddressSpace &memory, &io; ///< for ioeventfds
        std::function<void(std::function<void()>)> post;
    };

    VirtioPci(const Config &config, const Spaces &spaces, std::unique_ptr<VirtioDevice> device);
    ~VirtioPci() override;

    std::string_view type() const override { return type_; }
    util::Result<void> realize() override;
    void unrealize() override;
    void reset() override;
    void set_running(bool running) override;
    void serialize(core::Archive &archive) override;

    std::vector<BootEntry> boot_entries() const override;

    VirtioDevice &device() { return *device_; }

private:
    /// A structure in the modern BAR.
    struct Area {
        core::hwaddr offset = 0;
        std::uint32_t length = 0;
        core::IoHandler *handler = nullptr;
        std::unique_ptr<core::MemoryRegion> region;
    };
    /// An IoHandler made of two functions.
    class Window final : public core::IoHandler {
    public:
        std::function<std::uint64_t(core::hwaddr, unsigned)> read;
        std::function<void(core::hwaddr, std::uint64_t, unsigned)> write;
        std::uint64_t io_read(core::hwaddr offset, unsigned size) override { return read ? read(offset, size) : 0; }
        void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override {
            if (write)
                write(offset, value, size);
        }
    };
    struct Notifier {
        core::AddressSpace *space;
        core::IoEventFd binding;
        bool operator==(const Notifier &) const = default;
    };

    // Transport
    void queue_interrupt(unsigned queue) override;
    void config_interrupt() override;
    void interrupt(std::uint8_t cause, std::uint16_t vector);

    void add_properties();
    util::Result<void> check_settings();
    void identify();
    void add_msix();
    void write_status(std::uint8_t status, bool modern);
    void update_notifiers();
    std::vector<Notifier> wanted_notifiers();
    void let_go();
    void update_interrupt_fd(Queue &queue);
    void update_interrupt_fds();
    std::uint64_t read_isr();
    std::uint16_t checked_vector(std::uint64_t vector) const;
    std::uint64_t read_device_config(core::hwaddr offset, unsigned size);
    void write_device_config(core::hwaddr offset, std::uint64_t value, unsigned size);
    Queue *selected_queue();

    // virtio_pci_modern.cc
    void add_modern();
    void add_common_registers();
    void add_queue_registers();
    void add_queue_address(core::hwaddr offset, std::string_view low_name, std::string_view high_name, core::hwaddr Queue::*field);
    unsigned add_area(std::uint8_t type, core::hwaddr offset, std::uint32_t length, core::IoHandler &handler, bool locks, unsigned capability_length);
    void add_config_access();
    void config_access(bool write);

    // virtio_pci_legacy.cc
    void add_legacy();
    void add_legacy_registers();
    unsigned legacy_header() const;
    void set_legacy_address(Queue &queue, std::uint32_t page);

    std::string type_;
    Config setup_;
    Spaces spaces_;
    std::unique_ptr<VirtioDevice> device_;
    bool has_legacy_ = true, has_modern_ = true;

    std::string disable_legacy_ = "auto";
    bool disable_modern_ = false, ioeventfd_ = true, page_per_vq_ = false;
    std::uint32_t vectors_ = ~std::uint32_t{0};

    std::uint8_t isr_ = 0;
    std::uint16_t config_vector_ = kNoVector, queue_select_ = 0;
    std::vector<Notifier> notifiers_;
    bool internal_change_ = false; ///< configuration space changes by reset or restore, not by the guest

    core::RegisterBank common_{"virtio-pci", 0x3c};
    Window isr_window_, config_window_, notify_window_;
    std::unique_ptr<core::MemoryRegion> modern_bar_;
    std::vector<Area> areas_;
    unsigned config_access_ = 0; ///< offset of the capability

    core::RegisterBank legacy_{"virtio-pci-legacy", 24};
    Window legacy_window_;
    std::unique_ptr<core::MemoryRegion> legacy_bar_;

    std::unique_ptr<core::MemoryRegion> msix_bar_;
    std::unique_ptr<PciMsix> msix_;
    std::vector<int> vector_fds_; ///< eventfds that send a vector's message, where the kernel can; made when MSI-X is first enabled
};

} // namespace rhea::hw::virtio
