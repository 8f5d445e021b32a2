#include "accelerators.h"

#include <fmt/format.h>

#include "rhea/accel/kvm.h"
#include "rhea/accel/tcg.h"
#include "rhea/target/x86/cpu_model.h"
#include "rhea/target/x86/frontend.h"
#include "rhea/target/x86/kvm_state.h"

namespace rhea::system {
namespace {

namespace x86 = target::x86;
using util::fail;
using Made = util::Result<std::unique_ptr<core::Accelerator>>;

constexpr std::string_view kDefaultCpu = "qemu64";
/// A turn of the probe's loop takes the CPU well under 2 ns, and a software KVM hundreds.
constexpr double kHardwareNanoseconds = 10;

util::Result<x86::CpuModel> make_cpu_model(const AcceleratorRequest& request,
                                           const x86::CpuAvailability& available) {
    const std::string& asked = request.config.cpu_model;
    auto model = x86::parse_cpu_model(asked.empty() ? kDefaultCpu : std::string_view(asked),
                                      available);
    if (!model) {
        return fail(model.error().within(fmt::format("-cpu {}", asked)));
    }
    for (const std::string& warning : model->warnings) {
        request.tell(fmt::format("warning: {}", warning));
    }
    model->topology = request.config.topology;
    constexpr std::uint32_t kDieLeaf = 0x1f;
    if (model->topology.dies > 1 && model->level < kDieLeaf) {
        model->level = kDieLeaf;
    }
    return model;
}

accel::KernelIrqchip irqchip_of(const std::string& text) {
    return text == "off"     ? accel::KernelIrqchip::kOff
           : text == "split" ? accel::KernelIrqchip::kSplit
                             : accel::KernelIrqchip::kOn;
}

}  // namespace

Made make_tcg(const AcceleratorRequest& request) {
    util::OptionList options;
    for (const auto& [key, value] : request.properties) {
        options.add(key, value);
    }
    accel::TcgOptions tcg;
    if (const auto check = options.take("check")) {
        if (*check != "interp") {
            return fail("check= takes interp, not '{}'", *check);
        }
        tcg.check_interp = true;
    }
    const auto interpret = options.take_bool("interp", false);
    const auto count = options.take_bool("count", false);
    const auto megabytes = options.take_unsigned("tb-size", 0);
    if (!interpret || !count || !megabytes) {
        return fail(!interpret ? interpret.error() : !count ? count.error() : megabytes.error());
    }
    if (*megabytes > 2047) {
        return fail("tb-size={}: the translated code has at most 2047 MiB", *megabytes);
    }
    tcg.interpret = *interpret;
    tcg.count = *count;
    tcg.tb_size = *megabytes << 20;
    if (const auto thread = options.take("thread")) {
        if (*thread != "single" && *thread != "multi") {
            return fail("thread= takes single or multi, not '{}'", *thread);
        }
        tcg.one_thread_at_a_time = *thread == "single";
    }
    if (auto done = options.finish({"check", "count", "interp", "tb-size", "thread"}); !done) {
        return fail(done.error());
    }
    auto model = make_cpu_model(request, x86::CpuAvailability::translator());
    if (!model) {
        return fail(model.error());
    }
    return accel::make_tcg_accelerator(
        tcg, [model = *model](unsigned index) { return x86::make_frontend(model, index); });
}

Made make_kvm(const AcceleratorRequest& request) {
    util::OptionList options;
    for (const auto& [key, value] : request.properties) {
        options.add(key, value);
    }
    accel::KvmOptions kvm;
    kvm.device = options.take("device").value_or(kvm.device);
    if (auto done = options.finish({"device", "kernel-irqchip"}); !done) {
        return fail(done.error());
    }
    kvm.irqchip = irqchip_of(request.config.kernel_irqchip);
    const bool in_kernel_apic = kvm.irqchip != accel::KernelIrqchip::kOff;
    auto available = x86::kvm_availability(kvm.device, in_kernel_apic);
    if (!available) {
        return fail(available.error());
    }
    auto model = make_cpu_model(request, *available);
    if (!model) {
        return fail(model.error());
    }
    return accel::make_kvm_accelerator(kvm, [model = *model, in_kernel_apic](unsigned index, const core::Clocks& clocks) {
        return x86::make_kvm_state(model, index, in_kernel_apic, clocks);
    });
}

util::Result<SpeedProbe> probe_kvm() {
    const auto nanoseconds = accel::measure_kvm_speed();
    if (!nanoseconds) {
        return fail(nanoseconds.error());
    }
    return SpeedProbe{*nanoseconds < kHardwareNanoseconds,
                      fmt::format("a loop of the guest takes {:.1f} ns a turn{}", *nanoseconds,
                                  *nanoseconds < kHardwareNanoseconds
                                      ? ", as fast as the host's CPU"
                                      : ", far from the speed of the host's CPU")};
}

}  // namespace rhea::system
