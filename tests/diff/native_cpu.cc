#include "tests/diff/native_cpu.h"

#include "rhea/target/x86/registers.h"
#include "tests/diff/arena.h"
#include "tests/diff/guest_state.h"

#include <asm/ldt.h>
#include <cerrno>
#include <cstddef>
#include <csignal>
#include <cstring>
#include <elf.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace rhea::target::x86::diff {
namespace {

constexpr std::uint16_t kCode64 = kUserCode64, kCode32 = kUserCode32, kData = kUserData, kCode16 = kUserCode16, kData16 = kUserData16;

// si_code values of <asm-generic/siginfo.h>; glibc's header does not have all of them.
constexpr int kTrapBreakpoint = 1, kTrapHardware = 4, kFromKernel = 0x80;

bool add_ldt_entry(unsigned number, std::uint64_t base, bool code) {
    user_desc d{};
    d.entry_number = number;
    d.base_addr = static_cast<unsigned>(base);
    d.limit = 0xffff;
    d.contents = code ? MODIFY_LDT_CONTENTS_CODE : MODIFY_LDT_CONTENTS_DATA;
    d.useable = 1;
    return syscall(SYS_modify_ldt, 1, &d, sizeof d) == 0;
}

[[noreturn]] void child_main() {
    const bool ldt = add_ldt_entry(1, kCodeAddress, true) && add_ldt_entry(2, kDataAddress, false);
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    raise(ldt ? SIGSTOP : SIGTSTP);
    _exit(0);
}

void fill(user_regs_struct &regs, Snapshot &before, CodeSize size) {
    const auto &g = before.gpr;
    regs.rax = g[kRax], regs.rcx = g[kRcx], regs.rdx = g[kRdx], regs.rbx = g[kRbx];
    regs.rsp = g[kRsp], regs.rbp = g[kRbp], regs.rsi = g[kRsi], regs.rdi = g[kRdi];
    regs.r8 = g[kR8], regs.r9 = g[kR9], regs.r10 = g[kR10], regs.r11 = g[kR11];
    regs.r12 = g[kR12], regs.r13 = g[kR13], regs.r14 = g[kR14], regs.r15 = g[kR15];
    regs.rip = size == CodeSize::k16 ? before.rip - kCodeAddress : before.rip;
    regs.eflags = 0x202 | before.flags | (before.align_check ? kFlagAC : 0);
    regs.orig_rax = ~0ull; // no system call to restart
    regs.cs = size == CodeSize::k64 ? kCode64 : size == CodeSize::k32 ? kCode32 : kCode16;
    regs.ss = size == CodeSize::k16 ? kData16 : kData;
    regs.ds = regs.es = size == CodeSize::k64 ? 0 : size == CodeSize::k32 ? kData : kData16;
    regs.fs = regs.gs = size == CodeSize::k64 ? 0 : regs.ds;
    if (size == CodeSize::k64) {
        regs.fs_base = before.fs_base, regs.gs_base = before.gs_base;
    } else {
        before.fs_base = before.gs_base = size == CodeSize::k16 ? kDataAddress : 0;
        regs.fs_base = regs.gs_base = before.fs_base;
    }
    before.selectors = {static_cast<std::uint16_t>(regs.es), static_cast<std::uint16_t>(regs.cs),
                        static_cast<std::uint16_t>(regs.ss), static_cast<std::uint16_t>(regs.ds),
                        static_cast<std::uint16_t>(regs.fs), static_cast<std::uint16_t>(regs.gs)};
}

Snapshot read_back(const user_regs_struct &regs) {
    Snapshot s;
    s.align_check = (regs.eflags & kFlagAC) != 0;
    s.gpr = {regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp, regs.rsi, regs.rdi,
             regs.r8,  regs.r9,  regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15};
    if (regs.ss == kData16) {
        s.gpr[kRsp] &= 0xffffffff; // the kernel's return to a 16-bit stack leaves the upper half to chance
    }
    s.rip = regs.cs == kCode16 ? regs.rip + kCodeAddress : regs.rip;
    s.flags = static_cast<std::uint32_t>(regs.eflags) & kComparedFlags;
    s.fs_base = regs.fs_base, s.gs_base = regs.gs_base;
    s.selectors = {static_cast<std::uint16_t>(regs.es), static_cast<std::uint16_t>(regs.cs),
                   static_cast<std::uint16_t>(regs.ss), static_cast<std::uint16_t>(regs.ds),
                   static_cast<std::uint16_t>(regs.fs), static_cast<std::uint16_t>(regs.gs)};
    return s;
}

void fill(user_fpregs_struct &regs, const FloatState &f) {
    regs = {};
    regs.cwd = f.fcw, regs.swd = f.fsw, regs.ftw = f.tags;
    regs.mxcsr = f.mxcsr;
    for (unsigned n = 0; n < 8; n++) {
        std::memcpy(&regs.st_space[4 * n], &f.mantissa[n], 8);
        std::memcpy(&regs.st_space[4 * n + 2], &f.sign_exponent[n], 2);
    }
    std::memcpy(regs.xmm_space, f.xmm.data(), sizeof regs.xmm_space);
}

/// The XSAVE area that PTRACE_GETREGSET shows: standard form (SDM volume 1, 13.4).
constexpr std::size_t kXsaveHeaderAt = 512, kUpperHalvesAt = 576;
constexpr std::uint8_t kLegacyAndAvx = 7;

bool has_upper_halves(const std::vector<std::uint8_t> &area) {
    return area.size() >= kUpperHalvesAt + sizeof(FloatState::ymm_high);
}

bool get_area(int child, std::vector<std::uint8_t> &area) {
    area.resize(16384);
    iovec io{area.data(), area.size()};
    const bool ok = ptrace(PTRACE_GETREGSET, child, NT_X86_XSTATE, &io) == 0;
    area.resize(ok ? io.iov_len : 0);
    return ok;
}

bool set_float_state(int child, const FloatState &f) {
    user_fpregs_struct regs;
    fill(regs, f);
    std::vector<std::uint8_t> area;
    if (!get_area(child, area) || !has_upper_halves(area)) {
        return ptrace(PTRACE_SETFPREGS, child, nullptr, &regs) == 0;
    }
    constexpr std::size_t kKernelsOwn = 464; // from there on the legacy area says what the kernel's XSAVE has
    std::memcpy(area.data(), &regs, kKernelsOwn);
    area[kXsaveHeaderAt] |= kLegacyAndAvx;
    std::memcpy(&area[kUpperHalvesAt], f.ymm_high.data(), sizeof f.ymm_high);
    iovec io{area.data(), area.size()};
    return ptrace(PTRACE_SETREGSET, child, NT_X86_XSTATE, &io) == 0;
}

FloatState read_back(const user_fpregs_struct &regs) {
    FloatState f;
    f.used = true;
    f.fcw = regs.cwd, f.fsw = regs.swd, f.tags = static_cast<std::uint8_t>(regs.ftw);
    f.mxcsr = regs.mxcsr;
    for (unsigned n = 0; n < 8; n++) {
        std::memcpy(&f.mantissa[n], &regs.st_space[4 * n], 8);
        std::memcpy(&f.sign_exponent[n], &regs.st_space[4 * n + 2], 2);
    }
    std::memcpy(f.xmm.data(), regs.xmm_space, sizeof regs.xmm_space);
    return f;
}

bool get_float_state(int child, FloatState &f) {
    user_fpregs_struct regs;
    if (ptrace(PTRACE_GETFPREGS, child, nullptr, &regs) != 0) {
        return false;
    }
    f = read_back(regs);
    std::vector<std::uint8_t> area;
    if (get_area(child, area) && has_upper_halves(area) && (area[kXsaveHeaderAt] & 4) != 0) {
        std::memcpy(f.ymm_high.data(), &area[kUpperHalvesAt], sizeof f.ymm_high);
    }
    return true;
}

Ending ending_of(const siginfo_t &info) {
    switch (info.si_signo) {
    case SIGFPE: return info.si_code == FPE_INTDIV ? Ending::kDivide : Ending::kFloat;
    case SIGILL: return Ending::kUndefined;
    case SIGBUS:
        if (info.si_code == BUS_ADRALN) {
            return Ending::kAlignment;
        }
        [[fallthrough]];
    case SIGSEGV: return Ending::kMemory;
    case SIGTRAP:
        // INT3 and INT1 come from the kernel's own handlers, the end of a step as TRAP_TRACE.
        return info.si_code == kFromKernel ? Ending::kBreakpoint
               : info.si_code == kTrapBreakpoint || info.si_code == kTrapHardware ? Ending::kDebug
                                                 : Ending::kDone;
    default: return Ending::kOther;
    }
}

} // namespace

NativeCpu::NativeCpu() { start(); }

NativeCpu::~NativeCpu() { stop(); }

void NativeCpu::start() {
    child_ = fork();
    if (child_ == 0) {
        child_main();
    }
    int status = 0;
    if (child_ < 0 || waitpid(child_, &status, 0) != child_ || !WIFSTOPPED(status)) {
        why_not_ = "no child process could be traced";
        return;
    }
    has_ldt_ = WSTOPSIG(status) == SIGSTOP;
    user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, child_, nullptr, &regs) != 0) {
        why_not_ = std::string("ptrace is not allowed here: ") + std::strerror(errno);
        return;
    }
    ptrace(PTRACE_SETOPTIONS, child_, nullptr, PTRACE_O_EXITKILL);
}

void NativeCpu::stop() {
    if (child_ > 0) {
        kill(child_, SIGKILL);
        waitpid(child_, nullptr, 0);
    }
}

bool NativeCpu::go(bool one) {
    int status = 0;
    return ptrace(one ? PTRACE_SINGLESTEP : PTRACE_CONT, child_, nullptr, nullptr) == 0 &&
           waitpid(child_, &status, 0) == child_ && WIFSTOPPED(status);
}

bool NativeCpu::set_watch(const WatchPoint &watch) {
    const auto put = [this](unsigned number, std::uint64_t value) {
        const std::size_t at = offsetof(user, u_debugreg) + number * sizeof(std::uint64_t);
        return ptrace(PTRACE_POKEUSER, child_, at, value) == 0;
    };
    return put(7, 0) && (watch.length == 0 || (put(0, watch.address) && put(7, watch.dr7())));
}

Snapshot NativeCpu::run(Snapshot &before, CodeSize size, bool to_breakpoint) {
    user_regs_struct regs;
    siginfo_t info{};
    Snapshot after;
    after.ending = Ending::kOther;
    if (ptrace(PTRACE_GETREGS, child_, nullptr, &regs) != 0) {
        return after;
    }
    fill(regs, before, size);
    if (before.fp.used && !set_float_state(child_, before.fp)) {
        return after;
    }
    if (ptrace(PTRACE_SETREGS, child_, nullptr, &regs) != 0 || !go(!to_breakpoint) ||
        ptrace(PTRACE_GETSIGINFO, child_, nullptr, &info) != 0 ||
        ptrace(PTRACE_GETREGS, child_, nullptr, &regs) != 0) {
        return after;
    }
    after = read_back(regs);
    if (before.fp.used) {
        get_float_state(child_, after.fp);
    }
    if (regs.eflags & kFlagID) { // ptrace cannot clear it again, and PUSHF would show it in later cases
        stop();
        start();
    }
    after.ending = ending_of(info);
    if (to_breakpoint && after.ending == Ending::kBreakpoint) {
        after.ending = Ending::kDone;
        after.rip--;
    }
    const bool has_address = info.si_signo == SIGSEGV && info.si_code != kFromKernel;
    after.fault_address = has_address ? reinterpret_cast<std::uint64_t>(info.si_addr) : 0;
    if (after.ending == Ending::kDone) {
        after.fault_address = 0;
    }
    return after;
}

} // namespace rhea::target::x86::diff
