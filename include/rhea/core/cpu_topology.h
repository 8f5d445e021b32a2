// How the CPUs of a machine are grouped, and the APIC IDs that follow from it.
//
// An x2APIC ID has a field a level, thread lowest, each as wide as the level's count needs (SDM vol. 3, 9.9.1 "Hierarchical
// Mapping of Shared Resources"); CPUs are numbered so that threads of a core are neighbours, then cores of a die, …
#pragma once
#include <bit>
#include <cstdint>

namespace rhea::core {

struct CpuTopology {
    unsigned sockets = 1, dies = 1, cores = 1, threads = 1; ///< dies a socket, cores a die, threads a core

    constexpr unsigned count() const { return sockets * dies * cores * threads; }
    constexpr unsigned cpus_per_socket() const { return dies * cores * threads; }

    constexpr unsigned thread_bits() const { return bits_for(threads); }
    constexpr unsigned core_bits() const { return bits_for(cores); }
    constexpr unsigned die_bits() const { return bits_for(dies); }
    /// Bits of an APIC ID below the socket's field.
    constexpr unsigned socket_shift() const { return thread_bits() + core_bits() + die_bits(); }

    /// The APIC ID of CPU `index`.
    constexpr std::uint32_t apic_id(unsigned index) const {
        const unsigned thread = index % threads;
        const unsigned core = index / threads % cores;
        const unsigned die = index / (threads * cores) % dies;
        const unsigned socket = index / cpus_per_socket();
        return thread | core << thread_bits() | die << (thread_bits() + core_bits()) | socket << socket_shift();
    }

private:
    static constexpr unsigned bits_for(unsigned count) {
        return count <= 1 ? 0 : static_cast<unsigned>(std::bit_width(count - 1));
    }
};

} // namespace rhea::core
