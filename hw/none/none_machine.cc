#include "rhea/hw/none_machine.h"

namespace rhea::hw {
namespace {

class NoneMachine final : public core::Machine {
  public:
    using core::Machine::Machine;

    util::Result<void> build(core::Accelerator& accelerator) override {
        if (!config().kernel.empty() || !config().firmware.empty()) {
            return util::fail("machine 'none' has no CPU, so it starts neither kernel nor firmware");
        }
        if (!config().devices.empty()) {
            return util::fail("-device {}: machine 'none' has no bus",
                              config().devices.front().driver);
        }
        const std::uint64_t size = (config().ram_size + core::kPageSize - 1) & core::kPageMask;
        core::RamBlock& block = add_ram_block("ram", size);
        memory_root().add(0, own_region(core::MemoryRegion::ram("ram", block)));
        return accelerator.attach(memory(), io());
    }
};

}  // namespace

std::unique_ptr<core::Machine> make_none_machine(core::MachineConfig config,
                                                 core::MachineRequests& requests) {
    return std::make_unique<NoneMachine>(std::move(config), requests);
}

}  // namespace rhea::hw
