// The CPU features that decide which instructions exist. A set is filled from a CPU model's CPUID once and then only read.
#pragma once
#include <cstdint>
#include <initializer_list>

namespace rhea::target::x86 {

enum class Feature : std::uint8_t {
#define RHEA_X86_FEATURE(name) name,
#include "target/x86/decode/features.def"
#undef RHEA_X86_FEATURE
    kCount
};
static_assert(static_cast<unsigned>(Feature::kCount) <= 64);

/// A set of features. kBase is always in it.
class FeatureSet {
public:
    constexpr FeatureSet() = default;
    constexpr FeatureSet(std::initializer_list<Feature> features) {
        for (const Feature feature : features) {
            add(feature);
        }
    }
    static constexpr FeatureSet all() {
        FeatureSet set;
        set.bits_ = ~0ull;
        return set;
    }
    constexpr bool has(Feature feature) const {
        return ((bits_ >> static_cast<unsigned>(feature)) & 1) != 0;
    }
    constexpr void add(Feature feature) { bits_ |= 1ull << static_cast<unsigned>(feature); }
    constexpr void remove(Feature feature) { bits_ &= ~(1ull << static_cast<unsigned>(feature)); }

private:
    std::uint64_t bits_ = 1;
};

} // namespace rhea::target::x86
