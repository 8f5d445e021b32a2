// What turns an ir::Block into something that runs, and the contract with the run loop.
//
// Register map, calling convention and side tables: docs/translator.md.
#pragma once
#include "rhea/tcg/ir.h"
#include "rhea/tcg/state.h"
#include "rhea/tcg/types.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace rhea::tcg {

struct TranslationBlock;

/// Slow paths: C++ functions that generated code reaches when the inline TLB check misses. They get the canonical
/// state address. On a guest fault they return with head.exception_pending set (fault details are the frontend's).
struct MemoryCallbacks {
    /// `size` 1, 2, 4, 8, 10 (x87), 16 or 32; `flags` are MemFlags (a misaligned kMemAlign16 access always comes here). The
    /// value goes to/comes from `data` (32 bytes). Fills the TLB where it can.
    void (*load)(void *state, std::uint64_t address, unsigned size, unsigned flags, void *data);
    void (*store)(void *state, std::uint64_t address, unsigned size, unsigned flags, const void *data);
    /// Makes sure that the address may be written and returns its host pointer; null with exception_pending set on a
    /// fault, null without: the address is no RAM or crosses a page (do the operation through load and store under
    /// the exclusive lock).
    void *(*probe_write)(void *state, std::uint64_t address, unsigned size, unsigned flags);
    /// A load of the address that accesses nothing there after all, and is one for data breakpoints. Null: no need.
    void (*touch)(void *state, std::uint64_t address, unsigned size) = nullptr;
    /// Jump cache miss: the host entry point of the block at the linear pc, or the address of the epilogue
    /// (after setting head.pc) when the run loop has to look. Fills the jump cache.
    void *(*find_block)(void *state, std::uint64_t pc);
    /// Brackets a locked operation that probe_write gave no pointer for: no other vCPU does one meanwhile. Null: no need.
    void (*begin_exclusive)(void *state) = nullptr;
    void (*end_exclusive)(void *state) = nullptr;
    /// exception_pending is set, and the state is stored but for pc and flags. True: the exception has been delivered, pc, mode and
    /// window are those of its handler; false: leave with kException. Null: always leave.
    bool (*deliver)(void *state) = nullptr;
};

/// What generated code says when it comes back: in rax of the epilogue and as the result of enter().
enum class CodeExit : std::uint32_t {
    kNext,     ///< head.pc is set; look up the next block (also: requests are to be looked at)
    kChain,    ///< as kNext; cold.exit_site = address of the ExitSlot that may be chained to the next block
    kException,///< head.exception_pending: state is precise at the faulting instruction, head.pc is its address
    kState,    ///< a helper changed mode or pc: recompute everything
    kHot,      ///< as kNext; the block there has run often and is worth a better translation
};

/// A direct exit that can be patched to jump straight to another block's code.
struct ExitSlot {
    std::uint32_t patch_offset = 0; ///< of the rel32 in the block's code; 4-byte aligned
    std::int32_t target_offset = 0; ///< page offset of the target (in the same page)
    TranslationBlock *source = nullptr;
    TranslationBlock *target = nullptr; ///< when chained
    ExitSlot *next_to_target = nullptr; ///< list of slots chained to `target`
    std::uint32_t stub_offset = 0;      ///< what the jump goes to when not chained
    bool through_cache = false;         ///< never chained: the target crosses a page. By the jump cache instead
};
static_assert(std::is_trivially_copyable_v<ExitSlot>);

/// Restores the guest's pc and flags for a fault in the middle of a block. One record a safe point (a slow path's return address);
/// 12 bytes plus a nested flags chain where needed. Format: docs/translator.md, "side table".
struct SideTable {
    std::vector<std::uint8_t> bytes;
};

/// Result of compiling: code lies in the CodeBuffer that was given.
struct CompiledCode {
    std::uint8_t *entry = nullptr;   ///< executable address
    std::uint32_t size = 0;          ///< host bytes
    std::uint32_t hot_size = 0;      ///< from the entry to the first cold part (slow paths, taken branches, exit stubs)
    std::vector<std::uint32_t> *insn_offsets = nullptr; ///< asked for: where each guest instruction's code begins, from the entry
    std::vector<ExitSlot> exits;     ///< the code has their addresses: see CodeGenerator::move_exits
    SideTable side_table;
};

/// Where code goes: one run of bytes seen through a writable and an executable mapping.
struct CodeBuffer {
    std::uint8_t *write = nullptr;   ///< writable alias of the first free byte
    std::uint8_t *exec = nullptr;    ///< the same byte as it will be executed
    std::size_t capacity = 0;
};

/// A native code generator. One object a process; compile() is called under the translation lock.
class CodeGenerator {
public:
    virtual ~CodeGenerator() = default;
    /// Blocks compiled from now on count the guest instructions that they run in VcpuCold::stat_insns.
    virtual void count_instructions() = 0;
    /// Do blocks compiled from now on run while no other vCPU does? Their atomic operations are not locked then.
    virtual void one_vcpu(bool alone) = 0;
    /// Emits entry/exit thunks and slow-path thunks into `buffer`; returns the bytes used.
    virtual std::size_t emit_thunks(CodeBuffer buffer) = 0;
    /// Compiles one block; nullopt when it does not fit in the buffer.
    virtual bool compile(const ir::Block &block, CodeBuffer buffer, CompiledCode &out) = 0;
    /// Runs generated code at `entry` in the window cold.window until it comes back. The calling thread's host FP
    /// state is saved and restored round the guest's.
    virtual CodeExit enter(VcpuHead *state, const std::uint8_t *entry) = 0;
    /// The address that find_block returns to make generated code leave with kNext / kException.
    virtual void *exit_next_entry() const = 0;
    /// The exits of the block's code lie at `tb.exits` from now on.
    virtual void move_exits(const TranslationBlock &tb) = 0;
    /// Points the direct exit at `target` (an entry), or back at its stub (null). Writes through the writable alias.
    virtual void patch_exit(const TranslationBlock &tb, ExitSlot &slot, const std::uint8_t *target) = 0;
    /// The block is no longer valid, but jump caches may still lead to it: whoever enters it looks for another one.
    virtual void retire(const TranslationBlock &tb) = 0;
    /// Given a slow path's host return address inside `tb`: sets head.pc and the lazy flags as at the start of the
    /// guest instruction that faulted. False: no record there (a bug).
    virtual bool restore_state(VcpuHead *state, const TranslationBlock &tb, std::uint64_t host_pc) = 0;
    /// Disassembly for -d out_asm.
    virtual std::string disassemble(const TranslationBlock &tb) const = 0;
};

/// What this host lacks for the x86-64 generator; empty when it can run.
std::string_view x64_generator_lacks();
/// Null when the host lacks something.
std::unique_ptr<CodeGenerator> make_x64_generator(const GuestDescription &guest, std::uint32_t cold_offset,
                                                  const MemoryCallbacks &memory);

/// A translated block. Lives in the block cache. One made by make() is one piece of memory with its exits, fields and side table: there
/// are tens of thousands.
struct TranslationBlock {
    /// With copies of what was compiled; CodeGenerator::move_exits is the caller's.
    static std::unique_ptr<TranslationBlock> make(std::span<const ExitSlot> exits = {}, std::span<const std::uint8_t> side_table = {},
                                                  std::span<const ir::CodeField> fields = {});
    static void operator delete(void *block) { ::operator delete(block); }

    std::uint64_t ram_addr = 0;      ///< physical identity of its first byte
    std::uint64_t ram_addr2 = ~0ull; ///< of the second page's first byte when it crosses a page
    std::uint32_t mode = 0;
    std::uint16_t byte_length = 0;
    bool valid = true;
    bool hot = false;                ///< translated for the second time
    std::uint16_t guest_insns = 0;
    std::uint16_t field_count = 0;
    const std::uint8_t *entry = nullptr;
    std::uint32_t code_size = 0;
    std::span<ExitSlot> exits;
    std::span<const std::uint8_t> side_table;
    ExitSlot *incoming = nullptr;    ///< exits of other blocks chained to this one
    std::unique_ptr<ir::Block> ir;   ///< kept for the interpreter and for check=interp

    /// Bytes of its code that may change without it: see ir::Block::fields. They lie behind the exits.
    std::span<const ir::CodeField> fields() const {
        return {reinterpret_cast<const ir::CodeField *>(exits.data() + exits.size()), field_count};
    }
};

/// Runs IR directly: oracle for the JIT, fallback on hosts without a back end. Executes the block once (a loop to its own head
/// leaves); the same exits and precision as generated code. Before run() head.pc_page must be the linear page base of
/// the block (generated code: same). One object a vCPU thread.
class Interpreter {
public:
    Interpreter(const GuestDescription &guest, std::uint32_t cold_offset, const MemoryCallbacks &memory);
    ~Interpreter();
    /// State must hold everything (no pinned registers here); `state` is the canonical address. On kNext and
    /// kException head.pc is set. Flags are left as kRaw.
    CodeExit run(VcpuHead *state, const ir::Block &block);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// The arithmetic flags as RFLAGS bits from a lazy triple. One definition for interpreter, helpers, restore and tests.
std::uint32_t compute_flags(std::uint32_t cc_op, std::uint64_t dst, std::uint64_t src, std::uint64_t src2);
inline std::uint32_t compute_flags(const VcpuHead &h) { return compute_flags(h.cc_op, h.cc_dst, h.cc_src, h.cc_src2); }
inline void set_raw_flags(VcpuHead &h, std::uint32_t bits) {
    h.cc_op = cc_op(FlagsKind::kRaw, 4);
    h.cc_dst = bits & kArithFlags;
}
/// Does the condition hold for these flag bits?
bool condition_holds(Cond cc, std::uint32_t flags);

} // namespace rhea::tcg
