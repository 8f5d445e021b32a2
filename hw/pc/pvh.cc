// ELF kernels that start by PVH: 32-bit protected mode, paging off, EBX = hvm_start_info (Xen public headers,
// arch-x86/hvm/start_info.h; entry point in the ELF note XEN_ELFNOTE_PHYS32_ENTRY).
#include "hw/pc/kernel_boot.h"

#include <cstring>

namespace rhea::hw::pc {
namespace {

constexpr std::uint32_t kNotePhys32Entry = 18;
constexpr std::uint32_t kStartInfoMagic = 0x336ec578;

/// One program header, of either ELF class.
struct Segment {
    std::uint32_t type;
    std::uint64_t offset, physical, file_size, memory_size, alignment;
};

struct Elf {
    bool is64;
    std::uint64_t header_offset, header_size, header_count;
};

Segment segment(std::span<const std::uint8_t> bytes, const Elf &elf, std::uint64_t index) {
    const std::uint64_t at = elf.header_offset + index * elf.header_size;
    if (elf.is64)
        return {static_cast<std::uint32_t>(field(bytes, at, 4)), field(bytes, at + 8, 8), field(bytes, at + 24, 8),
                field(bytes, at + 32, 8), field(bytes, at + 40, 8), field(bytes, at + 48, 8)};
    return {static_cast<std::uint32_t>(field(bytes, at, 4)), field(bytes, at + 4, 4), field(bytes, at + 12, 4),
            field(bytes, at + 16, 4), field(bytes, at + 20, 4), field(bytes, at + 28, 4)};
}

bool in_file(std::span<const std::uint8_t> bytes, std::uint64_t offset, std::uint64_t size) {
    return offset <= bytes.size() && size <= bytes.size() - offset;
}

/// The PVH entry point among the notes, or 0.
std::uint64_t find_entry(std::span<const std::uint8_t> notes, std::uint64_t alignment) {
    const auto aligned = [&](std::uint64_t n) { return alignment == 8 ? (n + 7) & ~7ull : (n + 3) & ~3ull; };
    std::uint64_t at = 0;
    while (at + 12 <= notes.size()) {
        const std::uint64_t name_size = field(notes, at, 4), data_size = field(notes, at + 4, 4), type = field(notes, at + 8, 4);
        const std::uint64_t name_at = at + 12, data_at = name_at + ((name_size + 3) & ~3ull);
        if (type == kNotePhys32Entry && name_size == 4 && in_file(notes, name_at, 4) &&
            std::memcmp(notes.data() + name_at, "Xen", 4) == 0 && (data_size == 4 || data_size == 8) &&
            in_file(notes, data_at, data_size))
            return field(notes, data_at, static_cast<unsigned>(data_size));
        at = data_at + aligned(data_size);
    }
    return 0;
}

} // namespace

util::Result<KernelBoot> load_pvh(const KernelRequest &request, std::shared_ptr<FileMapping> file) {
    const auto bytes = file->bytes();
    const std::uint64_t machine = field(bytes, 18, 2);
    Elf elf{};
    elf.is64 = field(bytes, 4, 1) == 2;
    if (machine != 62 && machine != 3)
        return util::fail("-kernel: '{}' is an ELF file for another architecture (e_machine {})", request.kernel, machine);
    elf.header_offset = elf.is64 ? field(bytes, 32, 8) : field(bytes, 28, 4);
    elf.header_size = field(bytes, elf.is64 ? 54 : 42, 2);
    elf.header_count = field(bytes, elf.is64 ? 56 : 44, 2);
    const std::uint64_t wanted = elf.is64 ? 56 : 32;
    if (elf.header_size < wanted || elf.header_count == 0 || !in_file(bytes, elf.header_offset, elf.header_size * elf.header_count))
        return util::fail("-kernel: '{}' is a truncated or damaged ELF file (program headers)", request.kernel);

    KernelBoot boot;
    std::uint64_t entry = 0, end = 0;
    for (std::uint64_t i = 0; i < elf.header_count; ++i) {
        const Segment s = segment(bytes, elf, i);
        if ((s.type == 1 || s.type == 4) && !in_file(bytes, s.offset, s.file_size))
            return util::fail("-kernel: '{}' is truncated: segment {} ends behind the end of the file", request.kernel, i);
        if (s.type == 4) { // PT_NOTE
            if (!entry)
                entry = find_entry(bytes.subspan(s.offset, s.file_size), s.alignment);
            continue;
        }
        if (s.type != 1 || s.memory_size == 0)
            continue;
        if (s.memory_size < s.file_size || s.physical > request.ram.low || s.memory_size > request.ram.low - kAcpiSize - s.physical)
            return util::fail("-kernel: segment {} of '{}' ({} KiB at {:#x}) lies outside the guest's memory: use a larger -m", i,
                              request.kernel, s.memory_size / 1024, s.physical);
        if (s.physical < 0x100000)
            return util::fail("-kernel: segment {} of '{}' wants address {:#x}, below 1 MiB", i, request.kernel, s.physical);
        boot.pieces.push_back({s.physical, bytes.subspan(s.offset, s.file_size), s.memory_size - s.file_size});
        end = std::max(end, s.physical + s.memory_size);
    }
    if (!entry)
        return util::fail("-kernel: '{}' is an ELF file without a PVH note (XEN_ELFNOTE_PHYS32_ENTRY): use a bzImage, or a kernel "
                          "built with CONFIG_PVH", request.kernel);
    boot.mappings.push_back(file);

    std::uint64_t initrd_size = 0;
    const auto initrd = place_initrd(boot, request, (end + 0xfff) & ~0xfffull, 0xffffffff, initrd_size);
    if (!initrd)
        return util::fail(initrd.error());
    const std::uint64_t rsdp = place_common(boot, request);

    const std::vector<E820Entry> map = memory_map(request.ram);
    constexpr std::uint64_t kModuleOffset = 0x80, kMapOffset = 0x100;
    std::vector<std::uint8_t> info(kMapOffset + map.size() * 24, 0);
    put_field(info, 0, kStartInfoMagic, 4);
    put_field(info, 4, 1, 4);
    put_field(info, 12, initrd_size ? 1 : 0, 4);
    put_field(info, 16, initrd_size ? kStartInfoAddress + kModuleOffset : 0, 8);
    put_field(info, 24, kCommandLineAddress, 8);
    put_field(info, 32, rsdp, 8);
    put_field(info, 40, kStartInfoAddress + kMapOffset, 8);
    put_field(info, 48, map.size(), 4);
    put_field(info, kModuleOffset, *initrd, 8);
    put_field(info, kModuleOffset + 8, initrd_size, 8);
    for (std::size_t i = 0; i < map.size(); ++i) {
        put_field(info, kMapOffset + i * 24, map[i].start, 8);
        put_field(info, kMapOffset + i * 24 + 8, map[i].size, 8);
        put_field(info, kMapOffset + i * 24 + 16, static_cast<std::uint32_t>(map[i].type), 4);
    }
    boot.add(kStartInfoAddress, std::move(info));
    boot.state.mode = core::X86BootState::Mode::kProtected32;
    boot.state.rip = entry;
    boot.state.rbx = kStartInfoAddress;
    return boot;
}

} // namespace rhea::hw::pc
