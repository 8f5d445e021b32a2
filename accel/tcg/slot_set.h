// A set of small numbers that is walked and emptied in proportion to what is in it: a bit map with a summary above.
#pragma once
#include <array>
#include <bit>
#include <cstdint>

namespace rhea::accel {

template <unsigned kSize>
class SlotSet {
    static_assert(kSize % 64 == 0);
    static constexpr unsigned kWords = kSize / 64, kGroups = (kWords + 63) / 64;

public:
    bool test(unsigned i) const { return (words_[i / 64] >> (i % 64)) & 1; }
    void set(unsigned i) {
        words_[i / 64] |= std::uint64_t{1} << (i % 64);
        groups_[i / 4096] |= std::uint64_t{1} << (i / 64 % 64);
    }
    void reset(unsigned i) { words_[i / 64] &= ~(std::uint64_t{1} << (i % 64)); }
    /// False: certainly empty.
    bool maybe_any() const {
        std::uint64_t any = 0;
        for (const std::uint64_t group : groups_)
            any |= group;
        return any != 0;
    }
    template <class F>
    void for_each(F &&f) const {
        for (unsigned g = 0; g < kGroups; ++g) {
            for (std::uint64_t group = groups_[g]; group; group &= group - 1) {
                const unsigned w = g * 64 + static_cast<unsigned>(std::countr_zero(group));
                for_each_in_word(w, f);
            }
        }
    }
    /// Those with this remainder modulo 64.
    template <class F>
    void for_each_of(unsigned remainder, F &&f) const {
        for (unsigned g = 0; g < kGroups; ++g) {
            for (std::uint64_t group = groups_[g]; group; group &= group - 1) {
                const unsigned w = g * 64 + static_cast<unsigned>(std::countr_zero(group));
                if ((words_[w] >> remainder) & 1)
                    f(w * 64 + remainder);
            }
        }
    }
    /// Those in [first, first + count), multiples of 64.
    template <class F>
    void for_each_in(unsigned first, unsigned count, F &&f) const {
        for (unsigned w = first / 64; w < (first + count) / 64; ++w)
            for_each_in_word(w, f);
    }
    /// Empties it; returns how many there were.
    template <class F>
    unsigned drain(F &&f) {
        unsigned count = 0;
        for_each([&](unsigned i) {
            ++count;
            f(i);
        });
        for (unsigned g = 0; g < kGroups; ++g) {
            for (std::uint64_t group = groups_[g]; group; group &= group - 1)
                words_[g * 64 + static_cast<unsigned>(std::countr_zero(group))] = 0;
            groups_[g] = 0;
        }
        return count;
    }

private:
    template <class F>
    void for_each_in_word(unsigned w, F &&f) const {
        for (std::uint64_t word = words_[w]; word; word &= word - 1)
            f(w * 64 + static_cast<unsigned>(std::countr_zero(word)));
    }
    std::array<std::uint64_t, kWords> words_{};
    std::array<std::uint64_t, kGroups> groups_{};
};

} // namespace rhea::accel
