// A mark for pages of RAM, of one vCPU: which pages its TLBs have ever let generated code store to, since they were last revoked.
//
// A byte a page, resident where marks were made. vCPU thread only.
#pragma once
#include "rhea/core/memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <vector>

namespace rhea::accel {

class PageMarks {
public:
    PageMarks() = default;
    ~PageMarks() {
        for (const Map &map : maps_)
            ::munmap(map.marks, map.size);
    }
    PageMarks(const PageMarks &) = delete;

    /// Marks the page; false: it was not marked. Where the host has no memory for marks every page counts as marked.
    bool set(const core::RamBlock &block, std::uint64_t offset) { return exchange(block, offset, 1); }
    /// Takes the mark away; false: there was none.
    bool take(const core::RamBlock &block, std::uint64_t offset) { return exchange(block, offset, 0); }

private:
    struct Map {
        const core::RamBlock *block;
        std::uint8_t *marks;
        std::size_t size;
    };

    bool exchange(const core::RamBlock &block, std::uint64_t offset, std::uint8_t now) {
        std::uint8_t *const marks = marks_of(block);
        if (!marks)
            return true;
        const std::uint8_t before = marks[offset >> core::kPageBits];
        if (before != now)
            marks[offset >> core::kPageBits] = now;
        return before != 0;
    }
    std::uint8_t *marks_of(const core::RamBlock &block) {
        for (const Map &map : maps_) {
            if (map.block == &block)
                return map.marks;
        }
        const std::size_t size = block.size() >> core::kPageBits;
        void *const marks = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (marks == MAP_FAILED)
            return nullptr;
        maps_.push_back({&block, static_cast<std::uint8_t *>(marks), size});
        return maps_.back().marks;
    }

    std::vector<Map> maps_;
};

} // namespace rhea::accel
