#include "rhea/target/x86/frontend.h"

#include <cstddef>

#include "control.h"
#include "cpu.h"
#include "decode/features.h"
#include "decode/model_features.h"
#include "fault.h"
#include "fpu/x87_guest.h"
#include "helpers.h"
#include "interrupt.h"
#include "paging.h"
#include "requests.h"
#include "reset.h"
#include "rhea/target/x86/state_io.h"
#include "slots.h"
#include "translate/translate.h"

namespace rhea::target::x86 {
namespace {

struct FeaturePair {
    CpuFeature cpuid;
    Feature decoder;
};
constexpr FeaturePair kFeaturePairs[] = {
    {CpuFeature::k_fpu, Feature::kFpu},
    {CpuFeature::k_tsc, Feature::kTsc},
    {CpuFeature::k_msr, Feature::kMsr},
    {CpuFeature::k_cx8, Feature::kCx8},
    {CpuFeature::k_sep, Feature::kSep},
    {CpuFeature::k_cmov, Feature::kCmov},
    {CpuFeature::k_clflush, Feature::kClflush},
    {CpuFeature::k_mmx, Feature::kMmx},
    {CpuFeature::k_fxsr, Feature::kFxsr},
    {CpuFeature::k_sse, Feature::kSse},
    {CpuFeature::k_sse2, Feature::kSse2},
    {CpuFeature::k_pni, Feature::kSse3},
    {CpuFeature::k_pclmulqdq, Feature::kPclmul},
    {CpuFeature::k_monitor, Feature::kMonitor},
    {CpuFeature::k_ssse3, Feature::kSsse3},
    {CpuFeature::k_fma, Feature::kFma},
    {CpuFeature::k_cx16, Feature::kCx16},
    {CpuFeature::k_sse4_1, Feature::kSse41},
    {CpuFeature::k_sse4_2, Feature::kSse42},
    {CpuFeature::k_movbe, Feature::kMovbe},
    {CpuFeature::k_popcnt, Feature::kPopcnt},
    {CpuFeature::k_aes, Feature::kAes},
    {CpuFeature::k_xsave, Feature::kXsave},
    {CpuFeature::k_xsaveopt, Feature::kXsaveopt},
    {CpuFeature::k_xsavec, Feature::kXsavec},
    {CpuFeature::k_avx, Feature::kAvx},
    {CpuFeature::k_f16c, Feature::kF16c},
    {CpuFeature::k_rdrand, Feature::kRdrand},
    {CpuFeature::k_fsgsbase, Feature::kFsgsbase},
    {CpuFeature::k_bmi1, Feature::kBmi1},
    {CpuFeature::k_avx2, Feature::kAvx2},
    {CpuFeature::k_bmi2, Feature::kBmi2},
    {CpuFeature::k_invpcid, Feature::kInvpcid},
    {CpuFeature::k_rdseed, Feature::kRdseed},
    {CpuFeature::k_adx, Feature::kAdx},
    {CpuFeature::k_smap, Feature::kSmap},
    {CpuFeature::k_clflushopt, Feature::kClflushopt},
    {CpuFeature::k_clwb, Feature::kClwb},
    {CpuFeature::k_vaes, Feature::kVaes},
    {CpuFeature::k_vpclmulqdq, Feature::kVpclmul},
    {CpuFeature::k_sha_ni, Feature::kSha},
    {CpuFeature::k_gfni, Feature::kGfni},
    {CpuFeature::k_rdpid, Feature::kRdpid},
    {CpuFeature::k_syscall, Feature::kSyscall},
    {CpuFeature::k_rdtscp, Feature::kRdtscp},
    {CpuFeature::k_lm, Feature::kLongMode},
    {CpuFeature::k_lahf_lm, Feature::kLahf64},
    {CpuFeature::k_abm, Feature::kAbm},
    {CpuFeature::k_sse4a, Feature::kSse4a},
    {CpuFeature::k_a3dnowprefetch, Feature::k3dnowPrefetch},
    {CpuFeature::k_lm, Feature::k3dnowPrefetch}, // APM vol. 3, PREFETCH: any processor with long mode
};

/// One x86 vCPU for the run loop. Everything but has_work() and tsc_now() in the vCPU's thread.
class X86Frontend final : public tcg::GuestFrontend, public core::TscPort {
  public:
    X86Frontend(const CpuModel& model, unsigned index) : model_(model), index_(index) {
        description_.name = "x86";
        description_.slots = slot_table();
        description_.pin_integer = pinned_integers();
        description_.pin_vector = pinned_vectors();
        description_.helpers = helper_table();
        description_.x87 = x87_guest();
        description_.raise = [](void* state, unsigned vector, std::uint64_t error) {
            x86::raise(*static_cast<CpuState*>(state),
                       Fault{static_cast<std::uint8_t>(vector),
                             error == ~0ull ? 0u : static_cast<std::uint32_t>(error), 0});
        };
        context_.features = decoder_features(model_);
        context_.guest = &description_;
        context_.several_cpus = model_.topology.count() > 1;
    }

    const tcg::GuestDescription& description() const override { return description_; }
    std::size_t state_size() const override { return sizeof(CpuState); }
    std::uint32_t cold_offset() const override { return offsetof(CpuState, cold); }

    void attach(tcg::VcpuHead* state, tcg::VcpuHost& host) override {
        auto* cpu_state = reinterpret_cast<CpuState*>(state);
        cpu_ = std::make_unique<Cpu>(*cpu_state, host, model_, index_);
        cpu_state->cpu_data = reinterpret_cast<std::uint64_t>(cpu_.get());
        cpu_state->df = 1;
        cpu_state->rflags = 2;
        // The host is not ready to be told of modes and address spaces yet: it resets the CPU when
        // it is.
        cpu_->mode = compute_mode(*cpu_state);
    }

    std::uint32_t mode() const override { return cpu_->mode; }

    tcg::TranslateStatus translate(tcg::ir::Block& block, const tcg::FetchWindow& fetch,
                                   unsigned max_insns) override {
        return translate_block(block, fetch, max_insns, context_);
    }

    bool walk(std::uint64_t linear, tcg::Access access, unsigned window_mode, bool raise_fault,
              tcg::Translation& out) override {
        std::uint32_t error = 0;
        if (walk_pages(*cpu_, linear, access, static_cast<As>(window_mode), out, error))
            return true;
        if (raise_fault)
            raise(cpu_->s, Fault{kVectorPF, error, linear});
        return false;
    }
    void raise_not_canonical(std::uint64_t) override { raise(cpu_->s, Fault{kVectorGP, 0, 0}); }
    void raise_alignment(std::uint64_t) override { raise(cpu_->s, Fault{kVectorGP, 0, 0}); }
    bool canonical(std::uint64_t linear) const override { return is_canonical(*cpu_, linear); }
    std::uint64_t wrap(std::uint64_t linear) const override {
        return cpu_->code64() ? linear : linear & 0xffffffff;
    }

    bool watched_page(std::uint64_t linear) const override {
        return x86::watched_page(cpu_->watch, linear);
    }
    bool access_watched(std::uint64_t linear, unsigned size, bool write) override {
        return x86::access_watched(*cpu_, linear, size, write);
    }
    void begin_single() override { begin_noting(*cpu_); }
    void end_single() override { end_noting(*cpu_); }

    Outcome deliver_exception() override { return deliver_pending(*cpu_); }
    bool deliver_quickly() override { return x86::deliver_quickly(*cpu_); }
    Outcome check_requests() override { return x86::check_requests(*cpu_); }
    bool has_work() const override { return x86::has_work(*cpu_); }

    void reset() override { reset_state(*cpu_); }
    core::TscPort* tsc_port() override { return this; }
    void set_boot_state(const core::X86BootState& state) override { boot_state(*cpu_, state); }

    void serialize(core::Archive& archive) override {
        serialize_state(cpu_->s, archive);
        if (!archive.restoring())
            return;
        cpu_->pdptes_stale = true;  // guest memory may be restored after us
        cpu_->flush_tlb(false);
        announce_address_space(*cpu_, false);
        update_mode(*cpu_);
    }
    std::string describe_registers() const override { return describe_state(cpu_->s); }
    std::string disassemble(std::uint64_t pc, const std::uint8_t* bytes,
                            std::size_t length) const override {
        return x86::disassemble(cpu_->mode, pc, bytes, length);
    }

    std::uint64_t tsc_now() const override { return cpu_->tsc(); }
    std::uint64_t tsc_hz() const override { return model_.tsc_hz; }

  private:
    CpuModel model_;
    unsigned index_;
    tcg::GuestDescription description_;
    TranslateContext context_;
    std::unique_ptr<Cpu> cpu_;
};

}  // namespace

FeatureSet decoder_features(const CpuModel& model) {
    FeatureSet set;
    for (const FeaturePair& pair : kFeaturePairs)
        if (model.has(pair.cpuid))
            set.add(pair.decoder);
    return set;
}

std::unique_ptr<tcg::GuestFrontend> make_frontend(const CpuModel& model, unsigned index) {
    return std::make_unique<X86Frontend>(model, index);
}

}  // namespace rhea::target::x86
