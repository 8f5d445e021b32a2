#include "accel/tcg/code_space.h"

#include "accel/tcg/slow_paths.h"
#include "accel/tcg/tcg_vcpu.h"
#include "rhea/util/log.h"

namespace rhea::accel {

using namespace tcg;

namespace {
constexpr std::size_t kThunkBytes = 64 * 1024;
}

CodeSpace::CodeSpace(const TcgOptions &options)
    : gate_(options.one_thread_at_a_time ? VcpuGate::Mode::kOneAtATime : VcpuGate::Mode::kParallel) {}

util::Result<std::shared_ptr<CodeSpace>> CodeSpace::create(const TcgOptions &options, const GuestDescription &guest,
                                                           std::uint32_t cold_offset) {
    std::shared_ptr<CodeSpace> space(new CodeSpace(options));
    if (auto done = space->initialise(options, guest, cold_offset); !done)
        return util::fail(done.error());
    return space;
}

util::Result<void> CodeSpace::initialise(const TcgOptions &options, const GuestDescription &guest, std::uint32_t cold_offset) {
    if (!options.interpret) {
        auto code = CodeMemory::create(options.tb_size ? options.tb_size : CodeMemory::kDefaultSize);
        if (!code)
            return util::fail(code.error());
        code_ = std::move(*code);
        generator_ = make_x64_generator(guest, cold_offset, SlowPaths::callbacks());
        if (!generator_)
            return util::fail("the translator needs a host CPU with BMI1, BMI2 and AVX2; "
                              "-accel tcg,interp=on runs without them, slowly");
        if (options.count)
            generator_->count_instructions();
        if (util::log_enabled(util::kLogPerf))
            perf_map_ = std::make_unique<PerfMap>();
        emit_thunks();
    }
    cache_ = std::make_unique<BlockCache>(generator_.get());
    return {};
}

void CodeSpace::emit_thunks() {
    CodeBuffer thunks = code_->allocate(kThunkBytes);
    const std::size_t size = generator_->emit_thunks(thunks);
    code_->commit(thunks, size);
    code_->pin_current();
    if (perf_map_)
        perf_map_->add(thunks.exec, size, "rhea_thunks");
}

void CodeSpace::add(TcgVcpu &vcpu, GateMember &member) {
    vcpus_.push_back(&vcpu);
    gate_.add(member);
    if (generator_)
        generator_->one_vcpu(vcpus_.size() == 1);
    if (vcpus_.size() == 2 && cache_->size() != 0)
        drop_all(); // code for one alone
}

void CodeSpace::remove(TcgVcpu &vcpu, GateMember &member) {
    std::erase(vcpus_, &vcpu);
    gate_.remove(member);
}

void CodeSpace::note_ram_block(core::RamBlock *block) {
    const unsigned count = ram_block_count_.load(std::memory_order_acquire);
    for (unsigned i = 0; i < count; ++i) {
        if (ram_blocks_[i] == block)
            return;
    }
    if (count == ram_blocks_.size())
        return; // its pages are then used as slow memory: correct, and no machine has that many
    ram_blocks_[count] = block;
    ram_block_count_.store(count + 1, std::memory_order_release);
}

unsigned CodeSpace::invalidate(std::uint64_t ram_addr, std::size_t length, const GateMember *self) {
    const unsigned count = cache_->invalidate(ram_addr, length, [this](std::uint64_t page) { page_emptied(page); });
    if (count != 0)
        gate_.kick_others(self);
    return count;
}

void CodeSpace::page_emptied(std::uint64_t ram_page) {
    for (core::RamBlock *block : ram_blocks()) {
        const std::uint64_t offset = ram_page - block->ram_base();
        if (offset < block->size())
            block->page_flags(offset).fetch_and(static_cast<std::uint8_t>(~core::RamBlock::kPageHasCode), std::memory_order_acq_rel);
    }
}

void CodeSpace::drop_all() {
    const auto held = lock();
    cache_->clear([this](std::uint64_t page) { page_emptied(page); });
    for (TcgVcpu *vcpu : vcpus_)
        vcpu->forget_code();
    cache_->collect_garbage();
    if (code_) {
        code_->reset();
        emit_thunks();
    }
}

bool CodeSpace::drop_oldest() {
    const int slab = code_ ? code_->oldest_slab() : -1;
    if (slab < 0) {
        drop_all();
        return false;
    }
    const auto held = lock();
    const auto index = static_cast<unsigned>(slab);
    cache_->drop_code(code_->slab_exec(index), CodeMemory::kSlabSize, [this](std::uint64_t page) { page_emptied(page); });
    // Nothing leads there any more: exits were unchained, jump caches forget. CodeMemory fences before the space is used again.
    for (TcgVcpu *vcpu : vcpus_)
        vcpu->forget_code();
    cache_->collect_garbage();
    code_->release_slab(index);
    return true;
}

void CodeSpace::code_written(core::RamBlock &block, core::ram_addr_t offset, std::size_t length) {
    TcgVcpu *const here = SlowPaths::current();
    unsigned count;
    {
        const auto held = lock();
        count = invalidate(block.ram_base() + offset, length, here ? &here->gate_member() : nullptr);
    }
    if (count != 0 && here)
        here->forget_last_exit();
}

} // namespace rhea::accel
