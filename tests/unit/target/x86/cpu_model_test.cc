// -cpu and what CPUID says of it.
#include "rhea/target/x86/cpu_model.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "target/x86/cpu_models.h"
#include "tests/support/x86_machine.h"

namespace rhea::target::x86 {
namespace {

CpuModel parse(std::string_view text) {
    auto model = parse_cpu_model(text, CpuAvailability::translator());
    EXPECT_TRUE(model.has_value()) << (model ? "" : model.error().message());
    return model ? *model : CpuModel{};
}
std::string error_of(std::string_view text) {
    auto model = parse_cpu_model(text, CpuAvailability::translator());
    return model ? "" : model.error().message();
}

TEST(CpuModels, MaxShowsWhatWorksAndNothingElse) {
    const CpuModel m = parse("max");
    const CpuAvailability available = CpuAvailability::translator();
    for (std::size_t i = 0; i < m.features.size(); ++i)
        EXPECT_EQ(m.features[i] & ~available.features[i], 0u) << i;
    for (const CpuFeature f :
         {CpuFeature::k_nx, CpuFeature::k_pcid, CpuFeature::k_invpcid, CpuFeature::k_smep,
          CpuFeature::k_smap, CpuFeature::k_fsgsbase, CpuFeature::k_erms, CpuFeature::k_rdtscp,
          CpuFeature::k_pdpe1gb, CpuFeature::k_cx16, CpuFeature::k_x2apic,
          CpuFeature::k_tsc_deadline, CpuFeature::k_invtsc, CpuFeature::k_rdctl_no})
        EXPECT_TRUE(m.has(f)) << static_cast<unsigned>(f);
    EXPECT_TRUE(m.warnings.empty());
    EXPECT_TRUE(m.amd());
}

TEST(CpuModels, Qemu64LeavesOutWhatIsMissing) {
    const CpuModel m = parse("qemu64");
    EXPECT_EQ(m.signature(), 0x00060fb1u);
    EXPECT_FALSE(m.has(CpuFeature::k_svm));
    EXPECT_FALSE(m.has(CpuFeature::k_smep));
    EXPECT_TRUE(m.has(CpuFeature::k_lahf_lm));
    EXPECT_TRUE(m.warnings.empty()) << "nobody asked for the missing ones by name";
}

TEST(CpuModels, Switches) {
    EXPECT_FALSE(parse("max,-nx").has(CpuFeature::k_nx));
    EXPECT_FALSE(parse("max,nx=off,smep=off").has(CpuFeature::k_smep));
    EXPECT_TRUE(parse("qemu64,+smep").has(CpuFeature::k_smep));
    EXPECT_TRUE(parse("qemu64,smep").has(CpuFeature::k_smep));
    EXPECT_FALSE(parse("max,-lahf_lm").has(CpuFeature::k_lahf_lm)) << "underscores are hyphens";
    EXPECT_EQ(parse("max,family=6,model=0x2a,stepping=7").signature(), 0x000206a7u);
    EXPECT_EQ(parse("max,vendor=GenuineIntel").vendor, "GenuineIntel");
    EXPECT_EQ(parse("max,model-id=My CPU").model_id, "My CPU");
    EXPECT_EQ(parse("max,-arch-capabilities").word(CpuidWord::kArchCap), 0u);
    EXPECT_EQ(parse("qemu64-x86_64-cpu").name, "qemu64");
}

TEST(CpuModels, WhatCannotBeHad) {
    const CpuModel m = parse("max,+svm");
    EXPECT_FALSE(m.has(CpuFeature::k_svm));
    ASSERT_EQ(m.warnings.size(), 1u);
    EXPECT_NE(m.warnings[0].find("svm"), std::string::npos);
    EXPECT_NE(error_of("max,+svm,enforce").find("svm"), std::string::npos);
    EXPECT_EQ(parse("max,+svm,check=off").warnings.size(), 0u);
}

TEST(CpuModels, NamedModels) {
    const CpuModel nehalem = parse("Nehalem");
    EXPECT_EQ(nehalem.vendor, "GenuineIntel");
    EXPECT_EQ(nehalem.signature(), 0x000106a3u);
    EXPECT_EQ(nehalem.model_id, "Intel Core i7 9xx (Nehalem Class Core i7)");
    for (const CpuFeature f : {CpuFeature::k_sse4_1, CpuFeature::k_sse4_2, CpuFeature::k_ssse3,
                               CpuFeature::k_popcnt, CpuFeature::k_cx16, CpuFeature::k_lahf_lm})
        EXPECT_TRUE(nehalem.has(f)) << static_cast<unsigned>(f);
    EXPECT_FALSE(nehalem.has(CpuFeature::k_avx));
    EXPECT_TRUE(nehalem.warnings.empty());
    EXPECT_EQ(parse("Nehalem-v1").features, nehalem.features);
    EXPECT_TRUE(parse("Nehalem-v2").has(CpuFeature::k_spec_ctrl));
    EXPECT_EQ(parse("Nehalem-IBRS").features, parse("Nehalem-v2").features);
    EXPECT_EQ(parse("EPYC-Rome").signature(), 0x00830f10u);
    EXPECT_EQ(parse("Haswell-noTSX").stepping, 1u);
    EXPECT_EQ(parse("486").level, 1u);
    EXPECT_EQ(parse("486").physical_bits, 32u);
    EXPECT_FALSE(parse("pentium3").has(CpuFeature::k_lm));
    EXPECT_TRUE(parse("x86-64-v2").has(CpuFeature::k_sse4_2));
    EXPECT_EQ(parse("x86-64-v2").warnings.size(), 0u);
    EXPECT_FALSE(parse("base").has(CpuFeature::k_fpu));
    EXPECT_EQ(parse("qemu64-v1").features, parse("qemu64").features);
}

TEST(CpuModels, AMissingFeatureOfANamedModelIsToldByItsPlace) {
    const CpuModel m = parse("Haswell");
    EXPECT_FALSE(m.has(CpuFeature::k_hle));
    const std::string expected = "TCG lacks a feature of the CPU: CPUID.07H:EBX.hle [bit 4]";
    EXPECT_EQ(std::count(m.warnings.begin(), m.warnings.end(), expected), 1);
    EXPECT_TRUE(parse("Haswell,check=off").warnings.empty());
    EXPECT_NE(error_of("Haswell,enforce").find("enforce"), std::string::npos);
    const CpuModel without = parse("Haswell,-hle");
    EXPECT_EQ(std::count(without.warnings.begin(), without.warnings.end(), expected), 0);
}

/// Every feature that a row of the table names exists, and every version's changes can be made.
TEST(CpuModels, EveryRowParses) {
    CpuAvailability all;
    all.features.fill(~0u);
    for (const ModelListing& row : list_named_models()) {
        const auto model = parse_cpu_model(row.name, all);
        ASSERT_TRUE(model.has_value()) << row.name;
        std::string_view rest = find_named_model(row.name).model->features;
        while (!rest.empty()) {
            const std::string word(rest.substr(0, rest.find(' ')));
            EXPECT_TRUE(parse_cpu_model("base,+" + word, all).has_value()) << row.name << ' ' << word;
            rest.remove_prefix(std::min(word.size() + 1, rest.size()));
        }
        EXPECT_NE(list_cpu_models().find("x86 " + row.name), std::string::npos);
    }
}

TEST(CpuModels, TheHostIsForKvm) {
    EXPECT_NE(error_of("host").find("KVM"), std::string::npos);
    CpuAvailability kvm = CpuAvailability::translator();
    kvm.accelerator = "KVM";
    const auto host = parse_cpu_model("host", kvm);
    ASSERT_TRUE(host.has_value());
    EXPECT_EQ(host->vendor.size(), 12u);
    EXPECT_TRUE(host->has(CpuFeature::k_sse2));
}

TEST(CpuModels, MistakesNameTheNearest) {
    EXPECT_NE(error_of("qemu46").find("'qemu64'"), std::string::npos);
    EXPECT_NE(error_of("max,+smeq").find("'smep'"), std::string::npos);
    EXPECT_NE(error_of("max,famly=3").find("'family'"), std::string::npos);
    EXPECT_NE(error_of("max,family=x").find("family"), std::string::npos);
    EXPECT_NE(error_of("max,nx=maybe").find("on or off"), std::string::npos);
    EXPECT_NE(error_of("max,vendor=short").find("12"), std::string::npos);
    EXPECT_NE(list_cpu_models().find("qemu64"), std::string::npos);
    EXPECT_NE(list_cpu_models().find("tsc-deadline"), std::string::npos);
}

TEST(Cpuid, BasicLeaves) {
    const CpuModel m = parse("max");
    CpuidContext context;
    context.apic_id = 3;
    const CpuidResult vendor = cpuid(m, context, 0, 0);
    EXPECT_EQ(vendor.ebx, 0x68747541u);  // "Auth"
    EXPECT_EQ(vendor.edx, 0x69746e65u);  // "enti"
    EXPECT_EQ(vendor.ecx, 0x444d4163u);  // "cAMD"
    const CpuidResult one = cpuid(m, context, 1, 0);
    EXPECT_EQ(one.ebx >> 24, 3u);
    EXPECT_TRUE(one.ecx >> 31) << "hypervisor";
    EXPECT_FALSE(one.edx >> 28 & 1) << "one logical CPU";
    context.apic_enabled = false;
    EXPECT_FALSE(cpuid(m, context, 1, 0).edx >> 9 & 1);
    const CpuidResult hypervisor = cpuid(m, context, 0x40000000, 0);
    EXPECT_EQ(hypervisor.ebx, 0x54474354u);  // "TCGT"
    EXPECT_EQ(cpuid(m, context, 0x40000010, 0).eax, 1'000'000u);
    EXPECT_EQ(cpuid(m, context, 0x80000008, 0).eax, 0x3028u);
    const CpuidResult beyond = cpuid(m, context, 0x1234, 0);
    EXPECT_EQ(beyond.eax, cpuid(m, context, m.level, 0).eax);
    EXPECT_EQ(cpuid(parse("max,-hypervisor"), context, 0x40000000, 0).ebx,
              cpuid(m, context, m.level, 0).ebx);
}

TEST(Cpuid, Topology) {
    CpuModel m = parse("max");
    m.topology = {.sockets = 1, .dies = 1, .cores = 4, .threads = 2};
    const CpuidContext context{5, 0, 0, true, "TCGTCGTCGTCG"};
    EXPECT_EQ(cpuid(m, context, 1, 0).ebx >> 16 & 0xff, 8u);
    EXPECT_TRUE(cpuid(m, context, 1, 0).edx >> 28 & 1);
    const CpuidResult smt = cpuid(m, context, 0xb, 0), core = cpuid(m, context, 0xb, 1),
                      end = cpuid(m, context, 0xb, 2);
    EXPECT_EQ(smt.eax, 1u);
    EXPECT_EQ(smt.ebx, 2u);
    EXPECT_EQ(core.eax, 3u);
    EXPECT_EQ(core.ebx, 8u);
    EXPECT_EQ(core.ecx, 0x201u);
    EXPECT_EQ(core.edx, 5u);
    EXPECT_EQ(end.ebx, 0u);
    EXPECT_EQ(cpuid(m, context, 0x80000008, 0).ecx, 7u | 3u << 12);
}

TEST(Cpuid, TopologyWithDies) {
    CpuModel m = parse("max");
    m.level = 0x1f;
    m.topology = {.sockets = 2, .dies = 2, .cores = 3, .threads = 2};
    CpuidContext context;
    context.apic_id = m.topology.apic_id(23);
    EXPECT_EQ(context.apic_id, 1u << 4 | 1u << 3 | 2u << 1 | 1u);
    EXPECT_EQ(m.topology.apic_id(6), 8u) << "the second die begins at a power of two";
    EXPECT_EQ(cpuid(m, context, 0xb, 1).eax, 4u);
    EXPECT_EQ(cpuid(m, context, 0xb, 1).ebx, 12u);
    const std::uint32_t types[] = {1, 2, 5, 0}, shifts[] = {1, 3, 4, 0}, cpus[] = {2, 6, 12, 0};
    for (std::uint32_t level = 0; level < 4; ++level) {
        const CpuidResult r = cpuid(m, context, 0x1f, level);
        EXPECT_EQ(r.ecx, types[level] << 8 | level);
        EXPECT_EQ(r.eax, shifts[level]);
        EXPECT_EQ(r.ebx, cpus[level]);
        EXPECT_EQ(r.edx, context.apic_id);
    }
    const CpuidResult node = cpuid(m, context, 0x8000001e, 0);
    EXPECT_EQ(node.eax, context.apic_id);
    EXPECT_EQ(node.ebx, 1u << 8 | 6u) << "two threads a core; core 2 of die 1";
    EXPECT_EQ(node.ecx & 0x700, 1u << 8) << "two nodes";
    EXPECT_EQ(cpuid(m, context, 0x80000008, 0).ecx, 11u | 4u << 12);
    EXPECT_EQ(cpuid(m, context, 0x8000001d, 2).eax & 0xff, 0x43u) << "the second level holds both";
}

TEST(Cpuid, BrandString) {
    const CpuModel m = parse("max,model-id=0123456789abcdefXYZ");
    EXPECT_EQ(cpuid(m, {}, 0x80000002, 0).eax, 0x33323130u);
    EXPECT_EQ(cpuid(m, {}, 0x80000003, 0).eax, 0x005a5958u);
    EXPECT_EQ(cpuid(m, {}, 0x80000004, 0).edx, 0u);
}

TEST(Cpuid, Instruction) {
    test::X86Machine m("max", 2);
    m.s.gpr[kRax] = 0xffffffff'00000001;
    m.s.gpr[kRcx] = 0;
    m.call(helper_cpuid);
    EXPECT_EQ(m.s.gpr[kRax], 0x00060fb1u);
    EXPECT_EQ(m.s.gpr[kRbx] >> 24, 2u);
}

}  // namespace
}  // namespace rhea::target::x86
