// The x86-64 CodeGenerator: thunks, compiler and patching behind the interface of rhea/tcg/backend.h.
#include "rhea/tcg/backend.h"
#include "tcg/backend/x64/assembler.h"
#include "tcg/backend/x64/compiler.h"
#include "tcg/backend/x64/disassemble.h"
#include "tcg/backend/x64/side_table.h"
#include "tcg/backend/x64/thunks.h"

#include <cpuid.h>

namespace rhea::tcg {
namespace {

using namespace x64;

/// Empty when generated code can run here, else what is missing.
std::string_view missing_host_feature() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return "CPUID";
    if (!(c & bit_OSXSAVE) || !(c & bit_AVX))
        return "AVX";
    unsigned xcr0 = 0, high = 0;
    asm("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
    if ((xcr0 & 6) != 6)
        return "AVX (the operating system does not save its registers)";
    if (!(c & bit_POPCNT) || !(c & bit_SSE4_2))
        return "SSE4.2 and POPCNT";
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_BMI) || !(b & bit_BMI2))
        return "BMI1 and BMI2";
    if (!(b & bit_AVX2))
        return "AVX2";
    if (!__get_cpuid(0x80000001u, &a, &b, &c, &d) || !(c & bit_LZCNT))
        return "LZCNT";
    return {};
}

class X64Generator final : public CodeGenerator {
public:
    X64Generator(const GuestDescription &guest, std::uint32_t cold_offset, const MemoryCallbacks &memory)
        : guest_(guest), layout_(guest, cold_offset), context_{&layout_, &guest_, memory},
          compiler_(layout_, thunks_, guest_) {}

    void count_instructions() override { compiler_.count_instructions(); }
    void one_vcpu(bool alone) override { compiler_.one_vcpu(alone); }

    std::size_t emit_thunks(CodeBuffer buffer) override {
        to_write_ = buffer.write - buffer.exec;
        return x64::emit_thunks(buffer, context_, thunks_);
    }

    bool compile(const ir::Block &block, CodeBuffer buffer, CompiledCode &out) override {
        return compiler_.compile(block, buffer, out);
    }

    CodeExit enter(VcpuHead *state, const std::uint8_t *entry) override {
        const auto *cold =
            reinterpret_cast<const VcpuCold *>(reinterpret_cast<const std::uint8_t *>(state) + layout_.cold_offset);
        return static_cast<CodeExit>(thunks_.enter(state, entry, cold->window + kStateRegOffset));
    }

    void *exit_next_entry() const override { return const_cast<std::uint8_t *>(thunks_.exit_next); }

    void move_exits(const TranslationBlock &tb) override {
        for (ExitSlot &slot : tb.exits) { // the stub's call, then the address
            const auto address = reinterpret_cast<std::uint64_t>(&slot);
            std::memcpy(const_cast<std::uint8_t *>(tb.entry) + to_write_ + slot.stub_offset + BlockCompiler::kStubCallBytes, &address, sizeof address);
        }
    }

    void patch_exit(const TranslationBlock &tb, ExitSlot &slot, const std::uint8_t *target) override {
        const auto index = static_cast<std::size_t>(&slot - tb.exits.data());
        const FirstJump first = first_jump(tb.side_table, index);
        std::uint32_t target_flags = 0;
        if (target)
            std::memcpy(&target_flags, target - 4, 4);
        if (first.field >= 0)
            patch(tb, static_cast<std::uint32_t>(first.field), target_flags & 1 ? target : tb.entry + first.target);
        patch(tb, slot.patch_offset, target ? target : tb.entry + slot.stub_offset);
    }

    void retire(const TranslationBlock &tb) override {
        // Another vCPU may be about to run it: one aligned store, over its first instruction alone (2 bytes at least), makes that a
        // jump to the call before the entry.
        constexpr std::uint16_t kJump = 0xeb | (0x100 - (BlockCompiler::kHeaderBytes + 2)) << 8;
        __atomic_store_n(reinterpret_cast<std::uint16_t *>(const_cast<std::uint8_t *>(tb.entry) + to_write_), kJump, __ATOMIC_RELEASE);
    }

    bool restore_state(VcpuHead *state, const TranslationBlock &tb, std::uint64_t host_pc) override {
        const std::uint64_t entry = reinterpret_cast<std::uint64_t>(tb.entry);
        if (host_pc < entry || host_pc - entry > tb.code_size)
            return false;
        const auto point = find_safe_point(tb.side_table, static_cast<std::uint32_t>(host_pc - entry));
        if (!point)
            return false;
        state->pc = state->pc_page + point->page_offset;
        auto *const bytes = reinterpret_cast<std::uint8_t *>(state);
        const auto &saved = reinterpret_cast<const VcpuCold *>(bytes + layout_.cold_offset)->vector_save;
        for (unsigned n = 0; n < kPinnedXmms; ++n) {
            if (point->uppers >> n & 1)
                std::memcpy(bytes + layout_.slots[layout_.upper_slot[n]].disp + kStateBias, saved[n] + 16, 16);
        }
        const std::uint8_t *descriptor = point->descriptor;
        if (static_cast<DescKind>(*descriptor & 63) != DescKind::kState)
            set_raw_flags(*state, evaluate(layout_, state, descriptor));
        return true;
    }

    std::string disassemble(const TranslationBlock &tb) const override {
        return x64::disassemble(tb.entry, tb.code_size);
    }

private:
    void patch(const TranslationBlock &tb, std::uint32_t offset, const std::uint8_t *target) const {
        const std::uint8_t *field = tb.entry + offset;
        Assembler::patch_rel32(const_cast<std::uint8_t *>(field) + to_write_, field, target);
    }

    GuestDescription guest_;
    Layout layout_;
    RuntimeContext context_;
    Thunks thunks_;
    BlockCompiler compiler_;
    std::ptrdiff_t to_write_ = 0;
};

} // namespace

std::string_view x64_generator_lacks() {
    static const std::string_view missing = missing_host_feature();
    return missing;
}

std::unique_ptr<CodeGenerator> make_x64_generator(const GuestDescription &guest, std::uint32_t cold_offset,
                                                  const MemoryCallbacks &memory) {
    if (!x64_generator_lacks().empty())
        return nullptr;
    return std::make_unique<X64Generator>(guest, cold_offset, memory);
}

} // namespace rhea::tcg
