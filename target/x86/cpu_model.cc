#include "rhea/target/x86/cpu_model.h"

#include <charconv>
#include <initializer_list>
#include <optional>
#include <span>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "rhea/util/nearest_name.h"

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

struct ModelRow {
    std::string_view name, description;
    CpuModel (*make)();
    bool everything;  ///< shows whatever is available, without a warning for the rest
};
constexpr ModelRow kModels[] = {
    {"kvm64", "Common KVM processor", make_kvm64, false},
    {"qemu32", "QEMU Virtual CPU version 2.5+", make_qemu32, false},
    {"qemu64", "QEMU Virtual CPU version 2.5+", make_qemu64, false},
    {"max", "Enables all features supported by the accelerator in the current host", make_max,
     true},
};

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
        : model_(model), available_(available) {}

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
    util::Result<void> finish(bool everything) {
        for (const FeatureRow& row : kFeatures) {
            if (!model_.has(row.feature) || test_feature(available_.features, row.feature))
                continue;
            set_feature(model_.features, row.feature, false);
            if (everything && !test_feature(asked_, row.feature))
                continue;
            if (enforce_)
                return util::fail(
                    "-cpu {}: {} does not support the feature '{}', which 'enforce' demands",
                    model_.name, available_.accelerator, std::string(row.name));
            // What the model itself brings along is left out silently: nobody asked for it.
            if (check_ && test_feature(asked_, row.feature))
                model_.warnings.push_back(fmt::format("{} doesn't support requested feature: {}",
                                                      available_.accelerator, row.name));
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
    const CpuAvailability& available_;
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
        m.features[static_cast<std::size_t>(CpuidWord::kD1Eax)] = 0;
}

}  // namespace

CpuAvailability CpuAvailability::translator() {
    CpuAvailability available;
    for (const FeatureRow& row : kFeatures)
        set_feature(available.features, row.feature,
                    row.translated == 1 || (row.translated == 2 && host_has(row.feature)));
    return available;
}

std::uint32_t CpuModel::signature() const {
    const unsigned low_family = family < 15 ? family : 15;
    const unsigned extended_family = family < 15 ? 0 : family - 15;
    return stepping | (model & 15) << 4 | low_family << 8 | (model >> 4) << 16 |
           extended_family << 20;
}

util::Result<CpuModel> parse_cpu_model(std::string_view text, const CpuAvailability& available) {
    const std::size_t comma = text.find(',');
    std::string_view name = text.substr(0, comma);
    const ModelRow* row = nullptr;
    std::vector<std::string_view> names;
    for (const ModelRow& candidate : kModels) {
        names.push_back(candidate.name);
        if (candidate.name == name ||
            (name.ends_with("-x86_64-cpu") && name.substr(0, name.size() - 11) == candidate.name))
            row = &candidate;
    }
    if (row == nullptr) {
        const auto nearest = util::nearest_name(name, names);
        if (nearest)
            return util::fail(
                "there is no CPU model '{}'; did you mean '{}'? ('-cpu help' lists all)",
                std::string(name), std::string(*nearest));
        return util::fail("there is no CPU model '{}'; '-cpu help' lists those that there are",
                          std::string(name));
    }
    CpuModel model = row->make();
    model.name = row->name;
    OptionParser parser(model, available);
    while (comma != std::string_view::npos && !text.empty()) {
        const std::size_t cut = text.find(',');
        if (cut == std::string_view::npos)
            break;
        text.remove_prefix(cut + 1);
        const std::string_view item = text.substr(0, text.find(','));
        if (item.empty())
            continue;
        if (auto result = parser.parse(item); !result)
            return util::fail(result.error());
    }
    if (auto result = parser.finish(row->everything); !result)
        return util::fail(result.error());
    drop_orphans(model);
    return model;
}

std::string list_cpu_models() {
    std::string out = "Available CPUs:\n";
    for (const ModelRow& row : kModels)
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
