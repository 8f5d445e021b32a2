// Memory for generated code: written through one mapping, executed through another (W^X).
//
// Both mappings show the same memory (a memfd); the distance between them is the same for every
// byte (alias_distance()). Where a memfd may not be executed there is one anonymous mapping that is
// writable and executable, and the distance is 0.
//
// The space is cut into slabs of kSlabSize. Blocks of any size up to a slab are taken from the
// current slab one after another; a full slab is followed by a free one. A slab is freed as a
// whole: when all its blocks were freed, or by release_slab() once its blocks are dead (eviction by
// age). Nothing is resident before it is used, and a freed slab's memory goes back to the system.
//
// Threading: none of its own; one thread at a time (the translation lock). Freeing code that some
// thread may still run, or return into, is the caller's bug. Freed space is not handed out again
// before util::sync_cores().
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "rhea/tcg/backend.h"
#include "rhea/util/result.h"

namespace rhea::tcg {

class CodeMemory {
  public:
    static constexpr std::size_t kDefaultSize = std::size_t{256} << 20;
    static constexpr std::size_t kSlabSize = std::size_t{1} << 20;
    static constexpr std::size_t kMaxSize = std::size_t{1} << 30;  ///< rel32 reaches all of it
    static constexpr std::size_t kAlignment = 16;                  ///< of every block

    enum class Mode : std::uint8_t { kPreferTwoMappings, kOneMapping };

    /// Reserves `size` bytes, rounded up to whole slabs (at least two). Fails with a sentence when
    /// the host allows no executable memory at all.
    [[nodiscard]] static util::Result<std::unique_ptr<CodeMemory>> create(
        std::size_t size = kDefaultSize, Mode mode = Mode::kPreferTwoMappings);
    ~CodeMemory();
    CodeMemory(const CodeMemory&) = delete;
    CodeMemory& operator=(const CodeMemory&) = delete;

    /// The next free place with room for `max_bytes`; capacity 0 when there is none (evict, or
    /// reset()) or when it is more than a slab. Nothing is taken until commit(). The capacity is
    /// what is left of the slab, at least max_bytes.
    [[nodiscard]] CodeBuffer allocate(std::size_t max_bytes);
    /// Takes the first `used` bytes of the buffer that the last allocate() returned.
    void commit(const CodeBuffer& buffer, std::size_t used);
    /// The block at `exec`, committed with this size, is dead.
    void free(const std::uint8_t* exec, std::size_t size);
    /// Everything is dead.
    void reset();

    // ---- slabs, for eviction by age ------------------------------------------------------------
    struct Slab {
        std::uint64_t sequence = 0;  ///< grows with every slab that is opened; 0: free
        std::size_t used = 0;        ///< bytes handed out, dead ones included
        std::size_t live = 0;        ///< bytes of blocks that were not freed
        bool used_before = false;
    };
    [[nodiscard]] unsigned slab_count() const { return static_cast<unsigned>(slabs_.size()); }
    [[nodiscard]] const Slab& slab(unsigned index) const { return slabs_[index]; }
    [[nodiscard]] unsigned free_slabs() const { return free_slabs_; }
    /// The slab that has been open or full the longest, not counting the current one and the pinned one; -1: none.
    [[nodiscard]] int oldest_slab() const;
    /// First executable address of a slab; it ends kSlabSize later.
    [[nodiscard]] const std::uint8_t* slab_exec(unsigned index) const {
        return exec_ + index * kSlabSize;
    }
    /// The current slab is never the oldest: it holds what everything needs.
    void pin_current() { pinned_ = current_; }
    /// All blocks of the slab are dead.
    void release_slab(unsigned index);

    // ---- addresses -----------------------------------------------------------------------------
    [[nodiscard]] bool contains(const void* exec) const {
        return static_cast<std::size_t>(static_cast<const std::uint8_t*>(exec) - exec_) < size_;
    }
    /// Writable address of an executable one.
    [[nodiscard]] std::uint8_t* writable(const std::uint8_t* exec) const {
        return write_ + (exec - exec_);
    }
    /// writable(p) - p.
    [[nodiscard]] std::ptrdiff_t alias_distance() const {
        return reinterpret_cast<std::intptr_t>(write_) - reinterpret_cast<std::intptr_t>(exec_);
    }
    [[nodiscard]] bool two_mappings() const { return write_ != exec_; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] std::size_t live_bytes() const;

  private:
    CodeMemory(std::uint8_t* write, std::uint8_t* exec, std::size_t size);
    bool open_slab();
    void give_back(unsigned index);
    void forget_writable(unsigned but);

    static constexpr unsigned kNoSlab = ~0u;

    std::uint8_t* write_;
    std::uint8_t* exec_;
    std::size_t size_;
    std::vector<Slab> slabs_;
    unsigned current_ = kNoSlab;
    unsigned pinned_ = kNoSlab;
    unsigned next_search_ = 0;
    unsigned free_slabs_ = 0;
    std::uint64_t sequence_ = 0;
    bool needs_sync_ = false;  ///< freed space has not been fenced from other cores yet
};

}  // namespace rhea::tcg
