// CPU models: what `-cpu name,+feature,-feature,key=value` makes, and the CPUID that a guest sees
// of it.
//
// A CpuModel is a plain value, made once from the command line and then only read, by any thread.
// Features come from one table (cpu_features.def) whose last column says what the translator
// implements.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/core/cpu_topology.h"
#include "rhea/util/result.h"

namespace rhea::target::x86 {

/// Where a feature's bit lies.
enum class CpuidWord : std::uint8_t {
    k1Edx,
    k1Ecx,
    k6Eax,
    k7Ebx,
    k7Ecx,
    k7Edx,
    kD1Eax,
    k81Edx,
    k81Ecx,
    k87Edx,
    k88Ebx,
    k8021Eax,
    kArchCap,  ///< IA32_ARCH_CAPABILITIES
    kCount,
};
using FeatureWords = std::array<std::uint32_t, static_cast<std::size_t>(CpuidWord::kCount)>;

/// One named feature; the value is word * 32 + bit.
enum class CpuFeature : std::uint16_t {
#define RHEA_X86_CPU_FEATURE(word, bit, id, name, translated) \
    k_##id = static_cast<unsigned>(CpuidWord::word) * 32 + bit,
#include "rhea/target/x86/cpu_features.def"
#undef RHEA_X86_CPU_FEATURE
};

struct CpuModel {
    std::string name;
    std::string vendor = "AuthenticAMD";  ///< 12 characters
    std::string model_id;                 ///< brand string, at most 48 characters
    unsigned family = 15, model = 107, stepping = 1;
    std::uint32_t level = 0xd, extended_level = 0x8000000a;
    unsigned physical_bits = 40;
    FeatureWords features{};
    core::CpuTopology topology;
    std::uint64_t tsc_hz = 1'000'000'000;
    std::vector<std::string>
        warnings;  ///< asked for, but not to be had: for the person who started Rhea

    bool has(CpuFeature feature) const {
        const auto number = static_cast<unsigned>(feature);
        return (features[number / 32] >> (number % 32) & 1) != 0;
    }
    std::uint32_t word(CpuidWord w) const { return features[static_cast<std::size_t>(w)]; }
    bool amd() const { return vendor == "AuthenticAMD" || vendor == "HygonGenuine"; }
    /// CPUID 1 EAX.
    std::uint32_t signature() const;
};

/// What can be shown to a guest: the translator's column of the table, or what KVM says.
struct CpuAvailability {
    FeatureWords features{};
    std::string accelerator = "TCG";  ///< for messages
    static CpuAvailability translator();
};

/// Makes a model from `-cpu`'s argument. A feature that is not available is left out with a
/// warning; with `enforce` it is an error. Unknown names are errors that name the nearest known
/// one.
util::Result<CpuModel> parse_cpu_model(std::string_view text, const CpuAvailability& available);

/// `-cpu help`.
std::string list_cpu_models();

/// What of the running vCPU shows in CPUID.
struct CpuidContext {
    std::uint32_t apic_id = 0;
    std::uint64_t cr4 = 0, xcr0 = 0;
    bool apic_enabled = true;
    std::string_view hypervisor = "TCGTCGTCGTCG";  ///< 12 characters
};
struct CpuidResult {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};
CpuidResult cpuid(const CpuModel& model, const CpuidContext& context, std::uint32_t leaf,
                  std::uint32_t subleaf);

}  // namespace rhea::target::x86
