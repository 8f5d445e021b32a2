#include "tests/diff/guest_cpu.h"

#include "rhea/target/x86/registers.h"
#include "rhea/tcg/window_memory.h"
#include "target/x86/cpu.h"
#include "target/x86/fpu/x87_image.h"
#include "target/x86/translate/translate.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <sched.h>
#include <stdexcept>
#include <sys/mman.h>

namespace rhea::target::x86::diff {
namespace {

constexpr std::uint64_t kRamSize = 1 << 20, kPage = 4096;
constexpr std::uint64_t kPml4 = 0x1000, kPdpt = 0x2000, kDirectory = 0x3000, kArenaTable = 0x4000, kLowTable = 0x5000;
constexpr std::uint64_t kGdt = 0x6000, kLdt = 0x7000, kArenaFrames = 0x10000;
constexpr std::uint64_t kPresent = 1, kWritable = 2, kUser = 4;

// Selectors and attributes as the host kernel has them.
constexpr std::uint16_t kCode64 = 0x33, kCode32 = 0x23, kData = 0x2b, kCode16 = 0x0f, kData16 = 0x17;
constexpr std::uint16_t kCpuNumber = 0x78; // its limit tells the vDSO the number of the CPU
constexpr std::uint64_t kCpuNumberDescriptor = 0x0040f50000000000;
constexpr std::uint64_t kCode64Descriptor = 0x00affb000000ffff, kCode32Descriptor = 0x00cffb000000ffff,
                        kDataDescriptor = 0x00cff3000000ffff;

std::uint8_t *map_window() {
    constexpr std::size_t kSize = tcg::kWindowSize;
    void *space = mmap(nullptr, 2 * kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (space == MAP_FAILED) {
        throw std::bad_alloc();
    }
    const auto start = reinterpret_cast<std::uintptr_t>(space);
    return reinterpret_cast<std::uint8_t *>((start + kSize - 1) & ~(kSize - 1));
}

std::uint64_t small_descriptor(std::uint64_t base, bool code) {
    return 0xffffull | (base & 0xffffff) << 16 | std::uint64_t{code ? 0xfbu : 0xf3u} << 40 | (base >> 24) << 56;
}

Ending ending_of(unsigned vector) {
    switch (vector) {
    case kVectorDE: return Ending::kDivide;
    case kVectorDB: return Ending::kDebug;
    case kVectorBP: return Ending::kBreakpoint;
    case kVectorUD: return Ending::kUndefined;
    case kVectorMF:
    case kVectorXM: return Ending::kFloat;
    default: return Ending::kMemory; // what the host shows as a segmentation violation
    }
}

CpuModel make_model() {
    auto model = parse_cpu_model("max", CpuAvailability::translator());
    if (!model) {
        throw std::runtime_error("no CPU model 'max'");
    }
    return *model;
}

void set_float_state(CpuState &s, const FloatState &f) {
    FxImage image{};
    image.fcw = f.fcw, image.fsw = f.fsw, image.tags = f.tags;
    image.mxcsr = f.mxcsr;
    for (unsigned n = 0; n < 8; n++) {
        image.st[n] = {f.mantissa[n], f.sign_exponent[n], {}};
    }
    image.xmm = f.xmm;
    take_fxsave(s, true, true, image);
    for (unsigned n = 0; n < 16; n++) {
        s.xmm[n].lane[2] = f.ymm_high[n][0], s.xmm[n].lane[3] = f.ymm_high[n][1];
    }
}

FloatState get_float_state(const CpuState &s) {
    FxImage image;
    make_fxsave(s, true, true, image);
    FloatState f;
    f.used = true;
    f.fcw = image.fcw, f.fsw = image.fsw, f.tags = image.tags;
    f.mxcsr = image.mxcsr;
    for (unsigned n = 0; n < 8; n++) {
        f.mantissa[n] = image.st[n].mantissa;
        f.sign_exponent[n] = image.st[n].sign_exponent;
    }
    f.xmm = image.xmm;
    for (unsigned n = 0; n < 16; n++) {
        f.ymm_high[n] = {s.xmm[n].lane[2], s.xmm[n].lane[3]};
    }
    return f;
}

} // namespace

GuestCpu::GuestCpu(const Arena &arena, FeatureSet features, EngineKind engine)
    : ram_("ram", 0, kRamSize), root_(core::MemoryRegion::container("memory", 1ull << 48)),
      ram_region_(core::MemoryRegion::ram("ram", ram_)), io_root_(core::MemoryRegion::container("io", 0x10000)),
      memory_("memory", *root_), io_("io", *io_root_), model_(make_model()), frontend_(make_frontend(model_, 0)),
      features_(features), window_(map_window()),
      state_(new(window_ + tcg::kStateOffset) CpuState()) {
    root_->add(0, *ram_region_);
    // The arena's frames are the same memory as the arena.
    if (mmap(ram(kArenaFrames), kArenaSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, arena.fd(), 0) == MAP_FAILED) {
        throw std::bad_alloc();
    }
    make_page_tables();
    make_descriptors();
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

void GuestCpu::make_descriptors() {
    poke(kGdt + (kCode32 & ~7u), kCode32Descriptor);
    poke(kGdt + (kData & ~7u), kDataDescriptor);
    poke(kGdt + (kCode64 & ~7u), kCode64Descriptor);
    poke(kGdt + kCpuNumber, kCpuNumberDescriptor | static_cast<unsigned>(sched_getcpu()));
    poke(kLdt + (kCode16 & ~7u), small_descriptor(kCodeAddress, true));
    poke(kLdt + (kData16 & ~7u), small_descriptor(kDataAddress, false));
}

void GuestCpu::set_state(const Snapshot &before, CodeSize size) {
    CpuState &s = *state_;
    s.cr0 = kCr0PE | kCr0ET | kCr0NE | kCr0WP | kCr0PG;
    s.cr3 = kPml4;
    s.cr4 = kCr4PAE | kCr4OSFXSR | kCr4OSXMMEXCPT | kCr4FSGSBASE | kCr4OSXSAVE;
    s.xcr0 = 7;
    s.efer = kEferLME | kEferLMA | kEferNXE | kEferSCE;
    s.gdt = {kGdt, 0x7f};
    s.ldt = {0x50, 0x82, 0xfff};
    s.ldt_base = kLdt;
    s.tr = {0, 0x8b, 0};
    s.cpl = 3;
    s.rflags = kFlagIF | 2;
    s.interrupt_shadow = s.halted = 0;
    s.head.exception_pending = 0;
    s.exception_next_length = 0;
    const std::uint16_t code_attr = size == CodeSize::k64 ? 0xa0fb : size == CodeSize::k32 ? 0xc0fb : 0x00fb;
    const std::uint16_t data_attr = size == CodeSize::k16 ? 0x00f3 : 0xc0f3;
    const std::uint32_t limit = size == CodeSize::k16 ? 0xffff : 0xffffffff;
    for (unsigned n = 0; n < kSegCount; n++) {
        const bool null = (before.selectors[n] & ~3u) == 0;
        s.seg[n] = {before.selectors[n], null ? std::uint16_t{0} : n == kCs ? code_attr : data_attr, null ? 0 : limit};
        s.seg_base[n] = size != CodeSize::k16 ? 0 : n == kCs ? kCodeAddress : kDataAddress;
    }
    if (size == CodeSize::k64) {
        s.seg_base[kFs] = before.fs_base;
        s.seg_base[kGs] = before.gs_base;
    }
    std::copy(before.gpr.begin(), before.gpr.end(), s.gpr);
    tcg::set_raw_flags(s.head, before.flags & tcg::kArithFlags);
    s.df = (before.flags & kDirectionFlag) != 0 ? ~0ull : 1;
    s.head.pc = before.rip;
    set_float_state(s, before.fp);
    update_mode(Cpu::of(state_));
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
        after.ending = ending_of(s.exception_vector);
        after.fault_address = s.exception_vector == kVectorPF ? s.exception_cr2 : 0;
        // Only INT3, INTO and INT1 may come from user code; other INT n find no gate for it and fault.
        const bool allowed = s.exception_is_software == 0 || s.exception_vector == kVectorBP || s.exception_vector == kVectorOF;
        after.rip += allowed ? s.exception_next_length : 0;
        after.ending = allowed ? after.ending : Ending::kMemory;
    }
    return after;
}

Snapshot GuestCpu::run(const Snapshot &before, CodeSize size, const How &how) {
    set_state(before, size);
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
