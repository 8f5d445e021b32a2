// The accelerator object, and what `info jit` says.
#include "accel/tcg/tcg_vcpu.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>
#include <vector>

namespace rhea::accel {
namespace {

class TcgAccelerator final : public core::Accelerator {
public:
    TcgAccelerator(const TcgOptions &options, FrontendFactory make_frontend)
        : options_(options), make_frontend_(std::move(make_frontend)) {}

    std::string_view name() const override { return "tcg"; }

    util::Result<void> attach(core::AddressSpace &memory, core::AddressSpace &io) override {
        memory_ = &memory;
        io_ = &io;
        return {};
    }

    util::Result<std::unique_ptr<core::Vcpu>> create_vcpu(unsigned index, core::Clocks &clocks,
                                                          core::MachineRequests &requests) override {
        if (!vcpus_.empty() && options_.check_interp)
            return util::fail("accelerator tcg,check=interp compares the work of one vCPU: use -smp 1");
        auto vcpu = TcgVcpu::create(index, make_frontend_(index), space_, *memory_, *io_, clocks, requests, options_);
        if (!vcpu)
            return util::fail(vcpu.error());
        vcpus_.push_back(vcpu->get());
        return std::unique_ptr<core::Vcpu>(std::move(*vcpu));
    }

    std::string describe(std::string_view what) const override {
        if (what != "jit")
            return {};
        std::string text;
        for (const TcgVcpu *vcpu : vcpus_)
            text += vcpu->describe_jit();
        return text;
    }

private:
    TcgOptions options_;
    FrontendFactory make_frontend_;
    core::AddressSpace *memory_ = nullptr;
    core::AddressSpace *io_ = nullptr;
    std::shared_ptr<CodeSpace> space_; ///< of all vCPUs
    std::vector<TcgVcpu *> vcpus_;
};

} // namespace

std::unique_ptr<core::Accelerator> make_tcg_accelerator(const TcgOptions &options, FrontendFactory make_frontend) {
    return std::make_unique<TcgAccelerator>(options, std::move(make_frontend));
}

std::string TcgVcpu::describe_jit() const {
    const auto get = [](const std::atomic<std::uint64_t> &counter) { return counter.load(std::memory_order_relaxed); };
    const std::uint64_t insns = get(counters_.guest_insns), bytes = get(counters_.guest_bytes);
    const auto per = [](std::uint64_t a, std::uint64_t b) { return b ? static_cast<double>(a) / static_cast<double>(b) : 0.0; };
    std::string text = fmt::format("vCPU {}:\n", index());
    text += fmt::format("  blocks translated      {} ({} live now, {} invalidated)\n", get(counters_.blocks), cache_->size(), cache_->invalidated());
    text += fmt::format("  guest instructions     {} ({:.1f} a block, {:.1f} bytes each)\n", insns, per(insns, get(counters_.blocks)), per(bytes, insns));
    text += fmt::format("  host code              {} bytes ({:.1f} a guest instruction)\n", get(counters_.host_bytes), per(get(counters_.host_bytes), insns));
    text += fmt::format("  translation            {:.3f} ms ({:.0f} ns a guest instruction)\n", static_cast<double>(get(counters_.translate_ns)) / 1e6, per(get(counters_.translate_ns), insns));
    text += fmt::format("  code memory            {} KiB live, {} slabs dropped, {} flushes\n", code_ ? code_->live_bytes() / 1024 : 0,
                        get(counters_.slabs_dropped), get(counters_.full_flushes));
    text += fmt::format("  running                {:.3f} ms in generated code and what it calls\n", static_cast<double>(get(counters_.run_ns)) / 1e6);
    if (options_.count)
        text += fmt::format("  slow paths             {:.3f} ms of that in memory accesses and jumps by C++\n", static_cast<double>(get(counters_.slow_ns)) / 1e6);
    text += fmt::format("  run loop turns         {}\n", get(counters_.exits));
    text += fmt::format("  block lookups          {}\n", get(counters_.lookups));
    text += fmt::format("  jump cache misses      {}\n", get(counters_.jump_cache_misses));
    text += fmt::format("  exits chained          {}\n", get(counters_.chained));
    text += fmt::format("  slow loads             {}\n", get(counters_.slow_loads));
    text += fmt::format("  slow stores            {}\n", get(counters_.slow_stores));
    text += fmt::format("  accesses by victims    {}\n", cold_->stat_victims);
    text += fmt::format("  device accesses        {}\n", get(counters_.mmio));
    text += fmt::format("  TLB fills, flushes     {}, {}\n", tlb_->fills(), tlb_->flushes());
    text += fmt::format("  stores near code       {} ({} restarts)\n", get(counters_.code_writes), get(counters_.restarts));
    text += fmt::format("  exceptions             {}\n", get(counters_.exceptions));
    text += fmt::format("  blocks interpreted     {}\n", get(counters_.interpreted));
    const auto &helpers = frontend_->description().helpers;
    std::vector<std::pair<std::uint64_t, std::string_view>> calls;
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < std::min<std::size_t>(helpers.size(), tcg::VcpuCold::kMaxHelpers); ++i) {
        total += cold_->stat_helper_calls[i];
        if (cold_->stat_helper_calls[i] != 0)
            calls.emplace_back(cold_->stat_helper_calls[i], helpers[i].name);
    }
    std::sort(calls.rbegin(), calls.rend());
    text += fmt::format("  helper calls           {}\n", total);
    if (options_.count) {
        const auto rate = [&](std::uint64_t count) { return 1000 * per(count, cold_->stat_insns); };
        text += fmt::format("  instructions run       {} ({:.3f} helper calls a 1,000)\n", cold_->stat_insns, rate(total));
        text += fmt::format("  misses a 1,000         {:.3f} jump cache, {:.3f} TLB ({:.3f} found among victims)\n", rate(get(counters_.jump_cache_misses)),
                            rate(get(counters_.slow_loads) + get(counters_.slow_stores) + cold_->stat_victims), rate(cold_->stat_victims));
    }
    for (const auto &[count, name] : calls)
        text += fmt::format("    {:<20} {}\n", name, count);
    return text;
}

} // namespace rhea::accel
