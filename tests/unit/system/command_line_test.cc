// The command line: what each option leaves behind, and what is refused.
#include "system/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "system/choose_accelerator.h"

namespace rhea::system {
namespace {

using testing::HasSubstr;

util::Result<CommandLine> parse(std::vector<const char*> arguments) {
    return parse_command_line(arguments);
}
CommandLine parsed(std::vector<const char*> arguments) {
    auto line = parse(std::move(arguments));
    EXPECT_TRUE(line) << (line ? "" : line.error().message());
    return line ? *line : CommandLine{};
}
std::string refusal(std::vector<const char*> arguments) {
    auto line = parse(std::move(arguments));
    EXPECT_FALSE(line);
    return line ? "" : line.error().message();
}

TEST(CommandLineTest, TakesOneDashOrTwo) {
    EXPECT_TRUE(parsed({"--nographic"}).nographic);
    EXPECT_TRUE(parsed({"-nographic"}).nographic);
}

TEST(CommandLineTest, MemorySizes) {
    EXPECT_EQ(parsed({}).config.ram_size, 128u << 20);
    EXPECT_EQ(parsed({"-m", "512"}).config.ram_size, 512u << 20);
    EXPECT_EQ(parsed({"-m", "1G"}).config.ram_size, 1u << 30);
    EXPECT_EQ(parsed({"-m", "1.5G"}).config.ram_size, 3u << 29);
    EXPECT_EQ(parsed({"-m", "size=2G"}).config.ram_size, 2ull << 30);
    EXPECT_EQ(parsed({"-m", "size=256"}).config.ram_size, 256u << 20);
}

TEST(CommandLineTest, MemorySizesThatNoMachineHas) {
    EXPECT_THAT(refusal({"-m", "0"}), HasSubstr("-m 0: "));
    EXPECT_THAT(refusal({"-m", "1E"}), HasSubstr("too large"));
    EXPECT_THAT(refusal({"-m", "99999999999E"}), HasSubstr("-m 99999999999E: "));
    EXPECT_THAT(refusal({"-m", "lots"}), HasSubstr("'lots' is no size"));
    EXPECT_THAT(refusal({"-m", "1G,slots=2"}), HasSubstr("hotplug"));
    EXPECT_THAT(refusal({"-m", "1G,siz=2"}), HasSubstr("did you mean 'size'?"));
}

TEST(CommandLineTest, UnknownOptionsNameTheNearest) {
    EXPECT_EQ(refusal({"-nographics"}), "-nographics: invalid option; did you mean -nographic?");
    EXPECT_EQ(refusal({"--kernal", "x"}), "--kernal: invalid option; did you mean -kernel?");
    EXPECT_EQ(refusal({"-zzzzzzzzzzz"}), "-zzzzzzzzzzz: invalid option; -help lists the options");
}

TEST(CommandLineTest, OptionsOfLaterVersionsAreRefusedByName) {
    for (const RefusedOption& option : refused_options()) {
        const std::string typed = "-" + std::string(option.name);
        EXPECT_EQ(refusal({typed.c_str(), "x"}), typed + ": " + std::string(option.reason));
    }
    EXPECT_THAT(refusal({"disk.img"}), HasSubstr("disk.img: disk images"));
}

TEST(CommandLineTest, NoOptionStandsTwiceInTheTables) {
    std::set<std::string_view> names;
    for (const auto& room : {machine_options(), character_options(), run_options()}) {
        for (const Option& option : room) {
            EXPECT_TRUE(names.insert(option.name).second) << option.name;
        }
    }
    for (const RefusedOption& option : refused_options()) {
        EXPECT_TRUE(names.insert(option.name).second) << option.name;
    }
}

TEST(CommandLineTest, AnArgumentThatIsMissing) {
    EXPECT_EQ(refusal({"-m"}), "-m: requires an argument");
}

TEST(CommandLineTest, MachineTakesAcceleratorsAndSettings) {
    const CommandLine line =
        parsed({"-machine", "pc,accel=kvm:tcg,kernel-irqchip=split,usb=off", "-M", "none"});
    EXPECT_EQ(line.config.machine, "none");
    ASSERT_EQ(line.accelerators.size(), 2u);
    EXPECT_EQ(line.accelerators[0].name, "kvm");
    EXPECT_EQ(line.accelerators[1].name, "tcg");
    EXPECT_EQ(line.config.kernel_irqchip, "split");
    ASSERT_EQ(line.config.machine_options.size(), 1u);
    EXPECT_EQ(line.config.machine_options[0].first, "usb");
}

TEST(CommandLineTest, GlobalPropertiesInBothSpellings) {
    const CommandLine line = parsed({"-global", "virtio-mmio.force-legacy=off", "-global", "driver=a,property=b,value=c=d"});
    ASSERT_EQ(line.config.globals.size(), 2u);
    EXPECT_EQ(line.config.globals[0].driver, "virtio-mmio");
    EXPECT_EQ(line.config.globals[0].property, "force-legacy");
    EXPECT_EQ(line.config.globals[0].value, "off");
    EXPECT_EQ(line.config.globals[1].driver, "a");
    EXPECT_EQ(line.config.globals[1].value, "c=d");
    EXPECT_THAT(refusal({"-global", "virtio-mmio"}), HasSubstr("driver.property=value"));
    EXPECT_THAT(refusal({"-global", "driver=a,property=b"}), HasSubstr("driver.property=value"));
}

TEST(CommandLineTest, MachineNamesAreChecked) {
    EXPECT_EQ(refusal({"-M", "pcc"}),
              "-M pcc: unsupported machine type 'pcc'; did you mean 'pc'?");
    EXPECT_THAT(refusal({"-machine", "pc,accel=kvn"}), HasSubstr("did you mean 'kvm'?"));
    EXPECT_THAT(refusal({"-accel", "tgc"}), HasSubstr("did you mean 'tcg'?"));
    EXPECT_THAT(refusal({"-machine", "kernel-irqchip=maybe"}), HasSubstr("on, off or split"));
}

TEST(CommandLineTest, AcceleratorsKeepTheirOrderAndProperties) {
    const CommandLine line = parsed({"-enable-kvm", "-accel", "tcg,check=interp"});
    ASSERT_EQ(line.accelerators.size(), 2u);
    EXPECT_EQ(line.accelerators[0].name, "kvm");
    ASSERT_EQ(line.accelerators[1].properties.size(), 1u);
    EXPECT_EQ(line.accelerators[1].properties[0].second, "interp");
}

std::array<unsigned, 4> topology(const char* argument) {
    const auto& t = parsed({"-smp", argument}).config.topology;
    return {t.sockets, t.dies, t.cores, t.threads};
}

TEST(CommandLineTest, CpusAndTheirTopology) {
    using T = std::array<unsigned, 4>;
    EXPECT_EQ(parsed({}).config.cpus, 1u);
    EXPECT_EQ(parsed({"-smp", "1"}).config.cpus, 1u);
    EXPECT_EQ(parsed({"-smp", "cpus=1,sockets=1,cores=1"}).config.cpus, 1u);
    EXPECT_EQ(parsed({"-smp", "sockets=2,cores=3,threads=2"}).config.cpus, 12u);
    EXPECT_EQ(topology("4"), (T{1, 1, 4, 1}));
    EXPECT_EQ(topology("8,sockets=2"), (T{2, 1, 4, 1}));
    EXPECT_EQ(topology("8,cores=2"), (T{4, 1, 2, 1}));
    EXPECT_EQ(topology("8,threads=2"), (T{1, 1, 4, 2}));
    EXPECT_EQ(topology("8,sockets=2,cores=2"), (T{2, 1, 2, 2}));
    EXPECT_EQ(topology("8,dies=2,threads=2"), (T{1, 2, 2, 2}));
    EXPECT_EQ(topology("maxcpus=6"), (T{1, 1, 6, 1}));
    EXPECT_EQ(topology("128"), (T{1, 1, 128, 1}));
}

TEST(CommandLineTest, TopologiesThatCannotBe) {
    EXPECT_THAT(refusal({"-smp", "0"}), HasSubstr("cpus=0 leaves no CPU"));
    EXPECT_THAT(refusal({"-smp", "2,cores=0"}), HasSubstr("cores"));
    EXPECT_THAT(refusal({"-smp", "1,cors=2"}), HasSubstr("'cores'"));
    EXPECT_THAT(refusal({"-smp", "4,sockets=3"}),
                HasSubstr("sockets (3) * dies (1) * cores (1) * threads (1) are not the 4 CPUs of maxcpus"));
    EXPECT_THAT(refusal({"-smp", "8,maxcpus=4"}), HasSubstr("maxcpus=4 is less than cpus=8"));
    EXPECT_THAT(refusal({"-smp", "2,maxcpus=4"}), HasSubstr("cpus=4"));
    EXPECT_THAT(refusal({"-smp", "256"}), HasSubstr("255"));
    EXPECT_THAT(refusal({"-smp", "99999999999"}), HasSubstr("255"));
    EXPECT_THAT(refusal({"-smp", "4,clusters=2"}), HasSubstr("clusters"));
}

TEST(CommandLineTest, DevicesKeepTheirProperties) {
    const CommandLine line = parsed({"-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"});
    ASSERT_EQ(line.config.devices.size(), 1u);
    EXPECT_EQ(line.config.devices[0].driver, "isa-debug-exit");
    EXPECT_EQ(line.config.devices[0].properties[0].second, "0xf4");
    EXPECT_THAT(refusal({"-device", "isa-debug-exi"}), HasSubstr("did you mean 'isa-debug-exit'?"));
}

TEST(CommandLineTest, HelpIsPrintedInsteadOfRunning) {
    for (const char* option : {"-machine", "-cpu", "-device", "-accel", "-chardev", "-d", "-display"}) {
        EXPECT_TRUE(parsed({option, "help"}).print_and_exit) << option;
    }
    EXPECT_THAT(*parsed({"-device", "isa-debug-exit,help"}).print_and_exit,
                HasSubstr("iobase=<uint"));
    EXPECT_THAT(*parsed({"-version"}).print_and_exit, HasSubstr("Rhea emulator version "));
    const std::string help = *parsed({"-help"}).print_and_exit;
    for (const auto& room : {machine_options(), character_options(), run_options()}) {
        for (const Option& option : room) {
            if (!option.help.empty()) {
                EXPECT_THAT(help, HasSubstr("-" + std::string(option.name)));
            }
        }
    }
}

TEST(CommandLineTest, DefaultsOfSerialAndMonitor) {
    EXPECT_TRUE(parsed({}).default_serial);
    EXPECT_FALSE(parsed({"-serial", "null"}).default_serial);
    EXPECT_FALSE(parsed({"-serial", "mon:stdio"}).default_monitor);
    EXPECT_FALSE(parsed({"-monitor", "none"}).default_monitor);
    EXPECT_TRUE(parsed({"-monitor", "none"}).monitors.empty());
    EXPECT_FALSE(parsed({"-nodefaults"}).default_serial);
}

TEST(CommandLineTest, WhatThisVersionHasOnlyTheAbsenceOf) {
    for (const char* option : {"-vga", "-nic", "-net", "-parallel", "-display"}) {
        parsed({option, "none"});
        EXPECT_THAT(refusal({option, "std"}), HasSubstr(option));
    }
    EXPECT_THAT(refusal({"-mon", "chardev=x,mode=control"}), HasSubstr("QMP"));
}

TEST(CommandLineTest, ClockBases) {
    EXPECT_EQ(parsed({"-rtc", "base=utc,clock=host"}).config.rtc_offset_ns, 0);
    EXPECT_TRUE(parsed({"-rtc", "base=localtime"}).config.rtc_local);
    EXPECT_LT(parsed({"-rtc", "base=2006-06-17T16:01:21"}).config.rtc_offset_ns, 0);
    EXPECT_THAT(refusal({"-rtc", "base=yesterday"}), HasSubstr("base= takes utc"));
    EXPECT_THAT(refusal({"-rtc", "clock=vm"}), HasSubstr("clock=vm"));
}

TEST(CommandLineTest, KernelArgumentsNeedAKernel) {
    EXPECT_EQ(refusal({"-append", "x"}), "-append is for the kernel of -kernel, which is missing");
    EXPECT_EQ(refusal({"-initrd", "/dev/null"}), "-initrd is for the kernel of -kernel, which is missing");
    EXPECT_EQ(refusal({"-kernel", "/no/such"}),
              "-kernel /no/such: cannot open it: No such file or directory");
}

TEST(CommandLineTest, LogItemsAreChecked) {
    EXPECT_EQ(parsed({"-d", "int,cpu"}).log_items, "int,cpu");
    EXPECT_THAT(refusal({"-d", "itn"}), HasSubstr("did you mean 'int'?"));
    EXPECT_THAT(refusal({"-dfilter", "abc"}), HasSubstr("no address range"));
}

// ---- the choice of an accelerator -----------------------------------------------------------

class NamedAccelerator final : public core::Accelerator {
  public:
    explicit NamedAccelerator(std::string_view name) : name_(name) {}
    std::string_view name() const override { return name_; }
    util::Result<void> attach(core::AddressSpace&, core::AddressSpace&) override { return {}; }
    util::Result<std::unique_ptr<core::Vcpu>> create_vcpu(unsigned, core::Clocks&,
                                                          core::MachineRequests&) override {
        return util::fail("none");
    }
    std::string describe(std::string_view) const override { return {}; }

  private:
    std::string_view name_;
};

using Made = util::Result<std::unique_ptr<core::Accelerator>>;
Made make_kvm_ok(const AcceleratorRequest&) { return std::make_unique<NamedAccelerator>("kvm"); }
Made make_tcg_ok(const AcceleratorRequest&) { return std::make_unique<NamedAccelerator>("tcg"); }
Made make_broken(const AcceleratorRequest&) { return util::fail("it is broken"); }
util::Result<SpeedProbe> fast() { return SpeedProbe{true, "fast"}; }
util::Result<SpeedProbe> slow() { return SpeedProbe{false, "slow"}; }
util::Result<SpeedProbe> absent() { return util::fail("not here"); }

struct Choice {
    std::string name, told;
};
Choice choose(std::vector<AcceleratorOption> wanted, AcceleratorType kvm) {
    const std::vector<AcceleratorType> types{kvm, {"tcg", "", make_tcg_ok, nullptr}};
    Choice choice;
    const core::MachineConfig config;
    auto made = choose_accelerator(wanted, config, types, [&](std::string_view text) {
        choice.told += std::string(text) + "\n";
    });
    choice.name = made ? std::string((*made)->name()) : "error: " + made.error().message();
    return choice;
}

TEST(ChooseAcceleratorTest, IsTcgWhenNothingIsAsked) {
    const Choice choice = choose({}, {"kvm", "", make_kvm_ok, fast});
    EXPECT_EQ(choice.name, "tcg");
    EXPECT_EQ(choice.told, "");
}

TEST(ChooseAcceleratorTest, ObeysAndFallsBackInOrder) {
    EXPECT_EQ(choose({{"kvm", {}}, {"tcg", {}}}, {"kvm", "", make_kvm_ok, fast}).name, "kvm");
    const Choice fallback = choose({{"kvm", {}}, {"tcg", {}}}, {"kvm", "", make_broken, fast});
    EXPECT_EQ(fallback.name, "tcg");
    EXPECT_EQ(fallback.told, "-accel kvm: it is broken; falling back to tcg\n");
    EXPECT_EQ(choose({{"kvm", {}}}, {"kvm", "", make_broken, fast}).name,
              "error: -accel kvm: it is broken");
}

TEST(ChooseAcceleratorTest, AutoTakesKvmOnlyAtHardwareSpeed) {
    const Choice quick = choose({{"auto", {}}}, {"kvm", "", make_kvm_ok, fast});
    EXPECT_EQ(quick.name, "kvm");
    EXPECT_EQ(quick.told, "accelerator kvm chosen: fast\n");
    const Choice lame = choose({{"auto", {}}}, {"kvm", "", make_kvm_ok, slow});
    EXPECT_EQ(lame.name, "tcg");
    EXPECT_EQ(lame.told, "accelerator tcg chosen; not kvm: slow\n");
    const Choice none = choose({{"auto", {}}}, {"kvm", "", make_broken, absent});
    EXPECT_EQ(none.name, "tcg");
    EXPECT_EQ(none.told, "accelerator tcg chosen; not kvm: not here\n");
}

}  // namespace
}  // namespace rhea::system
