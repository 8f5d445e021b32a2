#include "tests/diff/machine_cpu.h"

#include "rhea/accel/tcg.h"
#include "rhea/target/x86/frontend.h"
#include "rhea/target/x86/registers.h"
#include "target/x86/cpu.h"
#include "target/x86/decode/model_features.h"
#include "tests/diff/guest_state.h"

#include <cstring>
#include <stdexcept>
#include <string_view>
#include <variant>

namespace rhea::target::x86::diff {
namespace {

// Physical pages; all but the tables lie at their own linear addresses too, for ring 0.
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPml4 = 0x1000, kPdpt = 0x2000, kDirectory = 0x3000, kArenaTable = 0x4000, kLowTable = 0x5000;
constexpr std::uint64_t kGdt = 0x6000, kLdt = 0x7000, kIdt = 0x8000, kHandlers = 0x9000, kStackPage = 0xa000,
                        kStackTop = kStackPage + kPage, kTss = 0xc000;
constexpr unsigned kVectors = 32, kHandlerSize = 16;
constexpr std::uint64_t kPresent = 1, kWritable = 2, kUser = 4, kAccessedDirty = 0x60;
constexpr std::uint8_t kHlt = 0xf4;

/// Ring 0's stack when a handler begins (SDM vol. 3, figure 6-9), without the error code.
struct Frame {
    std::uint64_t rip, cs, rflags, rsp, ss;
};

} // namespace

/// Hands on everything, and remembers where the state is.
class MachineCpu::Spy final : public tcg::GuestFrontend {
public:
    Spy(std::unique_ptr<tcg::GuestFrontend> inner, CpuState *&state) : inner_(std::move(inner)), state_(state) {}

    void attach(tcg::VcpuHead *state, tcg::VcpuHost &host) override {
        state_ = reinterpret_cast<CpuState *>(state);
        inner_->attach(state, host);
    }
    const tcg::GuestDescription &description() const override { return inner_->description(); }
    std::size_t state_size() const override { return inner_->state_size(); }
    std::uint32_t cold_offset() const override { return inner_->cold_offset(); }
    std::uint32_t mode() const override { return inner_->mode(); }
    tcg::TranslateStatus translate(tcg::ir::Block &block, const tcg::FetchWindow &fetch, unsigned max_insns) override {
        return inner_->translate(block, fetch, max_insns);
    }
    bool walk(std::uint64_t linear, tcg::Access access, unsigned window_mode, bool raise, tcg::Translation &out) override {
        return inner_->walk(linear, access, window_mode, raise, out);
    }
    void raise_not_canonical(std::uint64_t linear) override { inner_->raise_not_canonical(linear); }
    void raise_alignment(std::uint64_t linear) override { inner_->raise_alignment(linear); }
    bool canonical(std::uint64_t linear) const override { return inner_->canonical(linear); }
    std::uint64_t wrap(std::uint64_t linear) const override { return inner_->wrap(linear); }
    bool watched_page(std::uint64_t linear) const override { return inner_->watched_page(linear); }
    bool access_watched(std::uint64_t linear, unsigned size, bool write) override {
        return inner_->access_watched(linear, size, write);
    }
    void begin_single() override { inner_->begin_single(); }
    void end_single() override { inner_->end_single(); }
    Outcome deliver_exception() override { return inner_->deliver_exception(); }
    Outcome check_requests() override { return inner_->check_requests(); }
    bool has_work() const override { return inner_->has_work(); }
    void reset() override { inner_->reset(); }
    core::TscPort *tsc_port() override { return inner_->tsc_port(); }
    void set_boot_state(const core::X86BootState &state) override { inner_->set_boot_state(state); }
    void serialize(core::Archive &archive) override { inner_->serialize(archive); }
    std::string describe_registers() const override { return inner_->describe_registers(); }
    std::string disassemble(std::uint64_t pc, const std::uint8_t *bytes, std::size_t length) const override {
        return inner_->disassemble(pc, bytes, length);
    }

private:
    std::unique_ptr<tcg::GuestFrontend> inner_;
    CpuState *&state_;
};

FeatureSet MachineCpu::features() { return decoder_features(translator_model()); }

MachineCpu::MachineCpu(bool interpret)
    : ram_("ram", 0, kRamSize), root_(core::MemoryRegion::container("memory", 1ull << 48)),
      ram_region_(core::MemoryRegion::ram("ram", ram_)), io_root_(core::MemoryRegion::container("io", 0x10000)),
      memory_("memory", *root_), io_("io", *io_root_) {
    root_->add(0, *ram_region_);
    make_page_tables();
    make_handlers();
    write_descriptors(ram_.host() + kGdt, ram_.host() + kLdt);
    accel::TcgOptions options;
    options.interpret = interpret;
    const CpuModel model = translator_model();
    accelerator_ = accel::make_tcg_accelerator(options, [this, model](unsigned index) {
        return std::make_unique<Spy>(make_frontend(model, index), state_);
    });
    auto attached = accelerator_->attach(memory_, io_);
    auto vcpu = accelerator_->create_vcpu(0, clocks_, requests_);
    if (!attached || !vcpu) {
        throw std::runtime_error("no translated CPU: " + (attached ? vcpu.error() : attached.error()).message());
    }
    vcpu_ = std::move(*vcpu);
    vcpu_->reset();
}

MachineCpu::~MachineCpu() = default;

void MachineCpu::poke(std::uint64_t physical, std::uint64_t value) {
    std::memcpy(ram_.host() + physical, &value, sizeof value);
}

void MachineCpu::make_page_tables() {
    constexpr std::uint64_t kAll = kPresent | kWritable | kUser;
    poke(kPml4, kPdpt | kAll);
    poke(kPdpt, kDirectory | kAll);
    poke(kDirectory, kLowTable | kAll);
    poke(kDirectory + (kCodeAddress >> 21) * 8, kArenaTable | kAll);
    const auto map = [this](std::uint64_t linear, std::uint64_t physical, std::uint64_t rights) {
        const std::uint64_t table = linear < kCodeAddress ? kLowTable : kArenaTable;
        poke(table + ((linear >> 12) & 511) * 8, physical | rights | kAccessedDirty);
    };
    for (const std::uint64_t page : {kGdt, kLdt, kIdt, kHandlers, kStackPage, kTss}) {
        map(page, page, kPresent | kWritable);
    }
    map(kCodeAddress, kFrames, kAll);
    for (std::uint64_t n = 0; n < kWritableSize; n += kPage) {
        map(kDataAddress + n, kFrames + kCodeSize + n, kAll);
    }
    map(kReadOnlyAddress, kFrames + kCodeSize + kWritableSize, kPresent | kUser);
    // As the arena has them.
    std::memcpy(data() + kWritableSize, reinterpret_cast<const std::uint8_t *>(kReadOnlyAddress), kReadOnlySize);
}

void MachineCpu::make_handlers() {
    for (unsigned vector = 0; vector < kVectors; vector++) {
        const std::uint64_t handler = kHandlers + vector * kHandlerSize;
        const bool user = vector == kVectorBP || vector == kVectorOF;
        poke(kIdt + vector * 16, (handler & 0xffff) | std::uint64_t{kKernelCode} << 16 | (user ? 0xeeull : 0x8eull) << 40 |
                                     (handler >> 16) << 48);
        poke(kIdt + vector * 16 + 8, 0);
        ram_.host()[handler] = kHlt;
    }
    poke(kTss + 4, kStackTop); // RSP0
}

void MachineCpu::write_code(std::span<const std::uint8_t> code) {
    memory_.write(kFrames + kCodeOffset, code.data(), code.size());
}

Snapshot MachineCpu::run(const Snapshot &before, CodeSize size, const How &how) {
    CpuState &s = *state_;
    s.dr[0] = how.watch.address;
    s.dr[7] = kDr7Fixed | how.watch.dr7();
    set_guest_state(s, before, size, {kPml4, kGdt, kLdt});
    s.idt = {kIdt, kVectors * 16 - 1};
    s.tr = {0x40, 0x8b, 0x67};
    s.tr_base = kTss;
    if (how.cold) {
        Cpu::of(state_).flush_tlb(false);
    }
    for (std::uint32_t &heat : s.cold.loop_heat) {
        heat = 0u - tcg::VcpuCold::kLoopHeat * (how.heat % 4096);
    }
    const core::VcpuExit exit = vcpu_->run();
    if (const auto *error = std::get_if<core::vcpu_exit::InternalError>(&exit)) {
        throw std::runtime_error(error->text);
    }
    const std::uint64_t vector = (s.head.pc - kHandlers) / kHandlerSize;
    if (!std::holds_alternative<core::vcpu_exit::Halted>(exit) || vector >= kVectors) {
        throw std::runtime_error("the translated CPU did not halt in a handler:\n" + vcpu_->describe_registers());
    }
    return collect(before);
}

Snapshot MachineCpu::collect(const Snapshot &before) {
    const CpuState &s = *state_;
    const auto vector = static_cast<unsigned>((s.head.pc - kHandlers) / kHandlerSize);
    Frame frame;
    std::memcpy(&frame, ram_.host() + kStackTop - sizeof frame, sizeof frame);
    const bool has_error = s.gpr[kRsp] == kStackTop - sizeof frame - 8;
    error_code_ = 0;
    if (has_error) {
        std::memcpy(&error_code_, ram_.host() + s.gpr[kRsp], sizeof error_code_);
    }
    Snapshot after = before;
    std::copy(s.gpr, s.gpr + 16, after.gpr.begin());
    after.gpr[kRsp] = frame.rsp;
    after.rip = frame.rip;
    if (before.selectors[kCs] != kUserCode64) {
        after.rip = (frame.rip + (before.selectors[kCs] == kUserCode16 ? kCodeAddress : 0)) & 0xffffffff;
    }
    after.flags = static_cast<std::uint32_t>(frame.rflags) & kComparedFlags;
    after.fs_base = s.seg_base[kFs], after.gs_base = s.seg_base[kGs];
    for (unsigned n = 0; n < kSegCount; n++) {
        after.selectors[n] = s.seg[n].selector;
    }
    after.selectors[kCs] = static_cast<std::uint16_t>(frame.cs);
    after.selectors[kSs] = static_cast<std::uint16_t>(frame.ss);
    if (before.fp.used) {
        after.fp = get_float_state(s);
    }
    after.ending = ending_of_vector(vector);
    after.fault_address = vector == kVectorPF ? s.cr2 : 0;
    if (after.ending == Ending::kBreakpoint) {
        after.ending = Ending::kDone;
        after.rip--;
    }
    return after;
}

std::uint64_t MachineCpu::blocks() const {
    constexpr std::string_view kName = "blocks translated";
    const std::string text = statistics();
    const std::size_t at = text.find(kName);
    return at == std::string::npos ? 0 : std::stoull(text.substr(at + kName.size()));
}

std::string MachineCpu::statistics() const { return accelerator_->describe("jit"); }

} // namespace rhea::target::x86::diff
