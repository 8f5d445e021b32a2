// A mark for pages of RAM, of one vCPU: which pages its TLBs have ever let generated code store to, since they were last revoked, and
// in which lines of the TLBs.
//
// A byte a page, resident where marks were made. vCPU thread only.
#pragma once
#include "rhea/core/memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <vector>

namespace rhea::accel {

/// The lines of TLBs that a page's write entries are in: those with one remainder modulo 64, which a page's different linear addresses
/// mostly share (a kernel's maps of all RAM and of itself do), or any.
class MarkedLines {
public:
    static constexpr unsigned kClasses = 64;
    static constexpr MarkedLines none() { return MarkedLines(0); }
    static constexpr MarkedLines any() { return MarkedLines(0xff); }
    static constexpr MarkedLines of(unsigned line) { return MarkedLines(static_cast<std::uint8_t>(1 + line % kClasses)); }
    constexpr MarkedLines with(unsigned line) const {
        return *this == none() || *this == of(line) ? of(line) : any();
    }
    constexpr bool all() const { return value_ == any().value_; }
    /// When not all(): the remainder.
    constexpr unsigned remainder() const { return value_ - 1u; }
    constexpr bool operator==(const MarkedLines &) const = default;

private:
    explicit constexpr MarkedLines(std::uint8_t value) : value_(value) {}
    std::uint8_t value_;
};
static_assert(sizeof(MarkedLines) == 1);

class PageMarks {
public:
    PageMarks() = default;
    ~PageMarks() {
        for (const Map &map : maps_)
            ::munmap(map.marks, map.size);
    }
    PageMarks(const PageMarks &) = delete;

    /// Marks the page with a line; false: it was not marked. Where the host has no memory for marks every page counts as marked.
    bool set(const core::RamBlock &block, std::uint64_t offset, unsigned line) {
        MarkedLines *const marks = marks_of(block);
        if (!marks)
            return true;
        MarkedLines &mark = marks[offset >> core::kPageBits];
        const MarkedLines before = mark, now = before.with(line);
        if (before != now)
            mark = now;
        return before != MarkedLines::none();
    }
    /// Takes the mark away.
    MarkedLines take(const core::RamBlock &block, std::uint64_t offset) {
        MarkedLines *const marks = marks_of(block);
        if (!marks)
            return MarkedLines::any();
        MarkedLines &mark = marks[offset >> core::kPageBits];
        const MarkedLines before = mark;
        if (before != MarkedLines::none())
            mark = MarkedLines::none();
        return before;
    }

private:
    struct Map {
        const core::RamBlock *block;
        MarkedLines *marks;
        std::size_t size;
    };

    MarkedLines *marks_of(const core::RamBlock &block) {
        for (const Map &map : maps_) {
            if (map.block == &block)
                return map.marks;
        }
        const std::size_t size = block.size() >> core::kPageBits;
        void *const marks = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (marks == MAP_FAILED)
            return nullptr;
        maps_.push_back({&block, static_cast<MarkedLines *>(marks), size}); // zero is none()
        return maps_.back().marks;
    }

    std::vector<Map> maps_;
};

} // namespace rhea::accel
