#include "tests/x86/test_cpu.h"

#include "rhea/tcg/window_memory.h"
#include "target/x86/fpu/x87_guest.h"
#include "target/x86/slots.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <sys/mman.h>
#include <utility>

namespace rhea::target::x86::test {
namespace {

constexpr std::uint64_t kPageMask = 4095;
constexpr unsigned kPageFault = 14, kGeneralProtection = 13;

std::uint8_t *map_window() {
    constexpr std::size_t kSize = tcg::kWindowSize;
    auto *space = static_cast<std::uint8_t *>(
        mmap(nullptr, 2 * kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (space == MAP_FAILED) {
        throw std::bad_alloc();
    }
    // The state register's low bits are a control word: windows are aligned to their size.
    const auto start = reinterpret_cast<std::uintptr_t>(space);
    const std::uintptr_t aligned = (start + kSize - 1) & ~(kSize - 1);
    return space + (aligned - start);
}

} // namespace

TestCpu::TestCpu() : window_(map_window()) {
    state_ = new (window_ + tcg::kStateOffset) CpuState();
    state_->head.canonical_state = reinterpret_cast<std::uintptr_t>(state_);
    state_->cold.window = reinterpret_cast<std::uintptr_t>(window_);
    state_->cpu_data = reinterpret_cast<std::uintptr_t>(this);
    state_->df = 1;
    state_->rflags = 2;
    tcg::init_tables(reinterpret_cast<std::uintptr_t>(window_));
    tcg::MemoryCallbacks callbacks{};
    callbacks.load = &TestCpu::load;
    callbacks.store = &TestCpu::store;
    callbacks.probe_write = &TestCpu::probe_write;
    interpreter_ = std::make_unique<tcg::Interpreter>(guest(), offsetof(CpuState, cold), callbacks);
}

TestCpu::~TestCpu() { munmap(window_, tcg::kWindowSize); }

TestCpu &TestCpu::of(void *state) {
    return *reinterpret_cast<TestCpu *>(static_cast<CpuState *>(state)->cpu_data);
}

template <unsigned kId>
std::uint64_t TestCpu::helper(CpuState *state, std::uint64_t, std::uint64_t, std::uint64_t) {
    of(state).helpers_called_.push_back(static_cast<HelperId>(kId));
    return 0;
}

template <std::size_t... kIds>
const tcg::GuestDescription &TestCpu::make_guest(std::index_sequence<kIds...>) {
    static const std::array<tcg::HelperInfo, sizeof...(kIds)> helpers = {
        tcg::HelperInfo{"helper", reinterpret_cast<void *>(&TestCpu::helper<kIds>),
                        helper_flags(static_cast<HelperId>(kIds))}...};
    static const tcg::GuestDescription description = [] {
        tcg::GuestDescription d{};
        d.name = "x86 under test";
        d.slots = slot_table();
        d.pin_integer = pinned_integers();
        d.pin_vector = pinned_vectors();
        d.helpers = helpers;
        d.raise = &TestCpu::raise;
        d.x87 = x87_guest();
        return d;
    }();
    return description;
}

const tcg::GuestDescription &TestCpu::guest() {
    return make_guest(std::make_index_sequence<static_cast<std::size_t>(HelperId::kCount)>());
}

void TestCpu::allow(void *address, std::size_t size, bool writable) {
    ranges_.push_back({reinterpret_cast<std::uintptr_t>(address), size, writable});
}

bool TestCpu::check(std::uint64_t address, unsigned size, unsigned flags, bool write) {
    if ((flags & tcg::kMemAlign16) != 0 && (address & (size - 1)) != 0) {
        raise(state_, kGeneralProtection, 0);
        return false;
    }
    for (unsigned n = 0; n < size; n++) {
        const std::uint64_t byte = address + n;
        const bool allowed = std::any_of(ranges_.begin(), ranges_.end(), [&](const Range &range) {
            return byte - range.first < range.size && (!write || range.writable);
        });
        if (!allowed) {
            raise(state_, kPageFault, write ? 2 : 0);
            fault_->address = byte;
            return false;
        }
    }
    return true;
}

void TestCpu::load(void *state, std::uint64_t address, unsigned size, unsigned flags, void *data) {
    if (of(state).check(address, size, flags, (flags & tcg::kMemWriteIntent) != 0)) {
        std::memcpy(data, reinterpret_cast<const void *>(address), size);
    }
}

void TestCpu::store(void *state, std::uint64_t address, unsigned size, unsigned flags, const void *data) {
    if (of(state).check(address, size, flags, true)) {
        std::memcpy(reinterpret_cast<void *>(address), data, size);
    }
}

void *TestCpu::probe_write(void *state, std::uint64_t address, unsigned size, unsigned flags) {
    if (!of(state).check(address, size, flags, true)) {
        return nullptr;
    }
    const bool crosses = (address & kPageMask) + size > kPageMask + 1;
    return crosses ? nullptr : reinterpret_cast<void *>(address);
}

void TestCpu::raise(void *state, unsigned vector, std::uint64_t error_code) {
    of(state).fault_ = Fault{vector, error_code, 0};
    static_cast<CpuState *>(state)->head.exception_pending = 1;
}

tcg::TranslateStatus TestCpu::translate(tcg::ir::Block &block, const std::uint8_t *code, std::uint32_t mode,
                                        unsigned max_insns, FeatureSet features) {
    const auto address = reinterpret_cast<std::uintptr_t>(code);
    block.clear();
    block.mode = mode;
    block.page_offset = static_cast<std::uint16_t>(address & kPageMask);
    tcg::FetchWindow fetch;
    fetch.page = code - block.page_offset;
    fetch.page_offset = block.page_offset;
    fetch.hot = block.hot = hot;
    TranslateContext context;
    context.features = features;
    context.guest = &guest();
    return translate_block(block, fetch, max_insns, context);
}

tcg::CodeExit TestCpu::run(const tcg::ir::Block &block, const std::uint8_t *code) {
    fault_.reset();
    helpers_called_.clear();
    state_->head.exception_pending = 0;
    state_->head.pc = reinterpret_cast<std::uintptr_t>(code);
    state_->head.pc_page = state_->head.pc & ~kPageMask;
    return interpreter_->run(&state_->head, block);
}

} // namespace rhea::target::x86::test
