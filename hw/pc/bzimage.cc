// Linux bzImages by the 64-bit boot protocol (kernel documentation, arch/x86/boot.rst, "64-bit BOOT PROTOCOL"): long mode, the first
// 4 GiB identity-mapped, RSI = boot_params, entry 0x200 behind the loaded image's start.
#include "hw/pc/kernel_boot.h"

#include <algorithm>

namespace rhea::hw::pc {
namespace {

// Offsets in boot_params and the setup header in it.
constexpr unsigned kAcpiRsdp = 0x070, kExtRamdiskImage = 0x0c0, kExtRamdiskSize = 0x0c4, kE820Entries = 0x1e8,
                   kSetupSects = 0x1f1, kBootFlag = 0x1fe, kVersion = 0x206, kTypeOfLoader = 0x210, kLoadFlags = 0x211,
                   kRamdiskImage = 0x218, kRamdiskSize = 0x21c, kCmdLinePtr = 0x228, kInitrdAddrMax = 0x22c,
                   kKernelAlignment = 0x230, kRelocatable = 0x234, kXloadFlags = 0x236, kCmdlineSize = 0x238,
                   kPrefAddress = 0x258, kInitSize = 0x260, kE820Table = 0x2d0;

void identity_map(KernelBoot &boot) {
    std::vector<std::uint8_t> tables(6 * 4096, 0);
    put_field(tables, 0, (kPageTableAddress + 0x1000) | 3, 8);
    for (unsigned g = 0; g < 4; ++g) {
        put_field(tables, 0x1000 + g * 8, (kPageTableAddress + 0x2000 + g * 0x1000) | 3, 8);
        for (std::uint64_t i = 0; i < 512; ++i)
            put_field(tables, 0x2000 + g * 0x1000 + i * 8, ((std::uint64_t{g} << 30) + (i << 21)) | 0x83, 8);
    }
    boot.add(kPageTableAddress, std::move(tables));
}

} // namespace

util::Result<KernelBoot> load_bzimage(const KernelRequest &request, std::shared_ptr<FileMapping> file) {
    const auto bytes = file->bytes();
    const std::uint64_t version = field(bytes, kVersion, 2);
    if (version < 0x20c || !(field(bytes, kXloadFlags, 2) & 1))
        return util::fail("-kernel: '{}' has no 64-bit entry point (boot protocol {}.{:02}; 2.12 with XLF_KERNEL_64 is needed)",
                          request.kernel, version >> 8, version & 0xff);
    if (field(bytes, kBootFlag, 2) != 0xaa55)
        return util::fail("-kernel: '{}' is damaged: no boot flag at offset 0x1fe", request.kernel);
    std::uint64_t setup_sectors = field(bytes, kSetupSects, 1);
    if (setup_sectors == 0)
        setup_sectors = 4;
    const std::uint64_t image_at = (setup_sectors + 1) * 512;
    const std::uint64_t declared = field(bytes, 0x1f4, 4) * 16; // syssize: paragraphs of protected-mode code
    if (bytes.size() <= image_at || (declared && bytes.size() - image_at + 15 < declared))
        return util::fail("-kernel: '{}' is truncated: {} bytes, its header says {}", request.kernel, bytes.size(), image_at + declared);
    const std::uint64_t limit = field(bytes, kCmdlineSize, 4);
    if (request.append.size() > limit)
        return util::fail("-append: a command line of {} bytes is too long for '{}'; it takes {}", request.append.size(), request.kernel, limit);

    const std::uint64_t init_size = std::max<std::uint64_t>(field(bytes, kInitSize, 4), bytes.size() - image_at);
    const std::uint64_t top = request.ram.low - kAcpiSize;
    std::uint64_t load = field(bytes, kPrefAddress, 8);
    if (load < 0x100000 || load > top || init_size > top - load) {
        const std::uint64_t alignment = std::max<std::uint64_t>(field(bytes, kKernelAlignment, 4), 0x1000);
        const std::uint64_t lowest = (0x100000 + alignment - 1) / alignment * alignment;
        if (!field(bytes, kRelocatable, 1) || lowest > top || init_size > top - lowest)
            return util::fail("-kernel: '{}' needs {} MiB to unpack itself, the guest has {}: use a larger -m", request.kernel,
                              (load + init_size) >> 20, request.ram.low >> 20);
        load = lowest;
    }

    KernelBoot boot;
    boot.mappings.push_back(file);
    boot.pieces.push_back({load, bytes.subspan(image_at), 0});
    std::uint64_t initrd_max = field(bytes, kInitrdAddrMax, 4);
    if (field(bytes, kXloadFlags, 2) & 2)
        initrd_max = 0xffffffff; // XLF_CAN_BE_LOADED_ABOVE_4G: no limit below 4 GiB either
    std::uint64_t initrd_size = 0;
    const auto initrd = place_initrd(boot, request, (load + init_size + 0xfff) & ~0xfffull, initrd_max, initrd_size);
    if (!initrd)
        return util::fail(initrd.error());
    const std::uint64_t rsdp = place_common(boot, request);

    std::vector<std::uint8_t> params(4096, 0);
    const std::uint64_t header_end = std::min<std::uint64_t>(0x202 + field(bytes, 0x201, 1), 0x290);
    std::copy(bytes.begin() + kSetupSects, bytes.begin() + static_cast<std::ptrdiff_t>(header_end), params.begin() + kSetupSects);
    put_field(params, kTypeOfLoader, 0xff, 1);
    put_field(params, kLoadFlags, field(bytes, kLoadFlags, 1) | 1, 1);
    put_field(params, 0x1fa, 0xffff, 2); // vid_mode: normal
    put_field(params, 0x214, load, 4);   // code32_start
    put_field(params, kCmdLinePtr, kCommandLineAddress, 4);
    put_field(params, kRamdiskImage, *initrd, 4);
    put_field(params, kRamdiskSize, initrd_size, 4);
    put_field(params, kExtRamdiskImage, *initrd >> 32, 4);
    put_field(params, kExtRamdiskSize, initrd_size >> 32, 4);
    put_field(params, kAcpiRsdp, rsdp, 8);
    const std::vector<E820Entry> map = memory_map(request.ram);
    put_field(params, kE820Entries, map.size(), 1);
    for (std::size_t i = 0; i < map.size(); ++i) {
        put_field(params, kE820Table + i * 20, map[i].start, 8);
        put_field(params, kE820Table + i * 20 + 8, map[i].size, 8);
        put_field(params, kE820Table + i * 20 + 16, static_cast<std::uint32_t>(map[i].type), 4);
    }
    boot.add(kStartInfoAddress, std::move(params));

    std::vector<std::uint8_t> gdt(40, 0);
    put_field(gdt, 16, 0x00af9b000000ffffull, 8); // 0x10: 64-bit code
    put_field(gdt, 24, 0x00cf93000000ffffull, 8); // 0x18: data
    put_field(gdt, 32, 0x00008b000000ffffull, 8); // 0x20: TSS
    boot.add(kGdtAddress, std::move(gdt));
    identity_map(boot);
    boot.state.mode = core::X86BootState::Mode::kLong64;
    boot.state.rip = load + 0x200;
    boot.state.rsp = kStartInfoAddress;
    boot.state.rsi = kStartInfoAddress;
    boot.state.cr3 = kPageTableAddress;
    boot.state.gdt_base = kGdtAddress;
    boot.state.gdt_limit = 39;
    return boot;
}

} // namespace rhea::hw::pc
