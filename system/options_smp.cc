#include "options_smp.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>

#include "rhea/util/option_list.h"

namespace rhea::system {
namespace {

using core::CpuTopology;
using util::fail;
using util::Result;

/// Machine pc: local APICs have 8-bit IDs, and 255 means all of them.
constexpr std::uint64_t kMaxCpus = 255, kMaxApicId = 254;

struct Given {
    std::uint64_t cpus = 0, maxcpus = 0, sockets = 0, dies = 0, clusters = 0, cores = 0, threads = 0;

    struct Key {
        std::string_view name;
        std::uint64_t Given::*value;
    };
    static constexpr std::array<Key, 7> kKeys{{{"cpus", &Given::cpus},
                                               {"maxcpus", &Given::maxcpus},
                                               {"sockets", &Given::sockets},
                                               {"dies", &Given::dies},
                                               {"clusters", &Given::clusters},
                                               {"cores", &Given::cores},
                                               {"threads", &Given::threads}}};
};

Result<Given> parse(std::string_view argument) {
    util::OptionList options = util::OptionList::parse(argument, "cpus");
    Given given;
    std::array<std::string_view, Given::kKeys.size()> names;
    for (std::size_t i = 0; i < names.size(); ++i) {
        const auto& [name, field] = Given::kKeys[i];
        names[i] = name;
        const bool is_given = options.has(name);
        const auto value = options.take_unsigned(name, 0);
        if (!value) {
            return fail(value.error());
        }
        if (is_given && *value == 0) {
            return fail("{}=0 leaves no CPU; say 1 or more", name);
        }
        // Products of four of them stay within 64 bits.
        if (*value > 0xffff) {
            return fail("{}={}: machine pc has at most {} CPUs", name, *value, kMaxCpus);
        }
        given.*field = *value;
    }
    if (auto done = options.finish({names.begin(), names.end()}); !done) {
        return fail(done.error());
    }
    if (given.clusters > 1) {
        return fail("machine pc has no clusters of CPUs; use dies, cores and threads");
    }
    return given;
}

/// Fills in what was not given; the product may still be wrong.
void complete(Given& given) {
    const auto at_least_one = [](std::uint64_t& value) { value = value != 0 ? value : 1; };
    at_least_one(given.dies);
    if (given.cpus == 0 && given.maxcpus == 0) {
        at_least_one(given.sockets);
        at_least_one(given.cores);
        at_least_one(given.threads);
    } else {
        const std::uint64_t all = given.maxcpus != 0 ? given.maxcpus : given.cpus;
        if (given.cores == 0) {
            at_least_one(given.sockets);
            at_least_one(given.threads);
            given.cores = all / (given.sockets * given.dies * given.threads);
        } else if (given.sockets == 0) {
            at_least_one(given.threads);
            given.sockets = all / (given.dies * given.cores * given.threads);
        }
        if (given.threads == 0) {
            given.threads = all / (given.sockets * given.dies * given.cores);
        }
    }
    const std::uint64_t product = given.sockets * given.dies * given.cores * given.threads;
    if (given.maxcpus == 0) {
        given.maxcpus = given.cpus > product ? given.cpus : product;
    }
    if (given.cpus == 0) {
        given.cpus = given.maxcpus;
    }
}

Result<void> check(const Given& given) {
    const std::string hierarchy =
        fmt::format("sockets ({}) * dies ({}) * cores ({}) * threads ({})", given.sockets, given.dies, given.cores, given.threads);
    const std::uint64_t product = given.sockets * given.dies * given.cores * given.threads;
    if (product != given.maxcpus) {
        return fail("{} are not the {} CPUs of maxcpus; change a factor, or leave it out", hierarchy, given.maxcpus);
    }
    if (given.maxcpus < given.cpus) {
        return fail("maxcpus={} is less than cpus={}", given.maxcpus, given.cpus);
    }
    if (given.maxcpus > kMaxCpus) {
        return fail("machine pc has at most {} CPUs, not {}", kMaxCpus, given.maxcpus);
    }
    if (given.maxcpus > given.cpus) {
        return fail("maxcpus={}: this version of Rhea cannot add CPUs while the machine runs; use cpus={} or leave maxcpus out",
                    given.maxcpus, given.maxcpus);
    }
    return {};
}

}  // namespace

Result<CpuTopology> parse_smp(std::string_view argument) {
    auto given = parse(argument);
    if (!given) {
        return fail(given.error());
    }
    complete(*given);
    if (auto done = check(*given); !done) {
        return fail(done.error());
    }
    const CpuTopology topology{.sockets = static_cast<unsigned>(given->sockets),
                               .dies = static_cast<unsigned>(given->dies),
                               .cores = static_cast<unsigned>(given->cores),
                               .threads = static_cast<unsigned>(given->threads)};
    if (topology.apic_id(topology.count() - 1) > kMaxApicId) {
        return fail("the APIC ID of the last CPU would be {}, and machine pc has none above {}; choose powers of two for dies, cores and "
                    "threads, or fewer CPUs",
                    topology.apic_id(topology.count() - 1), kMaxApicId);
    }
    return topology;
}

}  // namespace rhea::system
