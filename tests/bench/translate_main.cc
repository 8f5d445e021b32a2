// What translating costs: every block of a program's text (a kernel's, by --file) through decoder, passes and code
// generator, as often as asked, with times for each step.
//
//     translate [--file ELF] [--rounds N] [--insns N] [--limit BYTES] [--digest 1]
//
// --digest: a hash of all host code and side tables, for changes that are to leave them as they are.
// Under `valgrind --tool=callgrind` the instruction counts are the same each time.
#include "rhea/tcg/passes.h"
#include "tests/x86/elf_text.h"
#include "tests/x86/test_cpu.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <vector>

namespace {

using namespace rhea;
using namespace rhea::target::x86;

constexpr std::size_t kPage = 4096, kCodeBytes = 4u << 20;

using Clock = std::chrono::steady_clock;

class Stopwatch {
public:
    explicit Stopwatch(Clock::duration &sum) : sum_(sum), start_(Clock::now()) {}
    ~Stopwatch() { sum_ += Clock::now() - start_; }

private:
    Clock::duration &sum_;
    Clock::time_point start_;
};

double per(Clock::duration sum, std::size_t count) {
    return static_cast<double>(std::chrono::duration_cast<std::chrono::nanoseconds>(sum).count()) /
           static_cast<double>(count ? count : 1);
}

/// FNV-1a of a block's code and side table; the addresses of its exit slots, which its stubs hold, left out.
void digest(std::uint64_t &hash, const tcg::CompiledCode &code, const std::uint8_t *begin) {
    std::vector<std::uint8_t> bytes(static_cast<const std::uint8_t *>(code.entry), begin + code.size);
    for (const tcg::ExitSlot &exit : code.exits) {
        std::memset(bytes.data() + exit.stub_offset + 5, 0, 8);
    }
    bytes.insert(bytes.end(), code.side_table.bytes.begin(), code.side_table.bytes.end());
    for (const std::uint8_t byte : bytes) {
        hash = (hash ^ byte) * 0x100000001b3ull;
    }
}

void *unused(void *, std::uint64_t) { return nullptr; }

} // namespace

int main(int argc, char **argv) {
    const char *file = "/proc/self/exe";
    unsigned rounds = 1, max_insns = 48;
    std::size_t limit = ~std::size_t{0};
    bool want_digest = false;
    for (int n = 1; n + 1 < argc; n += 2) {
        const std::string name = argv[n];
        const char *value = argv[n + 1];
        if (name == "--file") {
            file = value;
        } else if (name == "--rounds") {
            rounds = static_cast<unsigned>(std::strtoul(value, nullptr, 0));
        } else if (name == "--insns") {
            max_insns = static_cast<unsigned>(std::strtoul(value, nullptr, 0));
        } else if (name == "--limit") {
            limit = std::strtoull(value, nullptr, 0);
        } else if (name == "--digest") {
            want_digest = std::strtoul(value, nullptr, 0) != 0;
        } else {
            std::printf("unknown option %s\n", name.c_str());
            return 2;
        }
    }
    const tcg::GuestDescription &guest = test::TestCpu::guest();
    tcg::MemoryCallbacks callbacks{};
    callbacks.find_block = &unused;
    auto generator = tcg::make_x64_generator(guest, offsetof(CpuState, cold), callbacks);
    if (!generator) {
        std::printf("no native code: the host lacks %s\n", std::string(tcg::x64_generator_lacks()).c_str());
        return 77;
    }
    std::vector<std::uint8_t> text = test::elf_text(file);
    const std::size_t size = std::min(text.size(), limit);
    text.resize((text.size() + 2 * kPage) & ~(kPage - 1));
    auto *code_bytes = static_cast<std::uint8_t *>(std::aligned_alloc(kPage, text.size()));
    std::memcpy(code_bytes, text.data(), text.size());
    auto *memory = static_cast<std::uint8_t *>(
        mmap(nullptr, kCodeBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (memory == MAP_FAILED || size == 0) {
        std::printf("no memory for code, or no code in %s\n", file);
        return 77;
    }
    const std::size_t thunks = generator->emit_thunks({memory, memory, kCodeBytes});
    test::TestCpu translator;
    tcg::ir::Block block;
    tcg::CompiledCode code;
    std::size_t blocks = 0, insns = 0, bytes = 0, host_bytes = 0, ops = 0, ops_left = 0, refused = 0;
    std::uint64_t hash = 0xcbf29ce484222325ull;
    Clock::duration front{}, passes{}, back{};
    for (unsigned round = 0; round < rounds; round++) {
        for (std::size_t at = 0; at + 16 < size;) {
            tcg::TranslateStatus status;
            bool compiled = false;
            {
                const Stopwatch watch(front);
                status = translator.translate(block, code_bytes + at, test::kUser64, max_insns);
            }
            if (status != tcg::TranslateStatus::kOk || block.byte_length == 0) {
                at++;
                continue;
            }
            ops += block.insts.size();
            {
                const Stopwatch watch(passes);
                tcg::passes::run(block, guest);
            }
            ops_left += block.insts.size();
            {
                const Stopwatch watch(back);
                std::uint8_t *free = memory + thunks;
                compiled = generator->compile(block, {free, free, kCodeBytes - thunks}, code);
                if (!compiled) {
                    refused++;
                }
            }
            if (want_digest && compiled) {
                digest(hash, code, memory + thunks);
            }
            blocks++;
            insns += block.insns.size();
            bytes += block.byte_length;
            host_bytes += code.size;
            at += block.byte_length;
        }
    }
    std::printf("%zu blocks, %zu guest instructions, %zu guest bytes, %zu host bytes, %zu refused\n", blocks, insns, bytes,
                host_bytes, refused);
    const double n = static_cast<double>(insns);
    std::printf("a guest instruction: %.2f host bytes, %.2f operations, %.2f after the passes\n",
                static_cast<double>(host_bytes) / n, static_cast<double>(ops) / n, static_cast<double>(ops_left) / n);
    if (want_digest) {
        std::printf("digest %016llx\n", static_cast<unsigned long long>(hash));
    }
    std::printf("nanoseconds a guest instruction: %.1f decode and translate, %.1f passes, %.1f code; %.1f in all\n",
                per(front, insns), per(passes, insns), per(back, insns), per(front + passes + back, insns));
    return 0;
}
