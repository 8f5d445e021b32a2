// What the vCPUs of one translating accelerator share: code memory, code generator, translated blocks, and who may run when.
//
// Lookups take no lock. Everything that changes blocks, chains or code memory happens under lock(). Order of locks: the machine lock,
// then lock(); nothing is waited for, and no device is touched, with lock() held. Blocks and code memory are given back only while no
// vCPU is inside the gate.
//
// A frame with code is marked (RamBlock::kPageHasCode), and from then on every store to it takes a slow path and happens under lock(),
// so that it either comes before a block is made of the bytes, or drops the block. Docs: docs/smp.md.
#pragma once
#include "accel/tcg/patch_sites.h"
#include "accel/tcg/perf_map.h"
#include "accel/tcg/regenerated_pages.h"
#include "accel/tcg/vcpu_gate.h"
#include "rhea/accel/tcg.h"
#include "rhea/core/memory.h"
#include "rhea/tcg/block_cache.h"
#include "rhea/tcg/code_memory.h"

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace rhea::accel {

class TcgVcpu;

class CodeSpace final : public core::CodeWatcher {
public:
    /// For guests like `guest`.
    static util::Result<std::shared_ptr<CodeSpace>> create(const TcgOptions &options, const tcg::GuestDescription &guest,
                                                           std::uint32_t cold_offset);

    tcg::CodeMemory *code() { return code_.get(); }           ///< null: no host code (interp=on)
    tcg::CodeGenerator *generator() { return generator_.get(); }
    tcg::BlockCache &cache() { return *cache_; }
    VcpuGate &gate() { return gate_; }
    /// More than one vCPU. Never changes while one is inside.
    bool several() const { return gate_.several(); }

    void add(TcgVcpu &vcpu, GateMember &member);
    void remove(TcgVcpu &vcpu, GateMember &member);

    [[nodiscard]] std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }

    // With lock() held.
    /// Drops the blocks that contain any of the bytes, and has the other vCPUs leave loops in them soon; returns how many.
    unsigned invalidate(std::uint64_t ram_addr, std::size_t length, const GateMember *self);
    PatchSites &patch_sites() { return patch_sites_; }
    RegeneratedPages &regenerated_pages() { return regenerated_pages_; }
    void page_emptied(std::uint64_t ram_page);
    void unpin(std::uint64_t page) {
        cache_->unpin(page, [this](std::uint64_t emptied) { page_emptied(emptied); });
    }

    /// Drops everything. While no vCPU is inside, or by the only one, outside generated code.
    void drop_all();
    /// Drops a part of the code, the oldest, as drop_all() does; false: it was everything.
    bool drop_oldest();
    /// For -d perf. With lock() held.
    void note_perf_block(const tcg::TranslationBlock &block, std::uint64_t pc) {
        if (perf_map_ && block.entry)
            perf_map_->add_block(block.entry, block.code_size, pc, block.mode);
    }
    /// There is so much to free that stopping everybody is worth it.
    bool wants_collection() const { return cache_->garbage() >= (several() ? kMuchGarbage : 1); }

    // RAM by address. Blocks are noted under the machine lock; any thread reads.
    void note_ram_block(core::RamBlock *block);
    std::span<core::RamBlock *const> ram_blocks() const {
        return {ram_blocks_.data(), ram_block_count_.load(std::memory_order_acquire)};
    }

    // core::CodeWatcher: from any thread.
    void code_written(core::RamBlock &block, core::ram_addr_t offset, std::size_t length) override;

private:
    static constexpr std::size_t kMuchGarbage = 2048;

    explicit CodeSpace(const TcgOptions &options);
    util::Result<void> initialise(const TcgOptions &options, const tcg::GuestDescription &guest, std::uint32_t cold_offset);
    void emit_thunks();

    VcpuGate gate_;
    std::mutex mutex_;
    std::unique_ptr<tcg::CodeMemory> code_;
    std::unique_ptr<tcg::CodeGenerator> generator_;
    std::unique_ptr<tcg::BlockCache> cache_;
    std::unique_ptr<PerfMap> perf_map_; ///< with -d perf
    PatchSites patch_sites_;
    RegeneratedPages regenerated_pages_;
    std::vector<TcgVcpu *> vcpus_;
    std::array<core::RamBlock *, 64> ram_blocks_{}; ///< all that were ever seen in a memory view
    std::atomic<unsigned> ram_block_count_{0};
};

} // namespace rhea::accel
