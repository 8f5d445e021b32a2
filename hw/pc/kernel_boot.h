// Direct kernel boot: what -kernel, -initrd and -append become in guest memory and registers.
//
// Two protocols: an ELF file with a Xen PHYS32_ENTRY note starts by PVH (32-bit, docs: Xen "x86/HVM direct boot ABI"), a bzImage by the
// Linux 64-bit boot protocol (Documentation/arch/x86/boot.rst); its own decompressor runs in the guest.
#pragma once
#include "hw/acpi/tables.h"
#include "rhea/core/boot_state.h"
#include "rhea/core/memory.h"
#include "rhea/util/result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace rhea::hw::pc {

/// A file mapped read-only for as long as somebody holds it.
class FileMapping {
public:
    /// `what` names the option in errors ("-kernel").
    static util::Result<std::shared_ptr<FileMapping>> open(const std::string &path, const std::string &what);
    ~FileMapping();
    FileMapping(const FileMapping &) = delete;
    FileMapping &operator=(const FileMapping &) = delete;
    std::span<const std::uint8_t> bytes() const { return {data_, size_}; }
    /// A part that will not be read soon need not be resident: whole pages of it go. Of another mapping: nothing happens.
    void forget(std::span<const std::uint8_t> part) const;

private:
    FileMapping(const std::uint8_t *data, std::size_t size) : data_(data), size_(size) {}
    const std::uint8_t *data_;
    std::size_t size_;
};

/// Guest RAM as the loaders see it.
struct RamLayout {
    std::uint64_t low = 0;  ///< bytes from address 0 up
    std::uint64_t high = 0; ///< bytes from 4 GiB up
};

struct KernelRequest {
    std::string kernel, initrd, append;
    RamLayout ram;
    std::function<acpi::Blob(std::uint64_t base)> acpi_tables; ///< for a guest physical address; without bytes the guest has none
};

/// Everything that a reset writes, and the registers to start with.
struct KernelBoot {
    struct Piece {
        std::uint64_t address = 0;
        std::span<const std::uint8_t> bytes; ///< into a mapping or into `owned`
        std::uint64_t zero_after = 0;        ///< bytes to clear behind it (ELF .bss)
    };
    std::vector<Piece> pieces;
    std::vector<std::shared_ptr<FileMapping>> mappings;
    std::vector<std::unique_ptr<std::vector<std::uint8_t>>> owned;
    core::X86BootState state;

    void add(std::uint64_t address, std::vector<std::uint8_t> bytes);
    /// Copies all pieces into guest memory.
    void write_to(core::AddressSpace &memory) const;
};

util::Result<KernelBoot> load_kernel(const KernelRequest &request);

// ---- shared between the two protocols ---------------------------------------------------------------------------

enum class E820 : std::uint32_t { kRam = 1, kReserved = 2, kAcpi = 3 };
struct E820Entry {
    std::uint64_t start, size;
    E820 type;
};
/// Where the loaders put their own things in the first megabyte.
inline constexpr std::uint64_t kStartInfoAddress = 0x10000; ///< hvm_start_info or boot_params
inline constexpr std::uint64_t kGdtAddress = 0x11000;
inline constexpr std::uint64_t kPageTableAddress = 0x12000; ///< six pages
inline constexpr std::uint64_t kCommandLineAddress = 0x20000;
inline constexpr std::uint64_t kCommandLineMax = 0x10000;
inline constexpr std::uint64_t kAcpiSize = 0x10000;         ///< at the top of low RAM
inline constexpr std::uint64_t kEbdaAddress = 0x9fc00;

std::vector<E820Entry> memory_map(const RamLayout &ram);
/// Places the initrd as high as may be: at or below `max_address` (inclusive last byte), above `min_address`. Returns its address.
util::Result<std::uint64_t> place_initrd(KernelBoot &boot, const KernelRequest &request, std::uint64_t min_address,
                                         std::uint64_t max_address, std::uint64_t &size);
/// The ACPI tables, a copy of the RSDP in the EBDA, and the command line. Returns the RSDP's address; 0: there is none.
std::uint64_t place_common(KernelBoot &boot, const KernelRequest &request);

util::Result<KernelBoot> load_pvh(const KernelRequest &request, std::shared_ptr<FileMapping> file);
util::Result<KernelBoot> load_bzimage(const KernelRequest &request, std::shared_ptr<FileMapping> file);

/// Little-endian field of `size` bytes at `offset`; 0 beyond the end.
std::uint64_t field(std::span<const std::uint8_t> bytes, std::uint64_t offset, unsigned size);
void put_field(std::vector<std::uint8_t> &bytes, std::uint64_t offset, std::uint64_t value, unsigned size);

} // namespace rhea::hw::pc
