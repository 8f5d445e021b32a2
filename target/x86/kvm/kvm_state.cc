// CpuState to KVM and back. Order of writing: CPUID, special registers, FPU, XCRs, MSRs, debug registers, general registers, MP state, events
// (docs/architecture.md, "KVM contract"); KVM_SET_MSRS stops at the first MSR that it refuses, so we go on behind that one.
#include "rhea/target/x86/kvm_state.h"

#include "target/x86/cpu.h"
#include "target/x86/fpu/x87_image.h"
#include "target/x86/kvm/null_host.h"

#include "rhea/target/x86/frontend.h"
#include "rhea/target/x86/state_io.h"
#include "rhea/util/log.h"

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace rhea::target::x86 {
namespace {

/// MSRs that travel, and where they are kept.
struct MsrField {
    std::uint32_t number;
    std::uint64_t CpuState::*field;
};
constexpr MsrField kMsrs[] = {
    {0x174, &CpuState::sysenter_cs}, {0x175, &CpuState::sysenter_esp}, {0x176, &CpuState::sysenter_eip},
    {0x1a0, &CpuState::misc_enable}, {0x277, &CpuState::pat},          {0x2ff, &CpuState::mtrr_def_type},
    {0xc0000081, &CpuState::star},   {0xc0000082, &CpuState::lstar},   {0xc0000083, &CpuState::cstar},
    {0xc0000084, &CpuState::sfmask}, {0xc0000102, &CpuState::kernel_gs_base}, {0xc0000103, &CpuState::tsc_aux},
};
constexpr std::size_t kMsrCount = sizeof kMsrs / sizeof kMsrs[0];

/// A KVM structure of a count, a padding word, and a flexible array of Entry. Some versions of the kernel's header give these structures
/// another size in C++ than in C (an empty member in front of the array), and with it wrong ioctl numbers: so neither is taken from there.
constexpr std::size_t kFlexibleHeader = 8;
constexpr unsigned long kGetSupportedCpuid = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, kFlexibleHeader),
                        kGetMsrs = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x88, kFlexibleHeader),
                        kSetMsrs = _IOC(_IOC_WRITE, KVMIO, 0x89, kFlexibleHeader),
                        kSetCpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, kFlexibleHeader);
template <typename Header, typename Entry, std::size_t kCount> class FlexibleBuffer {
public:
    Header &header() { return *reinterpret_cast<Header *>(bytes_); }
    Entry &entry(std::size_t i) { return reinterpret_cast<Entry *>(bytes_ + kFlexibleHeader)[i]; }

private:
    alignas(16) std::uint8_t bytes_[kFlexibleHeader + 8 + kCount * sizeof(Entry)] = {};
};
using MsrBuffer = FlexibleBuffer<kvm_msrs, kvm_msr_entry, kMsrCount>;
/// The same with one MSR.
struct OneMsr {
    std::uint32_t count = 1, padding = 0;
    kvm_msr_entry entry{};
};
constexpr std::uint32_t kMsrTsc = 0x10;

/// The standard form of the XSAVE area (SDM vol. 1, 13.4): XSTATE_BV behind the legacy region, the upper halves of YMM behind the header.
struct alignas(64) XsaveArea {
    std::uint8_t bytes[4096] = {};
    std::uint64_t present() const {
        std::uint64_t bits;
        std::memcpy(&bits, bytes + 512, sizeof bits);
        return bits;
    }
    void set_present(std::uint64_t bit) {
        const std::uint64_t bits = present() | bit;
        std::memcpy(bytes + 512, &bits, sizeof bits);
    }
};
constexpr std::size_t kYmmOffset = 576;
constexpr std::uint64_t kXsaveAvx = 4;
constexpr unsigned long kGetXsave = _IOC(_IOC_READ, KVMIO, 0xa4, 4096), kSetXsave = _IOC(_IOC_WRITE, KVMIO, 0xa5, 4096);
constexpr std::uint8_t kFirstInterruptVector = 32; ///< below: exceptions
constexpr std::size_t kCpuidEntries = 200;
using CpuidBuffer = FlexibleBuffer<kvm_cpuid2, kvm_cpuid_entry2, kCpuidEntries>;

kvm_segment to_kvm(const SegmentCache &cache, std::uint64_t base) {
    kvm_segment out{};
    out.base = base;
    out.limit = cache.limit;
    out.selector = cache.selector;
    out.type = cache.attr & 0xf;
    out.s = (cache.attr >> 4) & 1;
    out.dpl = (cache.attr >> 5) & 3;
    out.present = (cache.attr >> 7) & 1;
    out.avl = (cache.attr >> 12) & 1;
    out.l = (cache.attr >> 13) & 1;
    out.db = (cache.attr >> 14) & 1;
    out.g = (cache.attr >> 15) & 1;
    out.unusable = !out.present;
    return out;
}

SegmentCache from_kvm(const kvm_segment &in) {
    SegmentCache out{};
    out.selector = in.selector;
    out.limit = in.limit;
    const unsigned present = in.unusable ? 0u : in.present;
    out.attr = static_cast<std::uint16_t>(in.type | in.s << 4 | in.dpl << 5 | present << 7 | in.avl << 12 | in.l << 13 |
                                          in.db << 14 | in.g << 15);
    return out;
}

util::Result<void> call(int fd, unsigned long request, void *argument, const char *name) {
    if (::ioctl(fd, request, argument) < 0)
        return util::fail("KVM refused the CPU state: {}: {}", name, std::strerror(errno));
    return {};
}

/// Frequency leaves, where the model shows them: the TSC is the host's, and the "crystal" KVM's local APIC timer at 1 GHz.
void tell_frequency(std::uint32_t leaf, std::uint32_t tsc_khz, CpuidResult &result) {
    constexpr std::uint32_t kCrystalHz = 1'000'000'000;
    if (leaf == 0x15 && result.ecx != 0)
        result = {kCrystalHz / 1000, tsc_khz, kCrystalHz, 0}; // TSC = crystal * EBX / EAX
    else if (leaf == 0x40000010 && result.eax != 0)
        result = {tsc_khz, kCrystalHz / 1000, 0, 0};
    else if (leaf == 0x16 && result.eax != 0)
        result.eax = result.ebx = tsc_khz / 1000;
}

class KvmState final : public core::KvmArchState {
public:
    KvmState(const CpuModel &model, unsigned index, bool in_kernel_apic, const core::Clocks &clocks)
        : model_(model), index_(index), in_kernel_apic_(in_kernel_apic), host_(clocks), frontend_(make_frontend(model, index)) {
        memory_ = static_cast<CpuState *>(std::aligned_alloc(64, (sizeof(CpuState) + 63) & ~std::size_t{63}));
        std::memset(static_cast<void *>(memory_), 0, sizeof(CpuState));
        memory_->head.canonical_state = reinterpret_cast<std::uint64_t>(memory_);
        frontend_->attach(&memory_->head, host_);
        frontend_->reset();
    }
    ~KvmState() override {
        frontend_.reset();
        std::free(memory_);
    }

    util::Result<void> setup(int system_fd, int vcpu_fd) override;
    util::Result<void> put(int vcpu_fd) override;
    util::Result<void> get(int vcpu_fd) override;
    void reset() override {
        frontend_->reset();
        put_tsc_ = true;
    }
    void set_boot_state(const core::X86BootState &state) override { frontend_->set_boot_state(state); }
    void serialize(core::Archive &archive) override {
        frontend_->serialize(archive);
        put_tsc_ |= archive.restoring();
    }
    bool halted() const override { return memory_->halted; }
    void set_halted(bool halted) override { memory_->halted = halted; }
    void take_startup(std::uint32_t requests, core::LocalApicPort *apic) override {
        host_.set_requests(requests, apic);
        frontend_->check_requests();
        host_.set_requests(0, nullptr);
    }
    bool waits_for_startup() const override { return memory_->wait_for_sipi; }
    std::string describe_registers() const override { return describe_state(*memory_); }
    std::uint64_t pc() const override { return memory_->head.pc; }

private:
    util::Result<void> put_special(int fd);
    util::Result<void> put_fpu(int fd);
    void put_msrs(int fd);
    util::Result<void> put_general(int fd);
    util::Result<void> put_extended(int fd);
    void get_extended(int fd);
    void put_tsc(int fd);
    void get_tsc(int fd);
    util::Result<void> put_events(int fd);
    void get_events(int fd);
    bool code64() const { return (memory_->efer & kEferLMA) && (memory_->seg[kCs].attr & kAttrL); }

    const CpuModel model_;
    const unsigned index_;
    const bool in_kernel_apic_;
    bool put_tsc_ = true; ///< after reset and restore; at other times KVM's TSC goes its way
    NullHost host_;
    std::unique_ptr<tcg::GuestFrontend> frontend_;
    CpuState *memory_;
};

util::Result<void> KvmState::setup(int, int vcpu_fd) {
    CpuidBuffer table;
    CpuidContext context;
    context.apic_id = model_.topology.apic_id(index_);
    context.hypervisor = std::string_view("KVMKVMKVM\0\0\0", 12);
    const int tsc_khz = ::ioctl(vcpu_fd, KVM_GET_TSC_KHZ, 0);
    const auto add = [&](std::uint32_t leaf, std::uint32_t subleaf, bool indexed) {
        if (table.header().nent == kCpuidEntries)
            return;
        CpuidResult r = cpuid(model_, context, leaf, subleaf);
        if (tsc_khz > 0)
            tell_frequency(leaf, static_cast<std::uint32_t>(tsc_khz), r);
        kvm_cpuid_entry2 &entry = table.entry(table.header().nent++);
        entry.function = leaf;
        entry.index = subleaf;
        entry.flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0u;
        entry.eax = r.eax;
        entry.ebx = r.ebx;
        entry.ecx = r.ecx;
        entry.edx = r.edx;
    };
    for (std::uint32_t leaf = 0; leaf <= model_.level; ++leaf) {
        const bool indexed = leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x1f;
        for (std::uint32_t subleaf = 0; subleaf < (indexed ? 4u : 1u); ++subleaf)
            add(leaf, subleaf, indexed);
    }
    add(0x40000000, 0, false);
    for (std::uint32_t leaf = 0x80000000; leaf <= model_.extended_level; ++leaf) {
        const bool indexed = leaf == 0x8000001d;
        for (std::uint32_t subleaf = 0; subleaf < (indexed ? 4u : 1u); ++subleaf)
            add(leaf, subleaf, indexed);
    }
    return call(vcpu_fd, kSetCpuid2, &table, "KVM_SET_CPUID2");
}

util::Result<void> KvmState::put_special(int fd) {
    CpuState &s = *memory_;
    kvm_sregs sregs{};
    if (auto done = call(fd, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS"); !done)
        return done;
    kvm_segment *segments[] = {&sregs.es, &sregs.cs, &sregs.ss, &sregs.ds, &sregs.fs, &sregs.gs};
    for (unsigned i = 0; i < kSegCount; ++i)
        *segments[i] = to_kvm(s.seg[i], s.seg_base[i]);
    sregs.tr = to_kvm(s.tr, s.tr_base);
    sregs.ldt = to_kvm(s.ldt, s.ldt_base);
    sregs.gdt = {.base = s.gdt.base, .limit = static_cast<std::uint16_t>(s.gdt.limit), .padding = {}};
    sregs.idt = {.base = s.idt.base, .limit = static_cast<std::uint16_t>(s.idt.limit), .padding = {}};
    sregs.cr0 = s.cr0;
    sregs.cr2 = s.cr2;
    sregs.cr3 = s.cr3;
    sregs.cr4 = s.cr4;
    sregs.cr8 = s.cr8;
    sregs.efer = s.efer;
    std::memset(sregs.interrupt_bitmap, 0, sizeof sregs.interrupt_bitmap);
    return call(fd, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
}

util::Result<void> KvmState::put_fpu(int fd) {
    CpuState &s = *memory_;
    kvm_fpu fpu{};
    for (unsigned i = 0; i < 8; ++i) {
        const X87Register &reg = s.fpr[(s.fpu_top + i) & 7];
        std::memcpy(fpu.fpr[i], &reg.mantissa, 8);
        std::memcpy(fpu.fpr[i] + 8, &reg.sign_exponent, 2);
    }
    fpu.fcw = s.fcw;
    fpu.fsw = static_cast<std::uint16_t>((s.fsw & ~0x3800) | (s.fpu_top & 7) << 11);
    fpu.ftwx = static_cast<std::uint8_t>(~s.ftw); // FXSAVE's abridged tag word: 1 = not empty
    fpu.last_opcode = fpu_opcode(s);
    fpu.last_ip = fpu_ip(s);
    fpu.last_dp = s.fdp;
    for (unsigned i = 0; i < 16; ++i)
        std::memcpy(fpu.xmm[i], s.xmm[i].lane, 16);
    fpu.mxcsr = s.head.guest_mxcsr;
    return call(fd, KVM_SET_FPU, &fpu, "KVM_SET_FPU");
}

void KvmState::put_msrs(int fd) {
    MsrBuffer buffer;
    std::size_t done = 0;
    while (done < kMsrCount) {
        buffer.header().nmsrs = static_cast<std::uint32_t>(kMsrCount - done);
        for (std::size_t i = done; i < kMsrCount; ++i) {
            buffer.entry(i - done).index = kMsrs[i].number;
            buffer.entry(i - done).data = memory_->*kMsrs[i].field;
        }
        const int taken = ::ioctl(fd, kSetMsrs, &buffer);
        done += taken > 0 ? static_cast<std::size_t>(taken) : 0;
        if (done < kMsrCount) {
            util::log_write(util::kLogUnimp, "kvm: MSR {:#x} is not accepted by this KVM\n", kMsrs[done].number);
            ++done;
        }
    }
}

util::Result<void> KvmState::put_general(int fd) {
    CpuState &s = *memory_;
    kvm_regs regs{};
    regs.rax = s.gpr[kRax], regs.rbx = s.gpr[kRbx], regs.rcx = s.gpr[kRcx], regs.rdx = s.gpr[kRdx];
    regs.rsi = s.gpr[kRsi], regs.rdi = s.gpr[kRdi], regs.rsp = s.gpr[kRsp], regs.rbp = s.gpr[kRbp];
    regs.r8 = s.gpr[kR8], regs.r9 = s.gpr[kR9], regs.r10 = s.gpr[kR10], regs.r11 = s.gpr[kR11];
    regs.r12 = s.gpr[kR12], regs.r13 = s.gpr[kR13], regs.r14 = s.gpr[kR14], regs.r15 = s.gpr[kR15];
    regs.rip = code64() ? s.head.pc : (s.head.pc - s.seg_base[kCs]) & 0xffffffff;
    regs.rflags = read_rflags(s);
    return call(fd, KVM_SET_REGS, &regs, "KVM_SET_REGS");
}

util::Result<void> KvmState::put(int fd) {
    if (auto done = put_special(fd); !done)
        return done;
    if (auto done = put_fpu(fd); !done)
        return done;
    if (auto done = put_extended(fd); !done)
        return done;
    put_msrs(fd);
    if (put_tsc_)
        put_tsc(fd);
    put_tsc_ = false;
    kvm_debugregs debug{};
    for (unsigned i = 0; i < 4; ++i)
        debug.db[i] = memory_->dr[i];
    debug.dr6 = memory_->dr[6];
    debug.dr7 = memory_->dr[7];
    if (auto done = call(fd, KVM_SET_DEBUGREGS, &debug, "KVM_SET_DEBUGREGS"); !done)
        return done;
    if (auto done = put_general(fd); !done)
        return done;
    if (in_kernel_apic_) {
        kvm_mp_state mp{};
        mp.mp_state = memory_->wait_for_sipi ? KVM_MP_STATE_UNINITIALIZED : memory_->halted ? KVM_MP_STATE_HALTED : KVM_MP_STATE_RUNNABLE;
        if (auto done = call(fd, KVM_SET_MP_STATE, &mp, "KVM_SET_MP_STATE"); !done)
            return done;
    }
    return put_events(fd);
}

/// XCR0 and the upper halves of the YMM registers, for models that have XSAVE. The rest of the XSAVE area is what KVM_SET_FPU has set.
util::Result<void> KvmState::put_extended(int fd) {
    if (!model_.has(CpuFeature::k_xsave))
        return {};
    kvm_xcrs xcrs{};
    xcrs.nr_xcrs = 1;
    xcrs.xcrs[0].value = memory_->xcr0;
    if (auto done = call(fd, KVM_SET_XCRS, &xcrs, "KVM_SET_XCRS"); !done || !model_.has(CpuFeature::k_avx))
        return done;
    XsaveArea area;
    if (auto done = call(fd, kGetXsave, &area, "KVM_GET_XSAVE"); !done)
        return done;
    for (unsigned i = 0; i < 16; ++i)
        std::memcpy(area.bytes + kYmmOffset + 16 * i, &memory_->xmm[i].lane[2], 16);
    area.set_present(kXsaveAvx);
    return call(fd, kSetXsave, &area, "KVM_SET_XSAVE");
}

void KvmState::get_extended(int fd) {
    if (!model_.has(CpuFeature::k_xsave))
        return;
    kvm_xcrs xcrs{};
    if (::ioctl(fd, KVM_GET_XCRS, &xcrs) == 0 && xcrs.nr_xcrs >= 1)
        memory_->xcr0 = xcrs.xcrs[0].value;
    XsaveArea area;
    if (!model_.has(CpuFeature::k_avx) || ::ioctl(fd, kGetXsave, &area) != 0)
        return;
    for (unsigned i = 0; i < 16; ++i) {
        if (area.present() & kXsaveAvx)
            std::memcpy(&memory_->xmm[i].lane[2], area.bytes + kYmmOffset + 16 * i, 16);
        else
            std::memset(&memory_->xmm[i].lane[2], 0, 16); // initial state
    }
}

/// The TSC is kept relative to the machine's virtual clock, as the translator keeps it.
void KvmState::put_tsc(int fd) {
    OneMsr tsc;
    tsc.entry.index = kMsrTsc;
    tsc.entry.data = static_cast<std::uint64_t>(host_.guest_ns()) + memory_->tsc_offset;
    if (::ioctl(fd, kSetMsrs, &tsc) != 1)
        util::log_write(util::kLogUnimp, "kvm: this KVM does not let the TSC be set\n");
}

void KvmState::get_tsc(int fd) {
    OneMsr tsc;
    tsc.entry.index = kMsrTsc;
    if (::ioctl(fd, kGetMsrs, &tsc) == 1)
        memory_->tsc_offset = tsc.entry.data - static_cast<std::uint64_t>(host_.guest_ns());
}

/// An interrupt that the controller was already told of, but that KVM has not delivered, is a pending event, as an exception is.
util::Result<void> KvmState::put_events(int fd) {
    kvm_vcpu_events events{};
    events.interrupt.shadow = memory_->interrupt_shadow ? KVM_X86_SHADOW_INT_STI : 0;
    events.nmi.masked = memory_->nmi_blocked;
    events.flags = KVM_VCPUEVENT_VALID_SHADOW;
    if (memory_->head.exception_pending) {
        const auto vector = static_cast<std::uint8_t>(memory_->exception_vector);
        if (vector < kFirstInterruptVector && !memory_->exception_is_software) {
            events.exception.injected = 1;
            events.exception.nr = vector;
            events.exception.has_error_code = memory_->exception_has_error_code != 0;
            events.exception.error_code = memory_->exception_error_code;
        } else {
            events.interrupt.injected = 1;
            events.interrupt.nr = vector;
            events.interrupt.soft = memory_->exception_is_software != 0;
        }
        memory_->head.exception_pending = 0;
    }
    return call(fd, KVM_SET_VCPU_EVENTS, &events, "KVM_SET_VCPU_EVENTS");
}

void KvmState::get_events(int fd) {
    CpuState &s = *memory_;
    s.head.exception_pending = 0;
    kvm_vcpu_events events{};
    if (::ioctl(fd, KVM_GET_VCPU_EVENTS, &events) != 0)
        return;
    s.interrupt_shadow = events.interrupt.shadow != 0;
    s.nmi_blocked = events.nmi.masked;
    // Exceptions need nothing: their instruction has not been executed, and raises them again. So has a software interrupt's.
    if (events.interrupt.injected && !events.interrupt.soft) {
        s.head.exception_pending = 1;
        s.exception_vector = events.interrupt.nr;
        s.exception_has_error_code = 0;
        s.exception_error_code = 0;
        s.exception_is_software = 0;
        s.exception_next_length = 0;
    }
}

util::Result<void> KvmState::get(int fd) {
    CpuState &s = *memory_;
    kvm_sregs sregs{};
    kvm_regs regs{};
    kvm_fpu fpu{};
    for (const auto &[request, argument, name] : {std::tuple<unsigned long, void *, const char *>{KVM_GET_SREGS, &sregs, "KVM_GET_SREGS"},
                                                  {KVM_GET_REGS, &regs, "KVM_GET_REGS"},
                                                  {KVM_GET_FPU, &fpu, "KVM_GET_FPU"}}) {
        if (auto done = call(fd, request, argument, name); !done)
            return done;
    }
    const kvm_segment *segments[] = {&sregs.es, &sregs.cs, &sregs.ss, &sregs.ds, &sregs.fs, &sregs.gs};
    for (unsigned i = 0; i < kSegCount; ++i) {
        s.seg[i] = from_kvm(*segments[i]);
        s.seg_base[i] = segments[i]->base;
    }
    s.tr = from_kvm(sregs.tr), s.tr_base = sregs.tr.base;
    s.ldt = from_kvm(sregs.ldt), s.ldt_base = sregs.ldt.base;
    s.gdt = {sregs.gdt.base, sregs.gdt.limit};
    s.idt = {sregs.idt.base, sregs.idt.limit};
    s.cr0 = sregs.cr0, s.cr2 = sregs.cr2, s.cr3 = sregs.cr3, s.cr4 = sregs.cr4, s.cr8 = sregs.cr8, s.efer = sregs.efer;
    s.gpr[kRax] = regs.rax, s.gpr[kRbx] = regs.rbx, s.gpr[kRcx] = regs.rcx, s.gpr[kRdx] = regs.rdx;
    s.gpr[kRsi] = regs.rsi, s.gpr[kRdi] = regs.rdi, s.gpr[kRsp] = regs.rsp, s.gpr[kRbp] = regs.rbp;
    s.gpr[kR8] = regs.r8, s.gpr[kR9] = regs.r9, s.gpr[kR10] = regs.r10, s.gpr[kR11] = regs.r11;
    s.gpr[kR12] = regs.r12, s.gpr[kR13] = regs.r13, s.gpr[kR14] = regs.r14, s.gpr[kR15] = regs.r15;
    write_rflags(s, regs.rflags, kAllFlags);
    s.cpl = static_cast<std::uint8_t>((s.cr0 & kCr0PE) ? sregs.ss.dpl : 0);
    s.head.pc = code64() ? regs.rip : (regs.rip + s.seg_base[kCs]) & 0xffffffff;
    s.fpu_top = (fpu.fsw >> 11) & 7;
    for (unsigned i = 0; i < 8; ++i) {
        X87Register &reg = s.fpr[(s.fpu_top + i) & 7];
        std::memcpy(&reg.mantissa, fpu.fpr[i], 8);
        std::memcpy(&reg.sign_exponent, fpu.fpr[i] + 8, 2);
    }
    s.fcw = fpu.fcw;
    s.fsw = fpu.fsw & static_cast<std::uint16_t>(~0x3800);
    s.ftw = static_cast<std::uint8_t>(~fpu.ftwx);
    set_fpu_place(s, fpu.last_ip, fpu.last_opcode);
    s.fdp = fpu.last_dp;
    for (unsigned i = 0; i < 16; ++i)
        std::memcpy(s.xmm[i].lane, fpu.xmm[i], 16);
    s.head.guest_mxcsr = fpu.mxcsr;

    MsrBuffer buffer;
    std::size_t at = 0;
    while (at < kMsrCount) {
        buffer.header().nmsrs = static_cast<std::uint32_t>(kMsrCount - at);
        for (std::size_t i = at; i < kMsrCount; ++i)
            buffer.entry(i - at).index = kMsrs[i].number;
        const int taken = ::ioctl(fd, kGetMsrs, &buffer);
        for (int i = 0; i < taken; ++i)
            s.*kMsrs[at + static_cast<std::size_t>(i)].field = buffer.entry(static_cast<std::size_t>(i)).data;
        at += taken > 0 ? static_cast<std::size_t>(taken) : 0;
        if (at < kMsrCount)
            ++at;
    }
    kvm_debugregs debug{};
    if (auto done = call(fd, KVM_GET_DEBUGREGS, &debug, "KVM_GET_DEBUGREGS"); !done)
        return done;
    for (unsigned i = 0; i < 4; ++i)
        s.dr[i] = debug.db[i];
    s.dr[6] = debug.dr6;
    s.dr[7] = debug.dr7;
    if (in_kernel_apic_) {
        kvm_mp_state mp{};
        if (::ioctl(fd, KVM_GET_MP_STATE, &mp) == 0) {
            s.halted = mp.mp_state == KVM_MP_STATE_HALTED;
            s.wait_for_sipi = mp.mp_state == KVM_MP_STATE_UNINITIALIZED || mp.mp_state == KVM_MP_STATE_INIT_RECEIVED;
        }
    }
    get_extended(fd);
    get_events(fd);
    get_tsc(fd);
    return {};
}

} // namespace

util::Result<CpuAvailability> kvm_availability(const std::string &device, bool in_kernel_apic) {
    const int fd = ::open(device.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        const int error = errno;
        const char *way_out = error == ENOENT   ? "load the module kvm_intel or kvm_amd, switch virtualization on in the firmware, or use -accel tcg"
                              : error == EACCES ? "add yourself to the group that owns it (kvm), or use -accel tcg"
                                                : "use -accel tcg";
        return util::fail("could not access {}: {}; {}", device, std::strerror(error), way_out);
    }
    CpuidBuffer table;
    table.header().nent = kCpuidEntries;
    const int result = ::ioctl(fd, kGetSupportedCpuid, &table);
    const int error = errno;
    constexpr std::uint32_t kX2apic = 1u << 21, kTscDeadline = 1u << 24, kHypervisor = 1u << 31;
    std::uint32_t ours = kHypervisor;
    if (in_kernel_apic) // KVM_GET_SUPPORTED_CPUID does not tell of the deadline timer (KVM API, 4.46)
        ours |= kX2apic | (::ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0 ? kTscDeadline : 0);
    ::close(fd);
    if (result < 0)
        return util::fail("{} does not answer as KVM does (KVM_GET_SUPPORTED_CPUID: {}); use -accel tcg", device, std::strerror(error));
    CpuAvailability available;
    available.accelerator = "KVM";
    const auto set = [&](CpuidWord word, std::uint32_t bits) { available.features[static_cast<std::size_t>(word)] |= bits; };
    for (std::uint32_t i = 0; i < table.header().nent; ++i) {
        const kvm_cpuid_entry2 &entry = table.entry(i);
        switch (entry.function) {
        case 1:
            set(CpuidWord::k1Edx, entry.edx);
            set(CpuidWord::k1Ecx, (entry.ecx & ~(kX2apic | kTscDeadline)) | ours);
            break;
        case 6:
            set(CpuidWord::k6Eax, entry.eax);
            break;
        case 7:
            if (entry.index == 0) {
                set(CpuidWord::k7Ebx, entry.ebx);
                set(CpuidWord::k7Ecx, entry.ecx);
                set(CpuidWord::k7Edx, entry.edx);
            }
            break;
        case 0xd:
            if (entry.index == 1)
                set(CpuidWord::kD1Eax, entry.eax);
            break;
        case 0x80000001:
            set(CpuidWord::k81Edx, entry.edx);
            set(CpuidWord::k81Ecx, entry.ecx);
            break;
        case 0x80000007:
            set(CpuidWord::k87Edx, entry.edx);
            break;
        case 0x80000008:
            set(CpuidWord::k88Ebx, entry.ebx);
            break;
        case 0x80000021:
            set(CpuidWord::k8021Eax, entry.eax);
            break;
        default:
            break;
        }
    }
    return available;
}

std::unique_ptr<core::KvmArchState> make_kvm_state(const CpuModel &model, unsigned index, bool in_kernel_apic,
                                                   const core::Clocks &clocks) {
    return std::make_unique<KvmState>(model, index, in_kernel_apic, clocks);
}

} // namespace rhea::target::x86
