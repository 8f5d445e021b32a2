#include "tests/diff/guest_cpu.h"

#include "rhea/target/x86/registers.h"
#include "rhea/tcg/window_memory.h"
#include "target/x86/cpu.h"
#include "target/x86/translate/translate.h"
#include "tests/diff/guest_state.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>
#include <sys/mman.h>

namespace rhea::target::x86::diff {
namespace {

constexpr std::uint64_t kRamSize = 1 << 20, kPage = 4096;
constexpr std::uint64_t kPml4 = 0x1000, kPdpt = 0x2000, kDirectory = 0x3000, kArenaTable = 0x4000, kLowTable = 0x5000;
constexpr std::uint64_t kGdt = 0x6000, kLdt = 0x7000, kArenaFrames = 0x10000;
constexpr std::uint64_t kPresent = 1, kWritable = 2, kUser = 4;

std::uint8_t *map_window() {
    constexpr std::size_t kSize = tcg::kWindowSize;
    void *space = mmap(nullptr, 2 * kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (space == MAP_FAILED) {
        throw std::bad_alloc();
    }
    const auto start = reinterpret_cast<std::uintptr_t>(space);
    return reinterpret_cast<std::uint8_t *>((start + kSize - 1) & ~(kSize - 1));
}

} // namespace

GuestCpu::GuestCpu(const Arena &arena, FeatureSet features, EngineKind engine)
    : ram_("ram", 0, kRamSize), root_(core::MemoryRegion::container("memory", 1ull << 48)),
      ram_region_(core::MemoryRegion::ram("ram", ram_)), io_root_(core::MemoryRegion::container("io", 0x10000)),
      memory_("memory", *root_), io_("io", *io_root_), model_(translator_model()), frontend_(make_frontend(model_, 0)),
      features_(features), window_(map_window()),
      state_(new(window_ + tcg::kStateOffset) CpuState()) {
    root_->add(0, *ram_region_);
    // The arena's frames are the same memory as the arena.
    if (mmap(ram(kArenaFrames), kArenaSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, arena.fd(), 0) == MAP_FAILED) {
        throw std::bad_alloc();
    }
    make_page_tables();
    write_descriptors(ram(kGdt), ram(kLdt));
    state_->head.canonical_state = reinterpret_cast<std::uintptr_t>(state_);
    state_->cold.window = reinterpret_cast<std::uintptr_t>(window_);
    state_->cold.vcpu = reinterpret_cast<std::uintptr_t>(this);
    frontend_->attach(&state_->head, *this);
    frontend_->reset();
    tcg::init_tables(reinterpret_cast<std::uintptr_t>(window_));
    tcg::MemoryCallbacks callbacks{};
    callbacks.load = &GuestCpu::load;
    callbacks.store = &GuestCpu::store;
    callbacks.probe_write = &GuestCpu::probe_write;
    callbacks.find_block = &GuestCpu::find_block;
    engine_ = make_engine(engine, frontend_->description(), frontend_->cold_offset(), callbacks);
}

GuestCpu::~GuestCpu() = default;

GuestCpu &GuestCpu::of(void *state) {
    return *reinterpret_cast<GuestCpu *>(static_cast<CpuState *>(state)->cold.vcpu);
}

void GuestCpu::poke(std::uint64_t physical, std::uint64_t value) { std::memcpy(ram(physical), &value, sizeof value); }

void GuestCpu::make_page_tables() {
    constexpr std::uint64_t kAll = kPresent | kWritable | kUser;
    poke(kPml4, kPdpt | kAll);
    poke(kPdpt, kDirectory | kAll);
    poke(kDirectory, kLowTable | kAll);
    poke(kDirectory + (kCodeAddress >> 21) * 8, kArenaTable | kAll);
    const auto map = [this](std::uint64_t linear, std::uint64_t physical, std::uint64_t rights) {
        const std::uint64_t table = linear < kCodeAddress ? kLowTable : kArenaTable;
        poke(table + ((linear >> 12) & 511) * 8, physical | rights | 0x60); // accessed, dirty
    };
    map(kGdt, kGdt, kPresent | kWritable);
    map(kLdt, kLdt, kPresent | kWritable);
    map(kCodeAddress, kArenaFrames, kAll);
    for (std::uint64_t n = 0; n < kWritableSize / kPage; n++) {
        map(kDataAddress + n * kPage, kArenaFrames + kCodeSize + n * kPage, kAll);
    }
    map(kReadOnlyAddress, kArenaFrames + kCodeSize + kWritableSize, kPresent | kUser);
}

void GuestCpu::set_tlb(bool warm) {
    const auto tags = [this](std::uint32_t offset) { return reinterpret_cast<std::uint64_t *>(window_ + offset); };
    for (std::uint64_t linear = kDataAddress; linear < kReadOnlyAddress + kReadOnlySize; linear += kPage) {
        const unsigned index = tcg::tlb_index(linear);
        tags(tcg::kReadTagOffset)[index] = warm ? linear : tcg::invalid_tag(index);
        tags(tcg::kWriteTagOffset)[index] = warm && linear < kReadOnlyAddress ? linear : tcg::invalid_tag(index);
        tags(tcg::kAddendOffset)[index] = 0; // linear and host addresses are the same
    }
}

Snapshot GuestCpu::get_state(const Snapshot &before, CodeSize size) const {
    const CpuState &s = *state_;
    Snapshot after = before;
    std::copy(s.gpr, s.gpr + 16, after.gpr.begin());
    after.rip = size == CodeSize::k64 ? s.head.pc : s.head.pc & 0xffffffff;
    after.flags = tcg::compute_flags(s.head) | (s.df == 1 ? 0 : kDirectionFlag);
    after.fs_base = s.seg_base[kFs], after.gs_base = s.seg_base[kGs];
    for (unsigned n = 0; n < kSegCount; n++) {
        after.selectors[n] = s.seg[n].selector;
    }
    if (before.fp.used) {
        after.fp = get_float_state(s);
    }
    if (s.head.exception_pending != 0) {
        after.ending = ending_of_vector(s.exception_vector);
        after.fault_address = s.exception_vector == kVectorPF ? s.exception_cr2 : 0;
        // Only INT3, INTO and INT1 may come from user code; other INT n find no gate for it and fault.
        const bool allowed = s.exception_is_software == 0 || s.exception_vector == kVectorBP || s.exception_vector == kVectorOF;
        after.rip += allowed ? s.exception_next_length : 0;
        after.ending = allowed ? after.ending : Ending::kMemory;
    }
    return after;
}

Snapshot GuestCpu::run(const Snapshot &before, CodeSize size, const How &how) {
    set_guest_state(*state_, before, size, {kPml4, kGdt, kLdt});
    set_tlb(how.warm);
    for (unsigned n = 0; n < how.blocks && state_->head.exception_pending == 0 && state_->head.pc != how.end; n++) {
        const std::uint64_t pc = state_->head.pc;
        block_.clear();
        block_.mode = frontend_->mode();
        block_.page_offset = static_cast<std::uint16_t>(pc & (kPage - 1));
        tcg::FetchWindow fetch;
        fetch.page = reinterpret_cast<const std::uint8_t *>(kCodeAddress);
        fetch.page_offset = block_.page_offset;
        TranslateContext context;
        context.features = features_;
        context.guest = &frontend_->description();
        Snapshot failed = before;
        failed.ending = Ending::kOther;
        if ((pc & ~(kPage - 1)) != kCodeAddress ||
            translate_block(block_, fetch, how.insns, context) != tcg::TranslateStatus::kOk) {
            return failed;
        }
        problem_ = tcg::ir::verify(block_, frontend_->description());
        if (!problem_.empty()) {
            return failed;
        }
        state_->head.pc_page = kCodeAddress;
        // Generated code follows a jump to its own start by itself until it is asked to leave; so are
        // repeated string instructions, which therefore must not be.
        state_->head.exit_request = how.repeats ? 0 : 1;
        engine_->run(&state_->head, block_);
    }
    return get_state(before, size);
}

std::string GuestCpu::ir() const {
    const std::string text = tcg::ir::print(block_, frontend_->description());
    return problem_.empty() ? text : "    verifier: " + problem_ + "\n" + text;
}

// ---- memory ----

std::uint8_t *GuestCpu::translate(std::uint64_t linear, bool write) {
    if (!frontend_->canonical(linear)) {
        frontend_->raise_not_canonical(linear);
        return nullptr;
    }
    tcg::Translation found;
    const tcg::Access access = write ? tcg::Access::kWrite : tcg::Access::kRead;
    if (!frontend_->walk(linear, access, frontend_->mode() & kModeWindowMask, true, found) || found.physical >= kRamSize) {
        return nullptr;
    }
    return ram(found.physical);
}

/// Every other slow path takes the guest's state out of the host's x87, as one that reaches a device does.
void GuestCpu::disturb_x87() {
    disturb_ = !disturb_;
    if (disturb_) {
        frontend_->description().x87->release(state_);
    }
}

void GuestCpu::load(void *state, std::uint64_t address, unsigned size, unsigned flags, void *data) {
    GuestCpu &cpu = of(state);
    if ((flags & tcg::kMemAlign16) != 0 && (address & (size - 1)) != 0) {
        cpu.frontend_->raise_alignment(address);
        return;
    }
    cpu.disturb_x87();
    for (unsigned n = 0; n < size; n++) {
        const std::uint8_t *byte =
            cpu.translate(cpu.frontend_->wrap(address + n), (flags & tcg::kMemWriteIntent) != 0);
        if (byte == nullptr) {
            return;
        }
        static_cast<std::uint8_t *>(data)[n] = *byte;
    }
}

void GuestCpu::store(void *state, std::uint64_t address, unsigned size, unsigned flags, const void *data) {
    GuestCpu &cpu = of(state);
    if ((flags & tcg::kMemAlign16) != 0 && (address & (size - 1)) != 0) {
        cpu.frontend_->raise_alignment(address);
        return;
    }
    cpu.disturb_x87();
    std::uint8_t *bytes[32];
    for (unsigned n = 0; n < size; n++) {
        bytes[n] = cpu.translate(cpu.frontend_->wrap(address + n), true);
        if (bytes[n] == nullptr) {
            return;
        }
    }
    for (unsigned n = 0; n < size; n++) {
        *bytes[n] = static_cast<const std::uint8_t *>(data)[n];
    }
}

void *GuestCpu::probe_write(void *state, std::uint64_t address, unsigned size, unsigned) {
    GuestCpu &cpu = of(state);
    cpu.disturb_x87();
    std::uint8_t *first = cpu.translate(address, true);
    if (first == nullptr || cpu.translate(cpu.frontend_->wrap(address + size - 1), true) == nullptr) {
        return nullptr;
    }
    return (address & (kPage - 1)) + size > kPage ? nullptr : first;
}

void *GuestCpu::find_block(void *state, std::uint64_t pc) {
    GuestCpu &cpu = of(state);
    cpu.state_->head.pc = pc;
    return cpu.engine_->exit_next_entry();
}

} // namespace rhea::target::x86::diff
