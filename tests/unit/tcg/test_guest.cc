#include "test_guest.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdlib>

#include "rhea/tcg/window_memory.h"

namespace rhea::tcg::test {
namespace {

std::uint64_t sum(TestState*, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    return a + 2 * b + 3 * c;
}
std::uint64_t write_r1(TestState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return state->r[1] = state->r[0] + a;
}
std::uint64_t may_fault(TestState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    if (a != 0)
        state->head.exception_pending = 1;
    return state->head.pc;
}
std::uint64_t flags_out(TestState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    set_raw_flags(state->head, static_cast<std::uint32_t>(a));
    return 0;
}
std::uint64_t flags_in(TestState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    return compute_flags(state->head);
}
std::uint64_t flip_vector(TestState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    for (std::uint64_t& half : state->v[0])
        half = ~half;
    return 0;
}
std::uint64_t far(TestState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    if (a == 0)
        state->head.exception_pending = 1;
    else
        state->head.pc = a;
    return 0;
}

void raise(void* state, unsigned vector, std::uint64_t error_code) {
    auto* s = static_cast<TestState*>(state);
    s->head.exception_pending = 1;
    s->raised_vector = vector;
    s->raised_error = error_code;
}

template <class F>
void* address_of(F* function) {
    return reinterpret_cast<void*>(function);
}

}  // namespace

const GuestDescription& test_guest() {
    constexpr auto r = [](unsigned i) {
        return static_cast<std::uint32_t>(offsetof(TestState, r) + 8 * i);
    };
    static const SlotInfo slots[] = {
        {"r0", r(0), Type::kI64},
        {"r1", r(1), Type::kI64},
        {"r2", r(2), Type::kI64},
        {"r3", r(3), Type::kI64},
        {"r4", r(4), Type::kI64},
        {"r5", r(5), Type::kI64},
        {"r6", r(6), Type::kI64},
        {"r7", r(7), Type::kI64},
        {"w", offsetof(TestState, w), Type::kI32},
        {"v0", offsetof(TestState, v), Type::kV128},
        {"v1", offsetof(TestState, v) + 16, Type::kV128},
        {"mxcsr", offsetof(VcpuHead, guest_mxcsr), Type::kI32},
    };
    static const HelperInfo helpers[] = {
        {"sum", address_of(sum), 0},
        {"write_r1", address_of(write_r1), kHelperReadsSlots | kHelperWritesSlots},
        {"may_fault", address_of(may_fault), kHelperMayFault | kHelperPcIn},
        {"flags_out", address_of(flags_out), kHelperFlagsOut},
        {"flags_in", address_of(flags_in), kHelperFlagsIn},
        {"flip_vector", address_of(flip_vector), kHelperVector},
        {"far", address_of(far), kHelperMayChangePc | kHelperMayFault | kHelperPcIn},
    };
    static_assert(std::size(slots) == kSlotCount && std::size(helpers) == kHelperCount);
    static const Slot pins[] = {kR0, kR1, kR2};
    static const Slot vector_pins[] = {kV0};
    static const GuestDescription guest{"test", slots, pins, vector_pins, helpers, raise};
    return guest;
}

Machine::Machine()
    : window_(static_cast<std::uint8_t*>(std::aligned_alloc(kWindowSize, kWindowSize))),
      ram_(kRamSize) {
    std::memset(window_, 0, kWindowSize);
    state_ = new (window_ + kStateOffset) TestState{};
    state_->machine = this;
    state_->cold.window = reinterpret_cast<std::uint64_t>(window_);
    state_->head.canonical_state = reinterpret_cast<std::uint64_t>(state_);
    state_->head.pc_page = kCodePage;
    flush_tlb();
    interpreter_ =
        std::make_unique<Interpreter>(test_guest(), offsetof(TestState, cold), callbacks());
}

MemoryCallbacks Machine::callbacks() {
    MemoryCallbacks callbacks{};
    callbacks.load = load;
    callbacks.store = store;
    callbacks.probe_write = probe_write;
    callbacks.begin_exclusive = [](void* state) { ++of(state).exclusive; };
    callbacks.end_exclusive = [](void* state) { of(state).exclusive += 100; };
    return callbacks;
}

Machine::~Machine() {
    std::free(window_);
}

void Machine::randomize(std::uint64_t seed) {
    Random random(seed);
    for (auto& r : state_->r)
        r = random.interesting();
    state_->w = static_cast<std::uint32_t>(random.interesting());
    for (auto& v : state_->v) {
        for (auto& half : v)
            half = random.next();
    }
    for (std::size_t i = 0; i < ram_.size(); i += 8) {
        const std::uint64_t bytes = random.next();
        std::memcpy(&ram_[i], &bytes, 8);
    }
    set_raw_flags(state_->head, static_cast<std::uint32_t>(random.next()));
    state_->head.exception_pending = 0;
    state_->head.pc = 0;
    state_->head.pc_page = kCodePage;
    flush_tlb();
}

CodeExit Machine::run(const ir::Block& block) {
    return interpreter_->run(&state_->head, block);
}

std::string Machine::difference(Machine& other) {
    const TestState &a = *state_, &b = *other.state_;
    for (unsigned i = 0; i < 8; ++i) {
        if (a.r[i] != b.r[i])
            return fmt::format("r{}: {:#x} against {:#x}", i, a.r[i], b.r[i]);
    }
    if (a.w != b.w)
        return fmt::format("w: {:#x} against {:#x}", a.w, b.w);
    if (std::memcmp(a.v, b.v, sizeof a.v) != 0)
        return "vectors differ";
    if (flags() != other.flags())
        return fmt::format("flags: {:#x} against {:#x}", flags(), other.flags());
    if (a.head.pc != b.head.pc)
        return fmt::format("pc: {:#x} against {:#x}", a.head.pc, b.head.pc);
    if (a.head.exception_pending != b.head.exception_pending)
        return "one faulted";
    if (ram_ != other.ram_)
        return "RAM differs";
    return {};
}

void Machine::flush_tlb() {
    clear_tables(reinterpret_cast<std::uint64_t>(window_));
}

void Machine::fill_tlb(std::uint64_t address, bool write) {
    const std::uint64_t page = address & ~0xfffull;
    if (page == kDevicePage)
        return;
    const std::uint64_t addend = reinterpret_cast<std::uint64_t>(ram(page)) - page;
    const unsigned at = 8 * tlb_index(page);
    std::memcpy(window_ + (write ? kWriteTagOffset : kReadTagOffset) + at, &page, 8);
    std::memcpy(window_ + kAddendOffset + at, &addend, 8);
}

bool Machine::byte_allowed(std::uint64_t address, bool write) const {
    if (address < kRam || address >= kRam + kRamSize)
        return false;
    return !write || (address & ~0xfffull) != kReadOnlyPage;
}

bool Machine::allowed(std::uint64_t address, unsigned size, unsigned flags, bool write) {
    const bool ok = byte_allowed(address, write) && byte_allowed(address + size - 1, write) &&
                    !((flags & kMemAlign16) && (address & (size - 1)));
    if (!ok)
        state_->head.exception_pending = 1;
    return ok;
}

void Machine::load(void* state, std::uint64_t address, unsigned size, unsigned flags, void* data) {
    Machine& m = of(state);
    ++m.slow_loads;
    const bool write = (flags & kMemWriteIntent) != 0;
    if (!m.allowed(address, size, flags, write))
        return;
    m.fill_tlb(address, write);
    for (unsigned i = 0; i < size; ++i) {
        const bool device = ((address + i) & ~0xfffull) == kDevicePage;
        static_cast<std::uint8_t*>(data)[i] = device ? 0x5a : *m.ram(address + i);
    }
}

void Machine::store(void* state, std::uint64_t address, unsigned size, unsigned flags,
                    const void* data) {
    Machine& m = of(state);
    ++m.slow_stores;
    if (!m.allowed(address, size, flags, true))
        return;
    m.fill_tlb(address, true);
    if (((address + size - 1) & ~0xfffull) == kDevicePage) {
        ++m.device_writes;
        if (m.flush_on_device_write)
            m.flush_tlb();
    }
    std::memcpy(m.ram(address), data, size);
}

void* Machine::probe_write(void* state, std::uint64_t address, unsigned size, unsigned flags) {
    Machine& m = of(state);
    if (!m.allowed(address, size, flags, true))
        return nullptr;
    m.fill_tlb(address, true);
    const bool one_page = ((address ^ (address + size - 1)) & ~0xfffull) == 0;
    return one_page && (address & ~0xfffull) != kDevicePage ? m.ram(address) : nullptr;
}

}  // namespace rhea::tcg::test
