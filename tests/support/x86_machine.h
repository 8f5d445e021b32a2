// An x86 CPU without an accelerator: flat RAM, a fake VcpuHost that counts what it is told, and
// helpers called directly.
//
// For tests of target/x86's system side. One thread.
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "rhea/core/memory.h"
#include "rhea/target/x86/frontend.h"
#include "rhea/target/x86/registers.h"
#include "rhea/target/x86/state.h"
#include "target/x86/cpu.h"
#include "target/x86/helpers.h"

namespace rhea::test {

/// Answers interrupt acknowledges and x2APIC accesses with what the test put there.
class FakeApic final : public core::LocalApicPort {
  public:
    int acknowledge() override { return vector; }
    bool interrupt_pending() const override { return vector >= 0; }
    std::uint8_t cr8() const override { return tpr; }
    void set_cr8(std::uint8_t value) override { tpr = value; }
    std::uint64_t apic_base() const override { return base; }
    bool set_apic_base(std::uint64_t value) override {
        base = value;
        return true;
    }
    bool x2apic_read(std::uint32_t msr, std::uint64_t& value) override {
        value = msr;
        return msr == 0x802;
    }
    bool x2apic_write(std::uint32_t, std::uint64_t) override { return false; }
    std::uint64_t tsc_deadline() const override { return deadline; }
    void set_tsc_deadline(std::uint64_t tsc) override { deadline = tsc; }
    void init_reset() override { ++inits; }
    std::uint8_t sipi_vector() const override { return 0x9a; }

    int vector = -1, inits = 0;
    std::uint8_t tpr = 0;
    std::uint64_t base = 0xfee00900, deadline = 0;
};

/// Port I/O that remembers the last write and counts up on reads.
class FakePorts final : public core::IoHandler {
  public:
    std::uint64_t io_read(core::hwaddr, unsigned) override { return next++; }
    void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override {
        writes.push_back({offset, value, size});
    }
    struct Write {
        core::hwaddr port;
        std::uint64_t value;
        unsigned size;
    };
    std::uint64_t next = 0x40;
    std::vector<Write> writes;
};

class X86Machine final : public tcg::VcpuHost {
  public:
    static constexpr std::uint64_t kRamSize = 16 << 20;

    explicit X86Machine(std::string_view model = "max", unsigned index = 0);

    // tcg::VcpuHost
    core::AddressSpace& memory() override { return memory_; }
    core::AddressSpace& io() override { return io_; }
    void flush_tlb(bool) override { ++flushes; }
    void flush_tlb_page(std::uint64_t linear) override { flushed_page = linear; }
    void switch_address_space(std::uint64_t root, std::uint32_t tag, bool keep) override {
        space_root = root;
        space_pcid = tag;
        space_kept = keep;
    }
    void flush_pcid(std::uint32_t tag, bool all, bool keep_global) override {
        pcid_flush = {tag, all, keep_global};
    }
    void flush_pcid_page(std::uint32_t tag, std::uint64_t linear) override {
        pcid_page = {tag, linear};
    }
    void mode_changed() override { ++mode_changes; }
    std::uint32_t requests() const override { return request_bits; }
    void clear_request(std::uint32_t bits) override { request_bits &= ~bits; }
    core::LocalApicPort* apic() override { return &apic_port; }
    void request_machine_reset() override {}
    unsigned index() const override { return index_; }
    std::int64_t guest_ns() const override { return now; }

    /// Calls a helper as translated code does: linear pc in head.pc, nothing pending before.
    using Helper = std::uint64_t(target::x86::CpuState*, std::uint64_t, std::uint64_t,
                                 std::uint64_t);
    std::uint64_t call(Helper* helper, std::uint64_t a = 0, std::uint64_t b = 0,
                       std::uint64_t c = 0) {
        s.head.exception_pending = 0;
        return helper(&s, a, b, c);
    }
    /// The pending exception as vector << 16 | error code, or -1.
    long pending() const {
        return s.head.exception_pending
                   ? static_cast<long>(s.exception_vector << 16 | s.exception_error_code)
                   : -1;
    }
    static constexpr long exception(unsigned vector, unsigned error = 0) {
        return static_cast<long>(vector << 16 | error);
    }

    template <typename T>
    T peek(std::uint64_t physical) const {
        T value;
        std::memcpy(&value, ram_.host() + physical, sizeof value);
        return value;
    }
    template <typename T>
    void poke(std::uint64_t physical, T value) {
        std::memcpy(ram_.host() + physical, &value, sizeof value);
    }

    // Descriptors. The GDT lies at kGdt, the IDT at kIdt, the TSS at kTss.
    static constexpr std::uint64_t kGdt = 0x1000, kIdt = 0x2000, kTss = 0x3000,
                                   kPageTables = 0x10000;
    static std::uint64_t descriptor(std::uint32_t base, std::uint32_t limit, unsigned access,
                                    unsigned flags) {
        return (limit & 0xffffull) | (base & 0xffffffull) << 16 | std::uint64_t{access} << 40 |
               std::uint64_t{limit >> 16 & 15} << 48 | std::uint64_t{flags} << 52 |
               std::uint64_t{base >> 24} << 56;
    }
    void set_descriptor(unsigned selector, std::uint64_t low) {
        poke(kGdt + (selector & ~7u), low);
    }
    /// An 8-byte gate: type 4 call16, 5 task, 6 int16, 7 trap16, 12 call32, 14 int32, 15 trap32.
    static std::uint64_t gate(unsigned selector, std::uint32_t offset, unsigned type, unsigned dpl,
                              unsigned count = 0) {
        return (offset & 0xffffull) | std::uint64_t{selector} << 16 | std::uint64_t{count} << 32 |
               std::uint64_t{0x80u | dpl << 5 | type} << 40 | std::uint64_t{offset >> 16} << 48;
    }
    void set_gate(unsigned vector, std::uint64_t low) { poke(kIdt + vector * 8, low); }
    void set_gate64(unsigned vector, unsigned selector, std::uint64_t offset, unsigned type,
                    unsigned dpl, unsigned ist) {
        poke(kIdt + vector * 16,
             gate(selector, static_cast<std::uint32_t>(offset), type, dpl, ist));
        poke(kIdt + vector * 16 + 8, offset >> 32);
    }

    /// Flat 32-bit protected mode at CPL 0 with a GDT: 08 code0, 10 data0, 1b code3, 23 data3, 28
    /// TSS, 30 code16, 38 data16.
    void enter_protected();
    /// As enter_protected, in 64-bit mode: 08 code64, 1b code32 of level 3, 33 code64 of level 3;
    /// identity mapped by 2 MiB pages that users may access.
    void enter_long();
    /// Level 3 of the present mode, in the flat user segments.
    void enter_user();

    std::unique_ptr<tcg::GuestFrontend> frontend;

  private:
    core::RamBlock ram_;
    std::unique_ptr<core::MemoryRegion> root_, ram_region_, io_root_;
    core::AddressSpace memory_, io_;
    unsigned index_;
    struct FreeMemory {
        void operator()(void* p) const { std::free(p); }
    };
    std::unique_ptr<void, FreeMemory> window_;

  public:
    FakePorts ports;
    FakeApic apic_port;
    target::x86::CpuState& s;

    unsigned flushes = 0, mode_changes = 0;
    std::uint64_t flushed_page = 0, space_root = 0;
    std::uint32_t space_pcid = 0;
    bool space_kept = false;
    struct PcidFlush {
        std::uint32_t tag = ~0u;
        bool all = false, keep_global = false;
    } pcid_flush;
    std::pair<std::uint32_t, std::uint64_t> pcid_page{};
    std::uint32_t request_bits = 0;
    std::int64_t now = 1000;
};

}  // namespace rhea::test
