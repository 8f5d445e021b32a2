// A hash map from 64-bit keys to small values for the per-request look-ups: open addressing, linear probing, erasure by
// moving back. The key ~0 is reserved. A look-up is one multiplication and mostly one cache line.
#pragma once
#include <bit>
#include <cstdint>
#include <vector>

namespace rhea::block::qcow2 {

template <typename Value> class FlatMap {
public:
    Value *find(std::uint64_t key) {
        if (count_ == 0)
            return nullptr;
        for (std::size_t at = home(key);; at = (at + 1) & mask()) {
            if (cells_[at].key == key)
                return &cells_[at].value;
            if (cells_[at].key == kFree)
                return nullptr;
        }
    }
    const Value *find(std::uint64_t key) const { return const_cast<FlatMap *>(this)->find(key); }
    bool contains(std::uint64_t key) const { return find(key) != nullptr; }

    void set(std::uint64_t key, Value value) {
        if (Value *old = find(key)) {
            *old = value;
            return;
        }
        if ((count_ + 1) * 2 > cells_.size())
            grow();
        std::size_t at = home(key);
        while (cells_[at].key != kFree)
            at = (at + 1) & mask();
        cells_[at] = {key, value};
        ++count_;
    }

    bool erase(std::uint64_t key) {
        if (count_ == 0)
            return false;
        std::size_t at = home(key);
        while (cells_[at].key != key) {
            if (cells_[at].key == kFree)
                return false;
            at = (at + 1) & mask();
        }
        for (std::size_t next = (at + 1) & mask(); cells_[next].key != kFree; next = (next + 1) & mask()) {
            // May the cell at `next` move to `at`? Only when its home is not between the two.
            const std::size_t from_home = (next - home(cells_[next].key)) & mask();
            if (from_home >= ((next - at) & mask())) {
                cells_[at] = cells_[next];
                at = next;
            }
        }
        cells_[at].key = kFree;
        --count_;
        return true;
    }

    std::size_t size() const { return count_; }
    void clear() {
        cells_.clear();
        count_ = 0;
    }
    template <typename Function> void for_each(Function function) const {
        for (const Cell &cell : cells_)
            if (cell.key != kFree)
                function(cell.key, cell.value);
    }

private:
    static constexpr std::uint64_t kFree = ~0ull;
    struct Cell {
        std::uint64_t key = kFree;
        Value value{};
    };
    std::size_t mask() const { return cells_.size() - 1; }
    std::size_t home(std::uint64_t key) const {
        return (key * 0x9e3779b97f4a7c15) >> (64 - std::countr_zero(cells_.size()));
    }
    void grow() {
        std::vector<Cell> old(cells_.empty() ? 16 : cells_.size() * 2);
        old.swap(cells_);
        count_ = 0;
        for (const Cell &cell : old)
            if (cell.key != kFree)
                set(cell.key, cell.value);
    }

    std::vector<Cell> cells_;
    std::size_t count_ = 0;
};

} // namespace rhea::block::qcow2
