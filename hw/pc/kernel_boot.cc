#include "hw/pc/kernel_boot.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rhea::hw::pc {

util::Result<std::shared_ptr<FileMapping>> FileMapping::open(const std::string &path, const std::string &what) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return util::fail("{}: could not open '{}': {}", what, path, std::strerror(errno));
    struct stat info {};
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        ::close(fd);
        return util::fail("{}: '{}' is not a regular file", what, path);
    }
    if (info.st_size == 0) {
        ::close(fd);
        return util::fail("{}: '{}' is empty", what, path);
    }
    void *data = ::mmap(nullptr, static_cast<std::size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    const int error = errno;
    ::close(fd);
    if (data == MAP_FAILED)
        return util::fail("{}: could not map '{}': {}", what, path, std::strerror(error));
    return std::shared_ptr<FileMapping>(
        new FileMapping(static_cast<const std::uint8_t *>(data), static_cast<std::size_t>(info.st_size)));
}

FileMapping::~FileMapping() { ::munmap(const_cast<std::uint8_t *>(data_), size_); }

std::uint64_t field(std::span<const std::uint8_t> bytes, std::uint64_t offset, unsigned size) {
    if (offset > bytes.size() || bytes.size() - offset < size)
        return 0;
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + offset, size);
    return value;
}

void put_field(std::vector<std::uint8_t> &bytes, std::uint64_t offset, std::uint64_t value, unsigned size) {
    if (bytes.size() < offset + size)
        bytes.resize(offset + size);
    std::memcpy(bytes.data() + offset, &value, size);
}

void KernelBoot::add(std::uint64_t address, std::vector<std::uint8_t> bytes) {
    owned.push_back(std::make_unique<std::vector<std::uint8_t>>(std::move(bytes)));
    pieces.push_back({address, *owned.back(), 0});
}

void FileMapping::forget(std::span<const std::uint8_t> part) const {
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto start = (reinterpret_cast<std::uintptr_t>(part.data()) + page - 1) & ~(page - 1);
    const auto end = reinterpret_cast<std::uintptr_t>(part.data() + part.size()) & ~(page - 1);
    if (part.data() >= data_ && part.data() + part.size() <= data_ + size_ && start < end)
        ::madvise(reinterpret_cast<void *>(start), end - start, MADV_DONTNEED);
}

void KernelBoot::write_to(core::AddressSpace &memory) const {
    static constexpr std::uint8_t kZeros[4096] = {};
    constexpr std::size_t kChunk = 1u << 20; // so much of a file is resident beside its copy
    for (const Piece &piece : pieces) {
        for (std::size_t done = 0; done < piece.bytes.size(); done += kChunk) {
            const auto chunk = piece.bytes.subspan(done, std::min(kChunk, piece.bytes.size() - done));
            memory.write(piece.address + done, chunk.data(), chunk.size());
            for (const auto &mapping : mappings)
                mapping->forget(chunk);
        }
        std::uint64_t at = piece.address + piece.bytes.size();
        for (std::uint64_t left = piece.zero_after; left;) {
            const std::uint64_t chunk = std::min<std::uint64_t>(left, sizeof kZeros);
            memory.write(at, kZeros, chunk);
            at += chunk;
            left -= chunk;
        }
    }
}

std::vector<E820Entry> memory_map(const RamLayout &ram) {
    std::vector<E820Entry> map{{0, kEbdaAddress, E820::kRam},
                               {kEbdaAddress, 0xa0000 - kEbdaAddress, E820::kReserved},
                               {0xf0000, 0x10000, E820::kReserved},
                               {0x100000, ram.low - 0x100000 - kAcpiSize, E820::kRam},
                               {ram.low - kAcpiSize, kAcpiSize, E820::kAcpi},
                               {0xfffc0000, 0x40000, E820::kReserved}};
    if (ram.high)
        map.push_back({1ull << 32, ram.high, E820::kRam});
    return map;
}

util::Result<std::uint64_t> place_initrd(KernelBoot &boot, const KernelRequest &request, std::uint64_t min_address,
                                         std::uint64_t max_address, std::uint64_t &size) {
    size = 0;
    if (request.initrd.empty())
        return 0;
    auto file = FileMapping::open(request.initrd, "-initrd");
    if (!file)
        return util::fail(file.error());
    size = (*file)->bytes().size();
    const std::uint64_t top = std::min(request.ram.low - kAcpiSize, max_address + 1);
    if (size > top || ((top - size) & ~0xfffull) < min_address)
        return util::fail("-initrd: '{}' ({} KiB) does not fit into guest memory below {} MiB beside the kernel: use a larger -m",
                          request.initrd, size / 1024, top >> 20);
    const std::uint64_t address = (top - size) & ~0xfffull;
    boot.pieces.push_back({address, (*file)->bytes(), 0});
    boot.mappings.push_back(std::move(*file));
    return address;
}

std::uint64_t place_common(KernelBoot &boot, const KernelRequest &request) {
    std::uint64_t rsdp = request.ram.low - kAcpiSize;
    acpi::Blob tables = request.acpi_tables(rsdp);
    std::vector<std::uint8_t> ebda(0x400, 0);
    ebda[0] = 1;
    if (tables.bytes.empty()) {
        rsdp = 0;
    } else {
        // Kernels that do not take the address from us look for it in the EBDA.
        std::copy_n(tables.bytes.begin(), 36, ebda.begin() + 0x10);
        boot.add(rsdp, std::move(tables.bytes));
    }
    boot.add(kEbdaAddress, std::move(ebda));
    boot.add(0x40e, {static_cast<std::uint8_t>(kEbdaAddress >> 4), static_cast<std::uint8_t>(kEbdaAddress >> 12)});

    std::vector<std::uint8_t> command_line(request.append.begin(), request.append.end());
    command_line.push_back(0);
    boot.add(kCommandLineAddress, std::move(command_line));
    return rsdp;
}

util::Result<KernelBoot> load_kernel(const KernelRequest &request) {
    auto file = FileMapping::open(request.kernel, "-kernel");
    if (!file)
        return util::fail(file.error());
    if (request.ram.low < (4u << 20))
        return util::fail("-kernel needs at least 4 MiB of guest memory: use a larger -m");
    if (request.append.size() >= kCommandLineMax)
        return util::fail("-append: a command line of {} bytes is too long; {} is the most", request.append.size(), kCommandLineMax - 1);
    const auto bytes = (*file)->bytes();
    if (bytes.size() >= 4 && std::memcmp(bytes.data(), "\x7f" "ELF", 4) == 0)
        return load_pvh(request, std::move(*file));
    if (field(bytes, 0x202, 4) == 0x53726448) // "HdrS"
        return load_bzimage(request, std::move(*file));
    return util::fail("-kernel: '{}' is neither a Linux bzImage nor an ELF kernel with a PVH note", request.kernel);
}

} // namespace rhea::hw::pc
