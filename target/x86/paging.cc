#include "paging.h"

#include <atomic>

#include "linear_memory.h"

namespace rhea::target::x86 {
namespace {

constexpr std::uint64_t kP = 1, kW = 2, kU = 4, kA = 0x20, kD = 0x40, kPS = 0x80, kG = 0x100,
                        kNX = 1ull << 63;
constexpr std::uint64_t kAddressMask = 0x000ffffffffff000ull;

enum class Step : std::uint8_t { kDone, kFault, kAgain };

/// One walk. Entries seen on the way are remembered so that accessed bits are set only when the
/// walk succeeds.
class Walker {
  public:
    Walker(Cpu& cpu, std::uint64_t linear, tcg::Access access, As as)
        : cpu_(cpu),
          linear_(linear),
          access_(access),
          user_(as == As::kUser),
          ac_(as == As::kSupervisorAc) {}

    bool run(tcg::Translation& out, std::uint32_t& error) {
        for (;;) {
            depth_ = 0;
            writable_ = user_ok_ = true;
            no_execute_ = false;
            Step step = cpu_.s.cr4 & kCr4PAE ? walk_wide() : walk_narrow();
            if (step == Step::kDone)
                step = check_and_mark(out);
            if (step == Step::kDone)
                return true;
            if (step == Step::kFault) {
                error = error_ | error_base();
                return false;
            }
        }
    }

  private:
    std::uint32_t error_base() const {
        const bool fetch_bit =
            ((cpu_.s.cr4 & kCr4PAE) && (cpu_.s.efer & kEferNXE)) || (cpu_.s.cr4 & kCr4SMEP);
        return (access_ == tcg::Access::kWrite ? kPfWrite : 0) | (user_ ? kPfUser : 0) |
               (access_ == tcg::Access::kExecute && fetch_bit ? kPfFetch : 0);
    }
    Step fault(std::uint32_t error) {
        error_ = error;
        return Step::kFault;
    }

    std::uint64_t load(core::hwaddr at, unsigned size) {
        at = cpu_.a20(at);
        const core::FlatRange* range = cpu_.find_range(at);
        if (range != nullptr && range->host != nullptr && range->size - (at - range->start) >= size) {
            const std::uint8_t* host = range->host + (at - range->start);
            return size == 8 ? *reinterpret_cast<const volatile std::uint64_t*>(host)
                             : *reinterpret_cast<const volatile std::uint32_t*>(host);
        }
        return read_physical(cpu_, at, size);
    }

    void enter(core::hwaddr at, std::uint64_t entry, unsigned size) {
        path_[depth_++] = {at, entry};
        entry_size_ = size;
        writable_ &= (entry & kW) != 0;
        user_ok_ &= (entry & kU) != 0;
    }

    /// 8-byte entries: 4-level paging, or PAE from the page directory on.
    Step walk_wide() {
        const CpuState& s = cpu_.s;
        const bool wide = (s.efer & kEferLMA) != 0;
        std::uint64_t reserved = reserved_address_bits(cpu_);
        if (!(s.efer & kEferNXE))
            reserved |= kNX;
        std::uint64_t table = s.cr3 & kAddressMask;
        unsigned shift = 39;
        if (!wide) {
            reserved |= 0x7ff0000000000000ull;  // bits 62:52 are reserved in PAE paging, ignored in
                                                // 4-level paging
            if (cpu_.pdptes_stale)
                load_pdptes(cpu_, s.cr3);
            const std::uint64_t pdpte = cpu_.pdpte[(linear_ >> 30) & 3];
            if (!(pdpte & kP))
                return fault(0);
            table = pdpte & kAddressMask;
            shift = 21;
        }
        for (;; shift -= 9) {
            const core::hwaddr at = table + ((linear_ >> shift) & 0x1ff) * 8;
            const std::uint64_t entry = load(at, 8);
            if (!(entry & kP))
                return fault(0);
            const bool large = shift != 12 && (entry & kPS) != 0;
            std::uint64_t bad = reserved;
            if (large)
                bad |= large_reserved(shift);
            if (entry & bad)
                return fault(kPfPresent | kPfReserved);
            enter(at, entry, 8);
            no_execute_ |= (entry & kNX) != 0;
            if (shift == 12 || large) {
                page_bits_ = shift;
                frame_ = entry & kAddressMask;
                return Step::kDone;
            }
            table = entry & kAddressMask;
        }
    }

    std::uint64_t large_reserved(unsigned shift) const {
        if (shift == 39 || (shift == 30 && !cpu_.model.has(CpuFeature::k_pdpe1gb)))
            return kPS;
        return ((1ull << shift) - 1) & ~std::uint64_t{0x1fff};  // bit 12 is PAT
    }

    /// 4-byte entries: 32-bit paging with 4 MiB pages (PSE) above 4 GiB (PSE-36).
    Step walk_narrow() {
        const CpuState& s = cpu_.s;
        core::hwaddr at = (s.cr3 & 0xfffff000) + ((linear_ >> 22) & 0x3ff) * 4;
        std::uint64_t entry = load(at, 4);
        if (!(entry & kP))
            return fault(0);
        if ((entry & kPS) && (s.cr4 & kCr4PSE)) {
            // SDM vol. 3, table 4-4: bits 20:13 hold address bits 39:32, bit 21 is reserved.
            const std::uint64_t high = (entry >> 13) & 0xff;
            if ((entry & (1u << 21)) || ((high << 32) & reserved_address_bits(cpu_)))
                return fault(kPfPresent | kPfReserved);
            enter(at, entry, 4);
            page_bits_ = 22;
            frame_ = (entry & 0xffc00000) | high << 32;
            return Step::kDone;
        }
        enter(at, entry, 4);
        at = (entry & 0xfffff000) + ((linear_ >> 12) & 0x3ff) * 4;
        entry = load(at, 4);
        if (!(entry & kP))
            return fault(0);
        enter(at, entry, 4);
        page_bits_ = 12;
        frame_ = entry & 0xfffff000;
        return Step::kDone;
    }

    /// Access rights (SDM vol. 3, 4.6), then the accessed and dirty bits.
    Step check_and_mark(tcg::Translation& out) {
        const CpuState& s = cpu_.s;
        const bool smap_denies = !user_ && user_ok_ && !ac_ && (s.cr4 & kCr4SMAP) != 0;
        const bool may_read = user_ ? user_ok_ : !smap_denies;
        const bool may_write = may_read && (writable_ || (!user_ && !(s.cr0 & kCr0WP)));
        const bool may_execute =
            !no_execute_ && (user_ ? user_ok_ : !(user_ok_ && (s.cr4 & kCr4SMEP) != 0));
        const bool allowed = access_ == tcg::Access::kRead    ? may_read
                             : access_ == tcg::Access::kWrite ? may_write
                                                              : may_execute;
        if (!allowed)
            return fault(kPfPresent);
        const bool write = access_ == tcg::Access::kWrite;
        for (unsigned i = 0; i < depth_; ++i) {
            const std::uint64_t want = kA | (write && i + 1 == depth_ ? kD : 0);
            if ((path_[i].entry & want) != want && !mark(path_[i], want))
                return Step::kAgain;
        }
        const std::uint64_t leaf = path_[depth_ - 1].entry;
        const std::uint64_t page_mask = (1ull << page_bits_) - 1;
        out.physical = cpu_.a20((frame_ & ~page_mask) | (linear_ & page_mask));
        out.linear = !cpu_.s.a20_masked;
        out.page_size = page_mask + 1;
        out.readable = may_read;
        out.writable = may_write && (leaf & kD) != 0;
        out.executable = may_execute;
        out.global = (leaf & kG) != 0 && (s.cr4 & kCr4PGE) != 0;
        return Step::kDone;
    }

    struct PathEntry {
        core::hwaddr at;
        std::uint64_t entry;
    };

    /// Sets bits in an entry if it is still what was read. False: it changed, walk again.
    bool mark(PathEntry& path, std::uint64_t bits) {
        const core::hwaddr at = cpu_.a20(path.at);
        const core::FlatRange* range = cpu_.find_range(at);
        const std::uint64_t now = path.entry | bits;
        if (range == nullptr || range->host == nullptr || range->readonly) {
            write_physical(cpu_, at, now,
                           entry_size_);  // a device, or ROM, which just stays as it is
            path.entry = now;
            return true;
        }
        std::uint8_t* host = range->host + (at - range->start);
        bool same;
        if (entry_size_ == 8) {
            std::uint64_t expected = path.entry;
            same = std::atomic_ref(*reinterpret_cast<std::uint64_t*>(host))
                       .compare_exchange_strong(expected, now);
        } else {
            auto expected = static_cast<std::uint32_t>(path.entry);
            same = std::atomic_ref(*reinterpret_cast<std::uint32_t*>(host))
                       .compare_exchange_strong(expected, static_cast<std::uint32_t>(now));
        }
        if (!same)
            return false;
        path.entry = now;
        core::RamBlock* block = range->region->ram_block();
        const core::ram_addr_t offset = range->region_offset + (at - range->start);
        if (block != nullptr && block->page_flags(offset).load(std::memory_order_relaxed) != 0)
            block->notify_write(offset, entry_size_);
        return true;
    }

    Cpu& cpu_;
    const std::uint64_t linear_;
    const tcg::Access access_;
    const bool user_, ac_;
    PathEntry path_[4] = {};
    unsigned depth_ = 0, entry_size_ = 8, page_bits_ = 12;
    std::uint64_t frame_ = 0;
    bool writable_ = true, user_ok_ = true, no_execute_ = false;
    std::uint32_t error_ = 0;
};

}  // namespace

std::uint64_t reserved_address_bits(const Cpu& cpu) {
    return kAddressMask & ~((1ull << cpu.model.physical_bits) - 1);
}

bool is_canonical(const Cpu& cpu, std::uint64_t linear) {
    return !cpu.long_active() || is_canonical48(linear);
}

bool load_pdptes(Cpu& cpu, std::uint64_t cr3) {
    std::array<std::uint64_t, 4> entries;
    const std::uint64_t reserved = 0xfff0000000000000ull | reserved_address_bits(cpu) | 0x1e6;
    for (unsigned i = 0; i < 4; ++i) {
        entries[i] = read_physical(cpu, cpu.a20((cr3 & 0xffffffe0) + i * 8), 8);
        if ((entries[i] & kP) && (entries[i] & reserved))
            return false;
    }
    cpu.pdpte = entries;
    cpu.pdptes_stale = false;
    return true;
}

bool walk_pages(Cpu& cpu, std::uint64_t linear, tcg::Access access, As as, tcg::Translation& out,
                std::uint32_t& error) {
    if (!(cpu.s.efer & kEferLMA))
        linear &= 0xffffffff;
    if (!(cpu.s.cr0 & kCr0PG)) {
        out = {.physical = cpu.a20(linear),
               .page_size = 4096,
               .readable = true,
               .writable = true,
               .executable = true};
        return true;
    }
    return Walker(cpu, linear, access, as).run(out, error);
}

}  // namespace rhea::target::x86
