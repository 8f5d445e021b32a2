// The machine as a container: order of reset, errors, state with RAM.
#include "rhea/core/machine.h"

#include <gtest/gtest.h>

namespace rhea::core {
namespace {

struct NoRequests final : MachineRequests {
    void request_shutdown(ShutdownCause, int) override {}
    void request_reset(ShutdownCause) override {}
    void request_work(std::function<void()>) override {}
};

class Box final : public Device, private IoHandler {
  public:
    Box(Machine& machine, std::string& trace) : machine_(machine), trace_(trace) {
        properties_.add_bool("broken", broken_, "fails to realize");
        region_ = MemoryRegion::io("box", 0x10, *this);
        machine_.memory_root().add(0xfe000000, *region_);
    }
    std::string_view type() const override { return "box"; }
    util::Result<void> realize() override {
        if (broken_) {
            return util::fail("the box is broken");
        }
        return {};
    }
    void unrealize() override { trace_ += "u"; }
    void reset() override { trace_ += path(); }
    void set_running(bool running) override { trace_ += running ? "+" : "-"; }
    void serialize(Archive& archive) override {
        trace_ += "s";
        archive.field("value", value);
    }
    std::uint32_t value = 0;

  private:
    std::uint64_t io_read(hwaddr, unsigned) override { return value; }
    void io_write(hwaddr, std::uint64_t written, unsigned) override {
        value = static_cast<std::uint32_t>(written);
    }
    Machine& machine_;
    std::string& trace_;
    bool broken_ = false;
    std::unique_ptr<MemoryRegion> region_;
};

class TestMachine final : public Machine {
  public:
    TestMachine(NoRequests& requests, std::uint64_t ram_size, MachineConfig config = {})
        : Machine(std::move(config), requests), ram(add_ram_block("ram", ram_size)) {
        memory_root().add(0, own_region(MemoryRegion::ram("ram", ram)));
        clocks().use_manual_time(1000);
    }
    util::Result<void> build(Accelerator&) override { return {}; }
    RamBlock& ram;
    std::string trace;
};

constexpr std::uint64_t kRam = (5 << 20) + 0x3000;  // the last chunk is a part of one

TEST(Machine, ResetGoesInOrderOfAdditionAndThenTheHooks) {
    NoRequests requests;
    TestMachine machine(requests, kRam);
    machine.add_device<Box>("a", machine, machine.trace);
    machine.add_device("b", std::make_unique<Box>(machine, machine.trace));
    machine.add_reset_hook([&] { machine.trace += "!"; });
    machine.reset();
    EXPECT_EQ(machine.trace, "ab!");
}

TEST(Machine, TheFirstDeviceThatFailsIsNamed) {
    NoRequests requests;
    TestMachine machine(requests, kRam);
    machine.add_device<Box>("good", machine, machine.trace);
    ASSERT_TRUE(machine.realize_devices());
    Box& bad = machine.add_device<Box>("bad", machine, machine.trace);
    ASSERT_TRUE(bad.properties().set("broken", "on"));
    const auto result = machine.realize_devices();
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().message().find("'bad'"), std::string::npos);
}

TEST(Machine, GlobalPropertiesAreDefaultsForATypeOfDevice) {
    NoRequests requests;
    MachineConfig config;
    config.globals = {{"box", "broken", "on"}, {"crate", "broken", "on"}};
    TestMachine machine(requests, kRam, std::move(config));
    Box& set = machine.add_device<Box>("set", machine, machine.trace);
    ASSERT_TRUE(set.properties().set("broken", "off"));
    EXPECT_TRUE(machine.realize_devices()) << "what was set stays";
    machine.add_device<Box>("unset", machine, machine.trace);
    EXPECT_FALSE(machine.realize_devices());
    ASSERT_EQ(machine.unused_globals().size(), 1u);
    EXPECT_EQ(machine.unused_globals()[0].driver, "crate");
}

TEST(Machine, AGlobalPropertyThatTheTypeLacksIsNamed) {
    NoRequests requests;
    MachineConfig config;
    config.globals = {{"box", "brokn", "on"}};
    TestMachine machine(requests, kRam, std::move(config));
    machine.add_device<Box>("a", machine, machine.trace);
    const auto result = machine.realize_devices();
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().message().find("-global box.brokn: there is no property"), std::string::npos) << result.error().message();
}

TEST(Machine, DevicesStandStillWhileTheirStateIsSaved) {
    NoRequests requests;
    TestMachine machine(requests, kRam);
    machine.add_device<Box>("a", machine, machine.trace);
    machine.add_device<Box>("b", machine, machine.trace);
    std::vector<std::uint8_t> bytes;
    machine.serialize(*make_memory_writer(bytes), false);
    EXPECT_EQ(machine.trace, "ss") << "it does not run";
    machine.set_running(true);
    EXPECT_TRUE(machine.clocks().running());
    machine.serialize(*make_memory_writer(bytes), false);
    machine.set_running(false);
    EXPECT_EQ(machine.trace, "ss++--ss++--");
}

TEST(Machine, EachDeviceIsRealizedOnce) {
    NoRequests requests;
    TestMachine machine(requests, kRam);
    Box& first = machine.add_device<Box>("first", machine, machine.trace);
    ASSERT_TRUE(machine.realize_devices());
    ASSERT_TRUE(first.properties().set("broken", "on"));
    machine.add_device<Box>("second", machine, machine.trace);
    EXPECT_TRUE(machine.realize_devices());
    EXPECT_EQ(machine.find_device("first"), &first);
    EXPECT_EQ(machine.find_device("third"), nullptr);
}

class Shelf final : public Bus {
  public:
    Shelf(std::string name, std::string_view kind, bool is_full = false)
        : Bus(std::move(name), kind), is_full_(is_full) {}
    util::Result<void> plug(Device&) override { return {}; }
    void unplug(Device& device) override { unplugged += device.path(); }
    std::string unplugged;
    bool full() const override { return is_full_; }

  private:
    bool is_full_;
};

TEST(Machine, BusesAreFoundByKindAndName) {
    NoRequests requests;
    TestMachine machine(requests, kRam);
    Shelf pci("pci.0", "PCI"), full("ide.0", "IDE", true), second("ide.1", "IDE");
    for (Bus* bus : std::initializer_list<Bus*>{&pci, &full, &second}) {
        machine.add_bus(*bus);
    }
    EXPECT_EQ(machine.find_bus("IDE", "").value(), &second);
    EXPECT_EQ(machine.find_bus("IDE", "ide.0").value(), &full) << "by name, for plug() to refuse";
    const auto sentence = [&](std::string_view kind, std::string_view name) {
        const auto found = machine.find_bus(kind, name);
        return found ? std::string() : found.error().message();
    };
    EXPECT_NE(sentence("IDE", "ide.7").find("ide.0, ide.1"), std::string::npos);
    EXPECT_NE(sentence("IDE", "pci.0").find("takes PCI devices"), std::string::npos);
    EXPECT_NE(sentence("SCSI", "").find("no SCSI bus"), std::string::npos);
}

TEST(Machine, DevicesThatAreTakenOut) {
    NoRequests requests;
    TestMachine machine(requests, kRam);
    Shelf shelf("pci.0", "PCI"), inner("scsi.0", "SCSI");
    Box& stays = machine.add_device<Box>("a", machine, machine.trace);
    Box& controller = machine.add_device<Box>("b", machine, machine.trace);
    Box& disk = machine.add_device<Box>("c", machine, machine.trace);
    controller.set_parent_bus(&shelf);
    inner.set_owner(&controller);
    disk.set_parent_bus(&inner);
    ASSERT_TRUE(machine.realize_devices());
    machine.set_running(true);
    machine.trace.clear();
    machine.remove_device(controller);
    EXPECT_EQ(machine.trace, "-u-u") << "each stops, then gives back what it has";
    EXPECT_EQ(inner.unplugged + shelf.unplugged, "cb") << "what sits on its bus goes first";
    ASSERT_EQ(machine.devices().size(), 1u);
    EXPECT_EQ(machine.devices()[0].get(), &stays);
    machine.trace.clear();
    Box& late = machine.add_device<Box>("d", machine, machine.trace);
    ASSERT_TRUE(machine.realize_devices());
    machine.start_device(late);
    EXPECT_EQ(machine.trace, "d+");
    EXPECT_FALSE(machine.hot_plug({"box", {}}));
    EXPECT_FALSE(machine.hot_unplug("d"));
}

TEST(Machine, BlocksAreFoundByRamAddress) {
    NoRequests requests;
    TestMachine machine(requests, kRam);
    RamBlock& second = machine.add_ram_block("second", 0x1000);
    EXPECT_EQ(machine.ram_block_at(kRam - 1), &machine.ram);
    EXPECT_EQ(machine.ram_block_at(second.ram_base()), &second);
    EXPECT_EQ(machine.ram_block_at(second.ram_base() + 0x1000), nullptr);
}

class MachineStateTest : public ::testing::Test {
  protected:
    NoRequests requests;
    TestMachine from{requests, kRam}, to{requests, kRam};
    std::vector<std::uint8_t> saved;

    void save() {
        auto writer = make_memory_writer(saved);
        from.serialize(*writer, true);
        ASSERT_TRUE(writer->ok());
    }
    std::string restore(TestMachine& machine) {
        auto reader = make_memory_reader(saved);
        machine.serialize(*reader, true);
        return reader->ok() ? "" : reader->status().error().message();
    }
};

TEST_F(MachineStateTest, RamDevicesAndTimeComeBack) {
    Box& box = from.add_device<Box>("box", from, from.trace);
    Box& other = to.add_device<Box>("box", to, to.trace);
    box.value = 42;
    from.clocks().advance(500);
    from.ram.host()[0] = 1;
    from.ram.host()[0x3456] = 2;
    from.ram.host()[kRam - 1] = 3;
    to.ram.host()[0x2000] = 99;   // zero in the saved state
    to.ram.host()[3 << 20] = 99;  // in a chunk of zeros
    save();
    EXPECT_LT(saved.size(), 20000u);  // three pages, not five mebibytes
    ASSERT_EQ(restore(to), "");
    EXPECT_EQ(other.value, 42u);
    EXPECT_EQ(to.clocks().virtual_ns(), 1500);
    EXPECT_EQ(std::memcmp(from.ram.host(), to.ram.host(), kRam), 0);
}

TEST_F(MachineStateTest, AnotherMachineIsRefused) {
    from.add_device<Box>("box", from, from.trace);
    save();
    EXPECT_NE(restore(to).find("box (box)"), std::string::npos);
}

TEST_F(MachineStateTest, AnotherRamSizeIsRefused) {
    save();
    TestMachine smaller(requests, 1 << 20);
    EXPECT_NE(restore(smaller).find("-m"), std::string::npos);
}

}  // namespace
}  // namespace rhea::core
