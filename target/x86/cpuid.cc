// CPUID: one function a leaf, in a table (SDM vol. 2, CPUID; APM vol. 3, appendix E).
#include <algorithm>
#include <cstring>
#include <iterator>
#include <span>

#include "rhea/target/x86/cpu_model.h"
#include "rhea/target/x86/registers.h"

namespace rhea::target::x86 {
namespace {

struct Query {
    const CpuModel& model;
    const CpuidContext& context;
    std::uint32_t leaf, subleaf;
};

std::uint32_t word_of(std::string_view text, std::size_t offset) {
    char bytes[4] = {};
    for (std::size_t i = 0; i < 4 && offset + i < text.size(); ++i)
        bytes[i] = text[offset + i];
    std::uint32_t value;
    std::memcpy(&value, bytes, 4);
    return value;
}

unsigned logical_cpus(const CpuModel& m) {
    return m.topology.cpus_per_socket();
}

CpuidResult vendor_leaf(const Query& q) {
    return {q.model.level, word_of(q.model.vendor, 0), word_of(q.model.vendor, 8),
            word_of(q.model.vendor, 4)};
}

CpuidResult leaf_1(const Query& q) {
    const CpuModel& m = q.model;
    CpuidResult r{m.signature(), q.context.apic_id << 24, m.word(CpuidWord::k1Ecx),
                  m.word(CpuidWord::k1Edx)};
    if (m.has(CpuFeature::k_clflush))
        r.ebx |= 8u << 8;  // 64-byte lines
    if (logical_cpus(m) > 1) {
        r.ebx |= (logical_cpus(m) & 0xff) << 16;
        r.edx |= 1u << 28;  // HTT: the field above is valid
    }
    if (!q.context.apic_enabled)
        r.edx &= ~(1u << 9);
    if ((q.context.cr4 & kCr4OSXSAVE) && m.has(CpuFeature::k_xsave))
        r.ecx |= 1u << 27;
    return r;
}

CpuidResult leaf_2(const Query& q) {
    if (q.model.amd())
        return {};
    return {0x00000001, 0, 0, 0x002c307d};  // 2 MiB L2, 32 KiB L1I and L1D, as descriptors
}

/// Intel's deterministic cache parameters: 32 KiB L1D, 32 KiB L1I, 2 MiB L2.
CpuidResult leaf_4(const Query& q) {
    if (q.model.amd() || q.subleaf > 2)
        return {};
    struct Cache {
        unsigned type, level, ways, sets;
    };
    static constexpr Cache kCaches[] = {{1, 1, 8, 64}, {2, 1, 8, 64}, {3, 2, 8, 4096}};
    const Cache& c = kCaches[q.subleaf];
    const core::CpuTopology& t = q.model.topology;
    const unsigned cores = std::min((1u << (t.core_bits() + t.die_bits())) - 1, 63u);
    const unsigned sharing = (1u << t.thread_bits()) - 1;
    return {c.type | c.level << 5 | 1u << 8 | sharing << 14 | cores << 26, 63u | (c.ways - 1) << 22,
            c.sets - 1, 0};
}

CpuidResult leaf_6(const Query& q) {
    return {q.model.word(CpuidWord::k6Eax), 0, 0, 0};
}

CpuidResult leaf_7(const Query& q) {
    if (q.subleaf != 0)
        return {};
    const CpuModel& m = q.model;
    return {0, m.word(CpuidWord::k7Ebx), m.word(CpuidWord::k7Ecx), m.word(CpuidWord::k7Edx)};
}

/// A level of leaves 0BH and 1FH: how far an APIC ID is shifted to name the level above, and how many CPUs
/// are in one of this level.
struct Level {
    unsigned type, shift, cpus;
};
CpuidResult topology_level(const Query& q, std::span<const Level> levels) {
    CpuidResult r{0, 0, q.subleaf & 0xff, q.context.apic_id};
    if (q.subleaf < levels.size()) {
        const Level& level = levels[q.subleaf];
        r = {level.shift, level.cpus, r.ecx | level.type << 8, r.edx};
    }
    return r;
}
constexpr unsigned kLevelSmt = 1, kLevelCore = 2, kLevelDie = 5;

CpuidResult leaf_b(const Query& q) {
    const core::CpuTopology& t = q.model.topology;
    const Level levels[] = {{kLevelSmt, t.thread_bits(), t.threads},
                            {kLevelCore, t.socket_shift(), t.cpus_per_socket()}};
    return topology_level(q, levels);
}

/// Only where a socket has several dies: leaf 0BH cannot tell of them.
CpuidResult leaf_1f(const Query& q) {
    const core::CpuTopology& t = q.model.topology;
    if (t.dies <= 1)
        return {};
    const Level levels[] = {{kLevelSmt, t.thread_bits(), t.threads},
                            {kLevelCore, t.thread_bits() + t.core_bits(), t.cores * t.threads},
                            {kLevelDie, t.socket_shift(), t.cpus_per_socket()}};
    return topology_level(q, levels);
}

/// XSAVE areas: x87 and SSE in the legacy area, AVX's upper halves behind the header.
CpuidResult leaf_d(const Query& q) {
    if (!q.model.has(CpuFeature::k_xsave))
        return {};
    const bool avx = q.model.has(CpuFeature::k_avx);
    const std::uint32_t supported = avx ? 7 : 3;
    const auto size_of = [](std::uint64_t mask) { return mask & 4 ? 832u : 576u; };
    if (q.subleaf == 0)
        return {supported, size_of(q.context.xcr0), size_of(supported), 0};
    if (q.subleaf == 1)
        return {q.model.word(CpuidWord::kD1Eax),
                q.model.has(CpuFeature::k_xsavec) ? size_of(q.context.xcr0) : 0, 0, 0};
    if (q.subleaf == 2 && avx)
        return {256, 576, 0, 0};
    return {};
}

CpuidResult leaf_15(const Query& q) {
    return {1, 1, static_cast<std::uint32_t>(q.model.tsc_hz), 0};
}

CpuidResult hypervisor_base(const Query& q) {
    return {0x40000010, word_of(q.context.hypervisor, 0), word_of(q.context.hypervisor, 4),
            word_of(q.context.hypervisor, 8)};
}
/// TSC and APIC bus frequency in kHz, as VMware defines the leaf.
CpuidResult hypervisor_timing(const Query& q) {
    return {static_cast<std::uint32_t>(q.model.tsc_hz / 1000), 1'000'000, 0, 0};
}

CpuidResult extended_base(const Query& q) {
    return {q.model.extended_level, word_of(q.model.vendor, 0), word_of(q.model.vendor, 8),
            word_of(q.model.vendor, 4)};
}

CpuidResult extended_1(const Query& q) {
    const CpuModel& m = q.model;
    // AMD repeats leaf 1 EDX here but for what Intel has of its own (APM vol. 3, E.4.2).
    constexpr std::uint32_t kRepeated = 0x0183f3ff;
    CpuidResult r{m.signature(), 0, m.word(CpuidWord::k81Ecx), m.word(CpuidWord::k81Edx)};
    if (m.amd())
        r.edx |= m.word(CpuidWord::k1Edx) & kRepeated & (q.context.apic_enabled ? ~0u : ~(1u << 9));
    if (m.amd() && logical_cpus(m) > 1)
        r.ecx |= 1u << 1;  // CmpLegacy
    return r;
}

CpuidResult brand(const Query& q) {
    const std::size_t at = (q.leaf - 0x80000002) * 16;
    return {word_of(q.model.model_id, at), word_of(q.model.model_id, at + 4),
            word_of(q.model.model_id, at + 8), word_of(q.model.model_id, at + 12)};
}

CpuidResult extended_5(const Query& q) {
    if (!q.model.amd())
        return {};
    // TLB 255 entries; 64 KiB, 2-way, 64-byte lines, one line a tag, each for data and
    // instructions.
    return {0x01ff01ff, 0x01ff01ff, 0x40020140, 0x40020140};
}
CpuidResult extended_6(const Query& q) {
    if (!q.model.amd())
        return {0, 0, 0x02008140, 0};  // 512 KiB, 16-way
    return {0, 0x42004200, 0x02008140, 0x00808140};
}
CpuidResult extended_7(const Query& q) {
    return {0, 0, 0, q.model.word(CpuidWord::k87Edx)};
}

CpuidResult extended_8(const Query& q) {
    const CpuModel& m = q.model;
    CpuidResult r{m.physical_bits, m.word(CpuidWord::k88Ebx), 0, 0};
    if (m.has(CpuFeature::k_lm))
        r.eax |= 48u << 8;
    if (m.amd() && logical_cpus(m) > 1)
        r.ecx = ((logical_cpus(m) - 1) & 0xff) | m.topology.socket_shift() << 12;
    return r;
}

/// AMD's cache parameters, in the form of leaf 4: what leaves 80000005H and 80000006H say.
CpuidResult extended_1d(const Query& q) {
    struct Cache {
        unsigned type, level, ways, sets;
    };
    static constexpr Cache kCaches[] = {{1, 1, 2, 512}, {2, 1, 2, 512}, {3, 2, 16, 512}};
    if (!q.model.amd() || !q.model.has(CpuFeature::k_topoext) || q.subleaf >= std::size(kCaches))
        return {};
    const Cache& c = kCaches[q.subleaf];
    return {c.type | c.level << 5 | 1u << 8 | (q.model.topology.threads - 1) << 14, 63u | (c.ways - 1) << 22,
            c.sets - 1, 0};
}

/// Extended APIC ID, core and node (APM vol. 3, E.4.19): a die is a node.
CpuidResult extended_1e(const Query& q) {
    if (!q.model.amd() || !q.model.has(CpuFeature::k_topoext))
        return {};
    const core::CpuTopology& t = q.model.topology;
    const std::uint32_t id = q.context.apic_id;
    const unsigned core = id >> t.thread_bits() & ((1u << (t.core_bits() + t.die_bits())) - 1);
    const unsigned node = id >> (t.thread_bits() + t.core_bits());
    return {id, core | (t.threads - 1) << 8, (node & 0xff) | ((t.dies - 1) & 7) << 8, 0};
}

CpuidResult extended_21(const Query& q) {
    return {q.model.amd() ? q.model.word(CpuidWord::k8021Eax) : 0, 0, 0, 0};
}

struct Leaf {
    std::uint32_t first, last;
    CpuidResult (*answer)(const Query&);
};
constexpr Leaf kLeaves[] = {
    {0, 0, vendor_leaf},
    {1, 1, leaf_1},
    {2, 2, leaf_2},
    {4, 4, leaf_4},
    {6, 6, leaf_6},
    {7, 7, leaf_7},
    {0xb, 0xb, leaf_b},
    {0xd, 0xd, leaf_d},
    {0x15, 0x15, leaf_15},
    {0x1f, 0x1f, leaf_1f},
    {0x40000000, 0x40000000, hypervisor_base},
    {0x40000010, 0x40000010, hypervisor_timing},
    {0x80000000, 0x80000000, extended_base},
    {0x80000001, 0x80000001, extended_1},
    {0x80000002, 0x80000004, brand},
    {0x80000005, 0x80000005, extended_5},
    {0x80000006, 0x80000006, extended_6},
    {0x80000007, 0x80000007, extended_7},
    {0x80000008, 0x80000008, extended_8},
    {0x8000001d, 0x8000001d, extended_1d},
    {0x8000001e, 0x8000001e, extended_1e},
    {0x80000021, 0x80000021, extended_21},
};

}  // namespace

CpuidResult cpuid(const CpuModel& model, const CpuidContext& context, std::uint32_t leaf,
                  std::uint32_t subleaf) {
    // A leaf beyond the last is answered as the last basic one (SDM vol. 2, CPUID, "INPUT EAX =
    // ...").
    if (leaf >= 0x80000000) {
        if (leaf > model.extended_level)
            leaf = model.level;
    } else if (leaf >= 0x40000000 && leaf < 0x40000100) {
        if (!model.has(CpuFeature::k_hypervisor) || leaf > 0x40000010)
            leaf = model.level;
    } else if (leaf > model.level) {
        leaf = model.level;
    }
    const Query query{model, context, leaf, subleaf};
    for (const Leaf& row : kLeaves)
        if (leaf >= row.first && leaf <= row.last)
            return row.answer(query);
    return {};
}

}  // namespace rhea::target::x86
