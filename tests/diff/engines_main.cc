// Native code against the interpreter on real code: every block of a program's text (this one's by default), from random
// states, on a small memory that answers at every address: some pages fault, some are read-only.
//
//     diff-engines [--file ELF] [--rounds N] [--seed N] [--stride N] [--show N]
#include "rhea/tcg/passes.h"
#include "rhea/tcg/window_memory.h"
#include "tests/x86/elf_text.h"
#include "tests/x86/test_cpu.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <sys/mman.h>
#include <vector>

namespace {

using namespace rhea;
using namespace rhea::target::x86;

constexpr std::size_t kArenaPages = 16, kPage = 4096, kCodeBytes = 4u << 20;

std::uint64_t mix(std::uint64_t x) {
    x ^= x >> 31;
    x *= 0x7fb5d329728ea185ull;
    x ^= x >> 27;
    x *= 0x81dadef4bc2dd44dull;
    return x ^ x >> 33;
}

/// A CPU whose every page is one of sixteen.
class Cpu {
public:
    Cpu() : arena_(kArenaPages * kPage) {
        auto *space = static_cast<std::uint8_t *>(
            mmap(nullptr, 2 * tcg::kWindowSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (space == MAP_FAILED) {
            throw std::bad_alloc();
        }
        const auto start = reinterpret_cast<std::uintptr_t>(space);
        window_ = space + ((tcg::kWindowSize - start % tcg::kWindowSize) % tcg::kWindowSize);
        state_ = new (window_ + tcg::kStateOffset) CpuState();
    }

    CpuState &state() { return *state_; }
    std::vector<std::uint8_t> &arena() { return arena_; }
    test::TestCpu &helpers() { return helpers_; }

    void reset(std::uint64_t seed) {
        std::memset(static_cast<void *>(state_), 0, sizeof *state_);
        CpuState &s = *state_;
        s.head.canonical_state = reinterpret_cast<std::uintptr_t>(state_);
        s.cold.window = reinterpret_cast<std::uintptr_t>(window_);
        // Helpers that blocks call only record themselves; they find their object here.
        s.cpu_data = reinterpret_cast<std::uintptr_t>(&helpers_);
        owner_ = this;
        for (unsigned n = 0; n < 16; n++) {
            const std::uint64_t r = mix(seed * 64 + n);
            // Values that compare, loop and index: small ones, edges, addresses.
            const std::uint64_t kinds[] = {r & 0xff, r, r & 0x7fffffff, ~(r & 0xff), 0x20000000 + (r & 0xffff), 0,
                                           0x8000000000000000ull, r & 0xffff};
            s.gpr[n] = kinds[(r >> 40) % 8];
            for (unsigned lane = 0; lane < 2; lane++) {
                s.xmm[n].lane[lane] = mix(seed * 64 + 16 + n * 2 + lane);
            }
        }
        s.df = 1;
        s.rflags = 0x202;
        reset_x87(seed);
        s.head.guest_mxcsr = 0x1f80;
        tcg::set_raw_flags(s.head, static_cast<std::uint32_t>(mix(seed)));
        for (std::size_t n = 0; n < arena_.size(); n += 8) {
            const std::uint64_t bytes = n % 64 < 32 ? mix(seed + n) : 0x20000000 + (mix(n) & 0xfff8);
            std::memcpy(&arena_[n], &bytes, 8);
        }
        tcg::clear_tables(reinterpret_cast<std::uintptr_t>(window_));
    }

    /// Numbers near one, and now and then a state with something else or nothing in the registers.
    void reset_x87(std::uint64_t seed) {
        CpuState &s = *state_;
        const std::uint64_t r = mix(seed * 64 + 50);
        s.fcw = static_cast<std::uint16_t>(0x7f | (r & 3) << 8 | ((r >> 2) & 3) << 10);
        s.fsw = static_cast<std::uint16_t>((r >> 8) & 0x477f);
        s.ftw = static_cast<std::uint16_t>((r >> 24) % 3 == 0 ? 0xff : (r >> 24) % 3 == 1 ? 0 : (r >> 32) & 0xff);
        s.fpu_top = static_cast<std::uint32_t>((r >> 40) & 7);
        for (unsigned n = 0; n < 8; n++) {
            const std::uint64_t word = mix(seed * 64 + 51 + n);
            const bool any = (word >> 20) % 8 == 0;
            s.fpr[n].mantissa = any ? word : word | 1ull << 63;
            s.fpr[n].sign_exponent = static_cast<std::uint16_t>(any ? word >> 3 : (0x3ff0 + (word & 31)) | (word & 32) << 10);
        }
    }

    static tcg::MemoryCallbacks callbacks() {
        tcg::MemoryCallbacks c{};
        c.load = &Cpu::load;
        c.store = &Cpu::store;
        c.probe_write = &Cpu::probe_write;
        c.find_block = &Cpu::find_block;
        return c;
    }
    static inline void *exit_next = nullptr;

private:
    /// One CPU runs at a time.
    static inline Cpu *owner_ = nullptr;

    static bool allowed(std::uint64_t address, bool write) {
        const std::uint64_t page = address / kPage;
        const std::uint64_t h = mix(page);
        return h % 13 != 3 && !(write && h % 17 == 5);
    }
    std::uint8_t *at(std::uint64_t address) { return &arena_[(mix(address / kPage) % kArenaPages) * kPage + address % kPage]; }
    bool check(std::uint64_t address, unsigned size, unsigned flags, bool write) {
        const bool ok = allowed(address, write) && allowed(address + size - 1, write) &&
                        !((flags & tcg::kMemAlign16) && (address & 15));
        if (!ok) {
            state_->head.exception_pending = 1;
        }
        return ok;
    }
    void fill(std::uint64_t address, bool write) {
        const std::uint64_t page = address & ~(kPage - 1);
        const std::uint64_t addend = reinterpret_cast<std::uintptr_t>(at(page)) - page;
        const unsigned n = 8 * tcg::tlb_index(page);
        std::uint64_t other = 0;
        const auto other_tags = write ? tcg::kReadTagOffset : tcg::kWriteTagOffset;
        std::memcpy(&other, window_ + other_tags + n, 8);
        if (other != page) { // the addend is shared
            const std::uint64_t tag = tcg::invalid_tag(tcg::tlb_index(page));
            std::memcpy(window_ + other_tags + n, &tag, 8);
        }
        std::memcpy(window_ + (write ? tcg::kWriteTagOffset : tcg::kReadTagOffset) + n, &page, 8);
        std::memcpy(window_ + tcg::kAddendOffset + n, &addend, 8);
    }
    static void load(void *, std::uint64_t address, unsigned size, unsigned flags, void *data) {
        Cpu &cpu = *owner_;
        const bool write = (flags & tcg::kMemWriteIntent) != 0;
        if (!cpu.check(address, size, flags, write)) {
            return;
        }
        for (unsigned n = 0; n < size; n++) {
            static_cast<std::uint8_t *>(data)[n] = *cpu.at(address + n);
        }
        cpu.fill(address, write);
    }
    static void store(void *, std::uint64_t address, unsigned size, unsigned flags, const void *data) {
        Cpu &cpu = *owner_;
        if (!cpu.check(address, size, flags, true)) {
            return;
        }
        for (unsigned n = 0; n < size; n++) {
            *cpu.at(address + n) = static_cast<const std::uint8_t *>(data)[n];
        }
        cpu.fill(address, true);
    }
    static void *probe_write(void *, std::uint64_t address, unsigned size, unsigned flags) {
        Cpu &cpu = *owner_;
        if (!cpu.check(address, size, flags, true)) {
            return nullptr;
        }
        return address % kPage + size > kPage ? nullptr : cpu.at(address);
    }
    static void *find_block(void *state, std::uint64_t pc) {
        static_cast<CpuState *>(state)->head.pc = pc;
        return exit_next;
    }

    std::uint8_t *window_ = nullptr;
    CpuState *state_ = nullptr;
    std::vector<std::uint8_t> arena_;
    test::TestCpu helpers_;
};

std::string difference(Cpu &a, Cpu &b) {
    CpuState &s = a.state(), &t = b.state();
    char line[160] = "";
    for (unsigned n = 0; n < 16; n++) {
        if (s.gpr[n] != t.gpr[n]) {
            std::snprintf(line, sizeof line, "register %u: %llx against %llx", n, static_cast<unsigned long long>(s.gpr[n]),
                          static_cast<unsigned long long>(t.gpr[n]));
            return line;
        }
    }
    if (tcg::compute_flags(s.head) != tcg::compute_flags(t.head)) {
        std::snprintf(line, sizeof line, "flags: %x against %x", tcg::compute_flags(s.head), tcg::compute_flags(t.head));
        return line;
    }
    if (s.head.pc != t.head.pc) {
        std::snprintf(line, sizeof line, "pc: %llx against %llx", static_cast<unsigned long long>(s.head.pc),
                      static_cast<unsigned long long>(t.head.pc));
        return line;
    }
    if (s.head.exception_pending != t.head.exception_pending) {
        return "one faulted";
    }
    if (s.head.guest_mxcsr != t.head.guest_mxcsr) {
        return "mxcsr";
    }
    // Everything else but what points into the window.
    const auto *p = reinterpret_cast<const std::uint8_t *>(&s), *q = reinterpret_cast<const std::uint8_t *>(&t);
    for (std::size_t n = offsetof(CpuState, seg_base); n < offsetof(CpuState, cpu_data); n++) {
        if (p[n] != q[n]) {
            std::snprintf(line, sizeof line, "state at offset %zu", n);
            return line;
        }
    }
    const auto at = std::mismatch(a.arena().begin(), a.arena().end(), b.arena().begin()).first - a.arena().begin();
    if (static_cast<std::size_t>(at) != a.arena().size()) {
        std::snprintf(line, sizeof line, "memory at %zx", static_cast<std::size_t>(at));
        return line;
    }
    if (a.helpers().helpers_called() != b.helpers().helpers_called()) {
        return "helpers called";
    }
    return {};
}

struct Options {
    const char *file = "/proc/self/exe";
    unsigned rounds = 2, stride = 1, shown = 3, max_insns = 64;
    std::uint64_t seed = 1;
};

} // namespace

int main(int argc, char **argv) {
    Options options;
    for (int n = 1; n + 1 < argc; n += 2) {
        const std::string name = argv[n];
        const char *value = argv[n + 1];
        if (name == "--file") {
            options.file = value;
        } else if (name == "--rounds") {
            options.rounds = static_cast<unsigned>(std::strtoul(value, nullptr, 0));
        } else if (name == "--stride") {
            options.stride = static_cast<unsigned>(std::strtoul(value, nullptr, 0));
        } else if (name == "--show") {
            options.shown = static_cast<unsigned>(std::strtoul(value, nullptr, 0));
        } else if (name == "--insns") {
            options.max_insns = static_cast<unsigned>(std::strtoul(value, nullptr, 0));
        } else if (name == "--seed") {
            options.seed = std::strtoull(value, nullptr, 0);
        } else {
            std::printf("unknown option %s\n", name.c_str());
            return 2;
        }
    }
    const tcg::GuestDescription &guest = test::TestCpu::guest();
    auto generator = tcg::make_x64_generator(guest, offsetof(CpuState, cold), Cpu::callbacks());
    if (!generator) {
        std::printf("no native code: the host lacks %s\n", std::string(tcg::x64_generator_lacks()).c_str());
        return 77;
    }
    std::vector<std::uint8_t> text = test::elf_text(options.file);
    const std::size_t size = text.size();
    text.resize((size + 2 * kPage) & ~(kPage - 1));
    auto *code_bytes = static_cast<std::uint8_t *>(std::aligned_alloc(kPage, text.size()));
    std::memcpy(code_bytes, text.data(), text.size());
    auto *memory = static_cast<std::uint8_t *>(
        mmap(nullptr, kCodeBytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (memory == MAP_FAILED || size == 0) {
        std::printf("no memory for code, or no code in %s\n", options.file);
        return 77;
    }
    const std::size_t thunks = generator->emit_thunks({memory, memory, kCodeBytes});
    Cpu::exit_next = generator->exit_next_entry();
    tcg::Interpreter interpreter(guest, offsetof(CpuState, cold), Cpu::callbacks());
    Cpu native, interpreted;
    test::TestCpu translator;
    tcg::ir::Block block, optimized;
    tcg::CompiledCode code;
    std::size_t blocks = 0, runs = 0, failures = 0, faults = 0, instructions = 0;
    for (std::size_t at = 0; at + 16 < size;) {
        if (translator.translate(block, code_bytes + at, test::kUser64, options.max_insns) != tcg::TranslateStatus::kOk ||
            block.byte_length == 0) {
            at++;
            continue;
        }
        blocks++;
        instructions += block.insns.size();
        const std::size_t start = at;
        at += block.byte_length * options.stride;
        optimized = block;
        tcg::passes::run(optimized, guest);
        std::uint8_t *free = memory + thunks;
        std::string what;
        if (!generator->compile(optimized, {free, free, kCodeBytes - thunks}, code)) {
            what = "does not compile";
        }
        tcg::TranslationBlock tb;
        tb.entry = code.entry;
        tb.code_size = static_cast<std::uint32_t>(free + code.size - code.entry);
        tb.exits = code.exits;
        tb.side_table = code.side_table.bytes;
        for (unsigned round = 0; round < options.rounds && what.empty(); round++) {
            const std::uint64_t seed = options.seed * 1000003 + blocks * 16 + round;
            const std::uint64_t pc = reinterpret_cast<std::uintptr_t>(code_bytes + start);
            const auto prepare = [&](Cpu &cpu) {
                cpu.reset(seed);
                cpu.state().head.pc = pc;
                cpu.state().head.pc_page = pc & ~(kPage - 1);
                cpu.state().head.exit_request = 1; // a loop to its own head leaves after one round
            };
            prepare(interpreted);
            interpreted.helpers().forget();
            const tcg::CodeExit expected = interpreter.run(&interpreted.state().head, block);
            prepare(native);
            native.helpers().forget();
            tcg::CodeExit got = generator->enter(&native.state().head, tb.entry);
            if (got == tcg::CodeExit::kException &&
                !generator->restore_state(&native.state().head, tb, native.state().cold.slow_site)) {
                what = "no record for a fault";
                break;
            }
            got = got == tcg::CodeExit::kChain ? tcg::CodeExit::kNext : got;
            runs++;
            faults += expected == tcg::CodeExit::kException;
            what = got != expected ? "ends in another way" : difference(interpreted, native);
        }
        if (!what.empty()) {
            failures++;
            if (failures <= options.shown) {
                std::printf("---- text +%zx: %s\n%s%s", start, what.c_str(), tcg::ir::print(optimized, guest).c_str(),
                            generator->disassemble(tb).c_str());
            }
        }
    }
    std::printf("%zu blocks, %zu instructions, %zu runs, %zu faults, %zu differ\n", blocks, instructions, runs, faults, failures);
    return failures == 0 ? 0 : 1;
}
