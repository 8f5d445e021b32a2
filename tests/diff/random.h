// The tests' random numbers: splitmix64, the same on every host, one stream a case so that a case can be repeated.
#pragma once
#include <cstdint>

namespace rhea::target::x86::diff {

class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
    }
    unsigned below(unsigned limit) { return static_cast<unsigned>((next() >> 32) * limit >> 32); }
    bool one_in(unsigned n) { return below(n) == 0; }

    /// Values at which arithmetic changes its mind, as often as plain random ones.
    std::uint64_t interesting() {
        const std::uint64_t value = next();
        switch (below(10)) {
        case 0: return value & 0xff;
        case 1: return 0;
        case 2: return ~0ull;
        case 3: return 1ull << (value & 63);
        case 4: return (1ull << (value & 63)) - 1;
        case 5: return ~((1ull << (value & 63)) - 1);
        case 6: return static_cast<std::uint64_t>(static_cast<std::int64_t>(value) >> 48);
        case 7: return value & 0xffffffff;
        default: return value;
        }
    }

private:
    std::uint64_t state_;
};

} // namespace rhea::target::x86::diff
