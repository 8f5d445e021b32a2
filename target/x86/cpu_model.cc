#include "rhea/target/x86/cpu_model.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <span>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "rhea/util/nearest_name.h"
#include "target/x86/cpu_models.h"

namespace rhea::target::x86 {
namespace {

struct FeatureRow {
    CpuFeature feature;
    std::string_view name;
    unsigned translated;
};
constexpr FeatureRow kFeatures[] = {
#define RHEA_X86_CPU_FEATURE(word, bit, id, name, translated) \
    {CpuFeature::k_##id, name, translated},
#include "rhea/target/x86/cpu_features.def"
#undef RHEA_X86_CPU_FEATURE
};

void set_feature(FeatureWords& words, CpuFeature feature, bool on) {
    const auto number = static_cast<unsigned>(feature);
    const std::uint32_t bit = 1u << (number % 32);
    words[number / 32] = on ? words[number / 32] | bit : words[number / 32] & ~bit;
}
bool test_feature(const FeatureWords& words, CpuFeature feature) {
    const auto number = static_cast<unsigned>(feature);
    return (words[number / 32] >> (number % 32) & 1) != 0;
}
FeatureWords words_of(std::initializer_list<CpuFeature> features) {
    FeatureWords words{};
    for (const CpuFeature feature : features)
        set_feature(words, feature, true);
    return words;
}

/// Of this host's CPU, for the words in which features depend on it.
bool host_has(CpuFeature feature) {
#if defined(__x86_64__)
    struct Source {
        CpuidWord word;
        unsigned leaf, output;
    };
    static constexpr Source kSources[] = {
        {CpuidWord::k1Ecx, 1, 2}, {CpuidWord::k7Ebx, 7, 1}, {CpuidWord::k7Ecx, 7, 2}};
    const auto number = static_cast<unsigned>(feature);
    for (const Source& source : kSources) {
        unsigned r[4] = {};
        if (static_cast<unsigned>(source.word) == number / 32 &&
            __get_cpuid_count(source.leaf, 0, &r[0], &r[1], &r[2], &r[3]) != 0)
            return (r[source.output] >> (number % 32) & 1) != 0;
    }
#endif
    return false;
}

using F = CpuFeature;

CpuModel make_qemu64() {
    CpuModel m;
    m.model_id = "QEMU Virtual CPU version 2.5+";
    m.features =
        words_of({F::k_fpu,     F::k_de,   F::k_pse,  F::k_tsc,     F::k_msr,     F::k_pae,
                  F::k_mce,     F::k_cx8,  F::k_apic, F::k_sep,     F::k_mtrr,    F::k_pge,
                  F::k_mca,     F::k_cmov, F::k_pat,  F::k_pse36,   F::k_clflush, F::k_mmx,
                  F::k_fxsr,    F::k_sse,  F::k_sse2, F::k_pni,     F::k_cx16,    F::k_hypervisor,
                  F::k_syscall, F::k_nx,   F::k_lm,   F::k_lahf_lm, F::k_svm,     F::k_x2apic});
    return m;
}

CpuModel make_qemu32() {
    CpuModel m = make_qemu64();
    m.vendor = "GenuineIntel";
    m.family = 6, m.model = 6, m.stepping = 3;
    m.level = 4, m.extended_level = 0x80000004;
    m.physical_bits = 36;
    m.features = words_of({F::k_fpu, F::k_de, F::k_pse, F::k_tsc, F::k_msr, F::k_pae, F::k_mce,
                           F::k_cx8, F::k_apic, F::k_sep, F::k_pge, F::k_cmov, F::k_pat, F::k_mmx,
                           F::k_fxsr, F::k_sse, F::k_sse2, F::k_pni, F::k_hypervisor});
    return m;
}

CpuModel make_kvm64() {
    CpuModel m = make_qemu64();
    m.vendor = "GenuineIntel";
    m.family = 15, m.model = 6, m.stepping = 1;
    m.extended_level = 0x80000008;
    m.model_id = "Common KVM processor";
    for (const CpuFeature f : {F::k_lahf_lm, F::k_svm})
        set_feature(m.features, f, false);
    for (const CpuFeature f : {F::k_vme, F::k_ht})
        set_feature(m.features, f, f == F::k_vme);
    return m;
}

/// Everything that the table has: reduced to what is available like any other model.
CpuModel make_max() {
    CpuModel m;
    m.model_id = "Rhea TCG CPU";
    m.level = 0x15;
    m.extended_level = 0x80000021;
    m.features.fill(0);
    for (const FeatureRow& row : kFeatures)
        set_feature(m.features, row.feature, true);
    // Only when asked for: most describe what the machine is, not what the CPU can do. FSRM would
    // make guests use REP MOVSB, a call here, for copies of a few bytes, for which moves are
    // faster.
    for (const CpuFeature f : {F::k_ht, F::k_cmp_legacy, F::k_rsba, F::k_vme, F::k_fsrm})
        set_feature(m.features, f, false);
    return m;
}

/// As this computer's CPU calls itself, and with all that KVM can show of it.
CpuModel make_host() {
    CpuModel m = make_max();
#if defined(__x86_64__)
    unsigned r[4] = {};
    if (__get_cpuid(0, &r[0], &r[1], &r[2], &r[3]) != 0) {
        std::memcpy(&m.vendor[0], &r[1], 4);  // EBX, EDX, ECX
        std::memcpy(&m.vendor[4], &r[3], 4);
        std::memcpy(&m.vendor[8], &r[2], 4);
    }
    if (__get_cpuid(1, &r[0], &r[1], &r[2], &r[3]) != 0) {
        const unsigned family = (r[0] >> 8) & 15;
        m.family = family + (family == 15 ? (r[0] >> 20) & 0xff : 0);
        m.model = ((r[0] >> 4) & 15) | (family == 6 || family == 15 ? (r[0] >> 12) & 0xf0 : 0);
        m.stepping = r[0] & 15;
    }
    char brand[49] = {};
    for (unsigned n = 0; n < 3; ++n)
        if (__get_cpuid(0x80000002 + n, &r[0], &r[1], &r[2], &r[3]) != 0)
            std::memcpy(brand + 16 * n, r, 16);
    m.model_id = brand;
#endif
    return m;
}

CpuModel make_base() {
    CpuModel m;
    m.level = 1;
    m.extended_level = 0;
    m.family = m.model = m.stepping = 0;
    return m;
}

/// Who is told of features that cannot be had.
enum class Missing : std::uint8_t {
    kAskedFor,  ///< a warning for those named on the command line
    kAll,       ///< for each that the model has
};

struct ModelRow {
    std::string_view name, description;
    CpuModel (*make)();
    bool versioned;  ///< also under its name with -v1
    bool needs_kvm;
};
constexpr ModelRow kModels[] = {
    {"kvm64", "Common KVM processor", make_kvm64, true, false},
    {"qemu32", "QEMU Virtual CPU version 2.5+", make_qemu32, true, false},
    {"qemu64", "QEMU Virtual CPU version 2.5+", make_qemu64, true, false},
    {"base", "no features but those that are asked for", make_base, false, false},
    {"host", "the host's own CPU (needs KVM)", make_host, false, true},
    {"max", "every feature that the accelerator has on this host", make_max,
     false, false},
};

/// "CPUID.07H:EBX.bmi2 [bit 8]", as QEMU names a feature in its messages.
std::string place_of(const FeatureRow& row) {
    static constexpr std::string_view kPlaces[] = {
        "CPUID.01H:EDX",       "CPUID.01H:ECX",       "CPUID.06H:EAX",       "CPUID.07H:EBX",
        "CPUID.07H:ECX",       "CPUID.07H:EDX",       "CPUID.0DH:EAX",       "CPUID.80000001H:EDX",
        "CPUID.80000001H:ECX", "CPUID.80000007H:EDX", "CPUID.80000008H:EBX", "CPUID.80000021H:EAX",
        "MSR(10AH)"};
    static_assert(std::size(kPlaces) == static_cast<std::size_t>(CpuidWord::kCount));
    const auto number = static_cast<unsigned>(row.feature);
    return fmt::format("{}.{} [bit {}]", kPlaces[number / 32], row.name, number % 32);
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        base = 16;
        text.remove_prefix(2);
    }
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc{} || end != text.data() + text.size() || text.empty())
        return std::nullopt;
    return value;
}

std::optional<bool> parse_switch(std::string_view text) {
    if (text == "on" || text == "true" || text == "yes")
        return true;
    if (text == "off" || text == "false" || text == "no")
        return false;
    return std::nullopt;
}

/// What `key=value` may set besides features.
struct NumberKey {
    std::string_view name;
    std::uint64_t min, max;
    void (*set)(CpuModel&, std::uint64_t);
};
constexpr NumberKey kNumberKeys[] = {
    {"family", 0, 270, [](CpuModel& m, std::uint64_t v) { m.family = static_cast<unsigned>(v); }},
    {"model", 0, 255, [](CpuModel& m, std::uint64_t v) { m.model = static_cast<unsigned>(v); }},
    {"stepping", 0, 15,
     [](CpuModel& m, std::uint64_t v) { m.stepping = static_cast<unsigned>(v); }},
    {"level", 1, 0x1f,
     [](CpuModel& m, std::uint64_t v) { m.level = static_cast<std::uint32_t>(v); }},
    {"xlevel", 0x80000000, 0x80000021,
     [](CpuModel& m, std::uint64_t v) { m.extended_level = static_cast<std::uint32_t>(v); }},
    {"phys-bits", 32, 52,
     [](CpuModel& m, std::uint64_t v) { m.physical_bits = static_cast<unsigned>(v); }},
};

std::string known_feature_spelling(std::string_view word) {
    std::string name(word);
    for (char& c : name)
        if (c == '_')
            c = '-';
    struct Alias {
        std::string_view from, to;
    };
    static constexpr Alias kAliases[] = {{"sse3", "pni"},
                                         {"sse4-1", "sse4.1"},
                                         {"sse4-2", "sse4.2"},
                                         {"lahf-lm", "lahf-lm"},
                                         {"i64", "lm"},
                                         {"xd", "nx"},
                                         {"lzcnt", "abm"},
                                         {"pclmuldq", "pclmulqdq"},
                                         {"ffxsr", "fxsr-opt"},
                                         {"tsc-scale", "tsc-scale"},
                                         {"cmp-legacy", "cmp-legacy"}};
    for (const Alias& alias : kAliases)
        if (name == alias.from)
            return std::string(alias.to);
    return name;
}

const FeatureRow* find_feature(std::string_view word) {
    const std::string name = known_feature_spelling(word);
    for (const FeatureRow& row : kFeatures)
        if (row.name == name)
            return &row;
    return nullptr;
}

util::Failure unknown_option(std::string_view word) {
    std::vector<std::string_view> names;
    for (const FeatureRow& row : kFeatures)
        names.push_back(row.name);
    for (const NumberKey& key : kNumberKeys)
        names.push_back(key.name);
    for (const std::string_view key : {"vendor", "model-id", "check", "enforce"})
        names.push_back(key);
    if (const auto nearest = util::nearest_name(word, names))
        return util::fail("-cpu: there is no feature or option '{}'; did you mean '{}'?",
                          std::string(word), std::string(*nearest));
    return util::fail("-cpu: there is no feature or option '{}'; '-cpu help' lists what there is",
                      std::string(word));
}

/// Parses everything behind the model's name.
class OptionParser {
  public:
    OptionParser(CpuModel& model, const CpuAvailability& available)
        : model_(model), available_(available) {
        // Their registers are XSAVE components that leaf 0xD does not describe.
        for (const FeatureRow& row : kFeatures)
            if (row.name.starts_with("avx512") || row.feature == F::k_mpx)
                set_feature(available_.features, row.feature, false);
    }

    util::Result<void> parse(std::string_view item) {
        if (item.starts_with('+') || item.starts_with('-'))
            return feature(item.substr(1), item[0] == '+');
        const std::size_t equals = item.find('=');
        const std::string_view key = item.substr(0, equals);
        const std::string_view value =
            equals == std::string_view::npos ? "on" : item.substr(equals + 1);
        if (key == "vendor" || key == "model-id")
            return text(key, value);
        for (const NumberKey& row : kNumberKeys)
            if (key == row.name)
                return number(row, value);
        const std::optional<bool> on = parse_switch(value);
        if (!on)
            return find_feature(key) != nullptr
                       ? util::Result<void>(util::fail("-cpu: '{}' takes on or off, not '{}'",
                                                       std::string(key), std::string(value)))
                       : util::Result<void>(unknown_option(key));
        if (key == "check") {
            check_ = *on;
            return {};
        }
        if (key == "enforce") {
            enforce_ = *on;
            return {};
        }
        return feature(key, *on);
    }

    /// Leaves out what is not available.
    util::Result<void> finish(Missing told) {
        for (const FeatureRow& row : kFeatures) {
            if (!model_.has(row.feature) || test_feature(available_.features, row.feature))
                continue;
            set_feature(model_.features, row.feature, false);
            if (told == Missing::kAskedFor && !test_feature(asked_, row.feature))
                continue;
            if (enforce_)
                return util::fail(
                    "-cpu {}: {} does not support the feature '{}', which 'enforce' demands",
                    model_.name, available_.accelerator, std::string(row.name));
            if (check_)
                model_.warnings.push_back(fmt::format("{} lacks a feature of the CPU: {}",
                                                      available_.accelerator, place_of(row)));
        }
        return {};
    }

  private:
    util::Result<void> feature(std::string_view word, bool on) {
        const FeatureRow* row = find_feature(word);
        if (row == nullptr)
            return unknown_option(word);
        set_feature(model_.features, row->feature, on);
        set_feature(asked_, row->feature, on);
        return {};
    }
    util::Result<void> text(std::string_view key, std::string_view value) {
        if (key == "vendor" && value.size() != 12)
            return util::fail("-cpu: vendor takes exactly 12 characters, '{}' has {}",
                              std::string(value), value.size());
        if (key == "model-id" && value.size() > 48)
            return util::fail("-cpu: model-id takes at most 48 characters, '{}' has {}",
                              std::string(value), value.size());
        (key == "vendor" ? model_.vendor : model_.model_id) = value;
        return {};
    }
    util::Result<void> number(const NumberKey& key, std::string_view value) {
        const auto parsed = parse_number(value);
        if (!parsed || *parsed < key.min || *parsed > key.max)
            return util::fail("-cpu: {} takes a number from {:#x} to {:#x}, not '{}'",
                              std::string(key.name), key.min, key.max, std::string(value));
        key.set(model_, *parsed);
        return {};
    }

    CpuModel& model_;
    CpuAvailability available_;
    FeatureWords asked_{};
    bool check_ = true, enforce_ = false;
};

/// Bits that make no sense without another.
void drop_orphans(CpuModel& m) {
    if (!m.has(F::k_arch_capabilities))
        m.features[static_cast<std::size_t>(CpuidWord::kArchCap)] = 0;
    if (!m.has(F::k_lm))
        for (const CpuFeature f : {F::k_pdpe1gb, F::k_lahf_lm, F::k_cx16})
            set_feature(m.features, f, false);
    if (!m.has(F::k_xsave))
        set_feature(m.features, F::k_avx, false);
    if (!m.has(F::k_avx))
        for (const CpuFeature f :
             {F::k_avx2, F::k_fma, F::k_f16c, F::k_vaes, F::k_vpclmulqdq, F::k_fma4, F::k_xop})
            set_feature(m.features, f, false);
    if (!m.has(F::k_xsave))
        m.features[static_cast<std::size_t>(CpuidWord::kD1Eax)] = 0;
}

}  // namespace

CpuAvailability CpuAvailability::translator() {
    CpuAvailability available;
    for (const FeatureRow& row : kFeatures)
        set_feature(available.features, row.feature,
                    row.translated == 1 || (row.translated == 2 && host_has(row.feature)));
    // AVX instructions are translated with ones of AVX2.
    if (!host_has(F::k_avx2))
        set_feature(available.features, F::k_avx, false);
    return available;
}

std::uint32_t CpuModel::signature() const {
    const unsigned low_family = family < 15 ? family : 15;
    const unsigned extended_family = family < 15 ? 0 : family - 15;
    return stepping | (model & 15) << 4 | low_family << 8 | (model >> 4) << 16 |
           extended_family << 20;
}

namespace {

util::Failure no_such_model(std::string_view name) {
    const std::vector<ModelListing> named = list_named_models();
    std::vector<std::string_view> names;
    for (const ModelRow& row : kModels)
        names.push_back(row.name);
    for (const ModelListing& row : named)
        names.push_back(row.name);
    if (const auto nearest = util::nearest_name(name, names))
        return util::fail("there is no CPU model '{}'; did you mean '{}'? ('-cpu help' lists all)",
                          std::string(name), std::string(*nearest));
    return util::fail("there is no CPU model '{}'; '-cpu help' lists those that there are",
                      std::string(name));
}

/// A model of cpu_models.def as its table has it; `changes` are still to be made.
CpuModel make_named(const NamedChoice& choice) {
    CpuModel m;
    m.name = choice.model->name;
    m.vendor = choice.model->vendor;
    m.family = choice.model->family;
    m.model = choice.model->model;
    m.stepping = choice.model->stepping;
    m.level = choice.model->level;
    m.extended_level = choice.model->extended_level;
    m.model_id = choice.model->model_id;
    std::string_view rest = choice.model->features;
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find(' '), rest.size());
        if (const FeatureRow* row = find_feature(rest.substr(0, end)))
            set_feature(m.features, row->feature, true);
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    m.physical_bits = m.has(F::k_lm) ? 40 : m.has(F::k_pse36) ? 36 : 32;
    if (choice.version != nullptr && !choice.version->model_id.empty())
        m.model_id = choice.version->model_id;
    return m;
}

util::Result<void> parse_items(OptionParser& parser, std::string_view items) {
    while (!items.empty()) {
        const std::size_t end = std::min(items.find(','), items.size());
        if (end != 0) {
            if (auto result = parser.parse(items.substr(0, end)); !result)
                return result;
        }
        items.remove_prefix(std::min(end + 1, items.size()));
    }
    return {};
}

}  // namespace

util::Result<CpuModel> parse_cpu_model(std::string_view text, const CpuAvailability& available) {
    const std::size_t comma = std::min(text.find(','), text.size());
    constexpr std::string_view kTypeSuffix = "-x86_64-cpu";
    std::string_view name = text.substr(0, comma);
    if (name.ends_with(kTypeSuffix))
        name.remove_suffix(kTypeSuffix.size());
    const auto row = std::find_if(std::begin(kModels), std::end(kModels),
                                  [name](const ModelRow& r) {
                                      return r.name == name || (r.versioned && name.size() == r.name.size() + 3 &&
                                                                name.starts_with(r.name) && name.ends_with("-v1"));
                                  });
    const bool built_in = row != std::end(kModels);
    const NamedChoice choice = built_in ? NamedChoice{} : find_named_model(name);
    if (!built_in && choice.model == nullptr)
        return no_such_model(name);
    if (built_in && row->needs_kvm && available.accelerator != "KVM")
        return util::fail("CPU model '{}' requires KVM; with {}, 'max' has all that there is",
                          std::string(name), available.accelerator);
    CpuModel model = built_in ? row->make() : make_named(choice);
    model.name = name;
    OptionParser parser(model, available);
    if (choice.version != nullptr) {
        if (auto result = parse_items(parser, choice.version->changes); !result)
            return util::fail(result.error());
    }
    if (auto result = parse_items(parser, text.substr(std::min(comma + 1, text.size()))); !result)
        return util::fail(result.error());
    if (auto result = parser.finish(built_in ? Missing::kAskedFor : Missing::kAll); !result)
        return util::fail(result.error());
    drop_orphans(model);
    return model;
}

std::string list_cpu_models() {
    std::string out = "Available CPUs:\n";
    for (const ModelRow& row : kModels)
        out += fmt::format("x86 {:<20}  {}\n", row.name, row.description);
    for (const ModelListing& row : list_named_models())
        out += fmt::format("x86 {:<20}  {}\n", row.name, row.description);
    out += "\nRecognized CPUID flags:\n";
    std::string line = " ";
    for (const FeatureRow& row : kFeatures) {
        if (line.size() + row.name.size() > 75) {
            out += line + "\n";
            line = " ";
        }
        line += " ";
        line += row.name;
    }
    return out + line + "\n";
}

}  // namespace rhea::target::x86
