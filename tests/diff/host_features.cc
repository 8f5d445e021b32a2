#include "tests/diff/host_features.h"

#include <array>
#include <cstdio>
#include <cpuid.h>

namespace rhea::target::x86::diff {
namespace {

enum Register : unsigned { kEax, kEbx, kEcx, kEdx };
struct Bit {
    unsigned leaf;
    Register reg;
    unsigned bit;
    Feature feature;
};
constexpr unsigned kExtended = 0x80000001;

constexpr Bit kBits[] = {
    {1, kEdx, 0, Feature::kFpu},       {1, kEdx, 4, Feature::kTsc},       {1, kEdx, 5, Feature::kMsr},
    {1, kEdx, 8, Feature::kCx8},       {1, kEdx, 11, Feature::kSep},      {1, kEdx, 15, Feature::kCmov},
    {1, kEdx, 19, Feature::kClflush},  {1, kEdx, 23, Feature::kMmx},      {1, kEdx, 24, Feature::kFxsr},
    {1, kEdx, 25, Feature::kSse},      {1, kEdx, 26, Feature::kSse2},     {1, kEcx, 0, Feature::kSse3},
    {1, kEcx, 1, Feature::kPclmul},    {1, kEcx, 3, Feature::kMonitor},   {1, kEcx, 9, Feature::kSsse3},
    {1, kEcx, 12, Feature::kFma},      {1, kEcx, 13, Feature::kCx16},     {1, kEcx, 19, Feature::kSse41},
    {1, kEcx, 20, Feature::kSse42},    {1, kEcx, 22, Feature::kMovbe},    {1, kEcx, 23, Feature::kPopcnt},
    {1, kEcx, 25, Feature::kAes},      {1, kEcx, 26, Feature::kXsave},    {1, kEcx, 28, Feature::kAvx},
    {1, kEcx, 29, Feature::kF16c},     {1, kEcx, 30, Feature::kRdrand},   {7, kEbx, 0, Feature::kFsgsbase},
    {7, kEbx, 3, Feature::kBmi1},      {7, kEbx, 5, Feature::kAvx2},      {7, kEbx, 8, Feature::kBmi2},
    {7, kEbx, 10, Feature::kInvpcid},  {7, kEbx, 18, Feature::kRdseed},   {7, kEbx, 19, Feature::kAdx},
    {7, kEbx, 20, Feature::kSmap},     {7, kEbx, 23, Feature::kClflushopt}, {7, kEbx, 24, Feature::kClwb},
    {7, kEcx, 9, Feature::kVaes},      {7, kEcx, 10, Feature::kVpclmul},
    {7, kEbx, 29, Feature::kSha},      {7, kEcx, 8, Feature::kGfni},
          {7, kEcx, 22, Feature::kRdpid},    {kExtended, kEcx, 0, Feature::kLahf64},
    {kExtended, kEcx, 5, Feature::kAbm}, {kExtended, kEcx, 6, Feature::kSse4a},
    {kExtended, kEcx, 8, Feature::k3dnowPrefetch}, {kExtended, kEdx, 11, Feature::kSyscall},
    {kExtended, kEdx, 27, Feature::kRdtscp}, {kExtended, kEdx, 29, Feature::kLongMode},
};

} // namespace

FeatureSet host_features() {
    FeatureSet set;
    for (const Bit &bit : kBits) {
        std::array<unsigned, 4> r{};
        if (__get_cpuid_count(bit.leaf, 0, &r[0], &r[1], &r[2], &r[3]) != 0 && ((r[bit.reg] >> bit.bit) & 1) != 0) {
            set.add(bit.feature);
        }
    }
    return set;
}

std::string host_name() {
    constexpr unsigned kBrandFrom = 0x80000002, kBrandTo = 0x80000004;
    std::array<unsigned, 4> r{};
    std::string name;
    for (unsigned leaf = kBrandFrom; leaf <= kBrandTo; leaf++) {
        if (__get_cpuid(leaf, &r[0], &r[1], &r[2], &r[3]) != 0) {
            name.append(reinterpret_cast<const char *>(r.data()), sizeof r);
        }
    }
    name = name.c_str(); // it is filled up with zeros
    if (__get_cpuid(1, &r[0], &r[1], &r[2], &r[3]) != 0) {
        char signature[32];
        std::snprintf(signature, sizeof signature, " (CPUID.1:EAX %08x)", r[0]);
        name += signature;
    }
    return name;
}

} // namespace rhea::target::x86::diff
