#include "tests/diff/translated_cpu.h"

#include "tests/diff/arena.h"

#include <algorithm>

namespace rhea::target::x86::diff {
namespace {

constexpr std::uint32_t kUser16 = kModeCpl3 | kModeProtected | kModeLongActive;

std::uint32_t mode_of(CodeSize size) {
    return size == CodeSize::k64 ? test::kUser64 : size == CodeSize::k32 ? test::kUser32 : kUser16;
}

Ending ending_of(const std::optional<test::Fault> &fault) {
    if (!fault) {
        return Ending::kDone;
    }
    switch (fault->vector) {
    case 0: return Ending::kDivide;
    case 1: return Ending::kDebug;
    case 3: return Ending::kBreakpoint;
    case 6: return Ending::kUndefined;
    case 12:
    case 13:
    case 14: return Ending::kMemory;
    default: return Ending::kOther;
    }
}

} // namespace

TranslatedCpu::TranslatedCpu(FeatureSet features) : features_(features) {
    cpu_.allow(reinterpret_cast<void *>(kDataAddress), kWritableSize, true);
    cpu_.allow(reinterpret_cast<void *>(kReadOnlyAddress), kReadOnlySize, false);
    cpu_.allow(reinterpret_cast<void *>(kCodeAddress), kCodeSize, true);
}

bool TranslatedCpu::needs_helper() const { return !cpu_.helpers_called().empty(); }

std::string TranslatedCpu::ir() const { return tcg::ir::print(block_, test::TestCpu::guest()); }

Snapshot TranslatedCpu::run(const Snapshot &before, CodeSize size, unsigned count) {
    CpuState &s = cpu_.state();
    std::copy(before.gpr.begin(), before.gpr.end(), s.gpr);
    cpu_.set_flags(before.flags & tcg::kArithFlags);
    s.df = (before.flags & kDirectionFlag) != 0 ? ~0ull : 1;
    s.rflags = 0x202;
    for (unsigned n = 0; n < kSegCount; n++) {
        s.seg[n].selector = before.selectors[n];
        s.seg_base[n] = size == CodeSize::k16 ? (n == kCs ? kCodeAddress : kDataAddress) : 0;
    }
    if (size == CodeSize::k64) {
        s.seg_base[kFs] = before.fs_base;
        s.seg_base[kGs] = before.gs_base;
    }
    Snapshot after = before;
    after.ending = Ending::kOther;
    const auto *code = reinterpret_cast<const std::uint8_t *>(before.rip);
    if (cpu_.translate(block_, code, mode_of(size), count, features_) != tcg::TranslateStatus::kOk) {
        return after;
    }
    if (cpu_.run(block_, code) == tcg::CodeExit::kException && !cpu_.last_fault()) {
        return after;
    }
    std::copy(s.gpr, s.gpr + 16, after.gpr.begin());
    after.rip = size == CodeSize::k64 ? s.head.pc : s.head.pc & 0xffffffff;
    after.flags = cpu_.flags() | (s.df == 1 ? 0 : kDirectionFlag);
    for (unsigned n = 0; n < kSegCount; n++) {
        after.selectors[n] = s.seg[n].selector;
    }
    after.ending = ending_of(cpu_.last_fault());
    after.fault_address = cpu_.last_fault() ? cpu_.last_fault()->address : 0;
    return after;
}

} // namespace rhea::target::x86::diff
