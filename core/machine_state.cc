// A machine's state in an Archive: clocks, RAM, devices, vCPUs.
//
// RAM goes in chunks of 1 MiB; a chunk is a bitmap of its pages that are not zero, then those
// pages. A chunk of zeros is empty. So neither saving nor restoring touches memory that the guest
// never used, and no buffer is larger than a chunk.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "rhea/core/machine.h"
#include "rhea/core/machine_lock.h"

namespace rhea::core {
namespace {

constexpr std::uint64_t kChunkSize = 1ull << 20;
constexpr std::size_t kBitmapSize = kChunkSize / kPageSize / 8;

bool is_zero_page(const std::uint8_t* page) {
    return page[0] == 0 && std::memcmp(page, page + 1, kPageSize - 1) == 0;
}

std::vector<std::uint8_t> pack_chunk(const std::uint8_t* from, std::uint64_t size) {
    std::vector<std::uint8_t> packed;
    for (std::uint64_t offset = 0; offset < size; offset += kPageSize) {
        if (is_zero_page(from + offset)) {
            continue;
        }
        if (packed.empty()) {
            packed.resize(kBitmapSize);
        }
        const std::uint64_t page = offset / kPageSize;
        packed[page / 8] |= static_cast<std::uint8_t>(1u << page % 8);
        packed.insert(packed.end(), from + offset, from + offset + kPageSize);
    }
    return packed;
}

/// False: the bytes are not a chunk of that size.
bool unpack_chunk(const std::vector<std::uint8_t>& packed, std::uint8_t* to, std::uint64_t size) {
    std::size_t at = kBitmapSize;
    if (!packed.empty() && packed.size() < kBitmapSize) {
        return false;
    }
    for (std::uint64_t offset = 0; offset < size; offset += kPageSize) {
        const std::uint64_t page = offset / kPageSize;
        if (!packed.empty() && (packed[page / 8] >> page % 8 & 1) != 0) {
            if (packed.size() - at < kPageSize) {
                return false;
            }
            std::memcpy(to + offset, packed.data() + at, kPageSize);
            at += kPageSize;
        } else if (!is_zero_page(to + offset)) {
            std::memset(to + offset, 0, kPageSize);
        }
    }
    return packed.empty() || at == packed.size();
}

void serialize_ram(Archive& archive, RamBlock& block) {
    std::uint64_t size = block.size();
    archive.field("size", size);
    if (size != block.size()) {
        archive.fail(
            fmt::format("the saved machine has {} bytes here, this one {}; start it with "
                        "the same -m and devices",
                        size, block.size()));
    }
    std::vector<std::uint8_t> packed;
    for (std::uint64_t offset = 0; offset < block.size() && archive.ok(); offset += kChunkSize) {
        const std::uint64_t length = std::min(kChunkSize, block.size() - offset);
        if (!archive.restoring()) {
            packed = pack_chunk(block.host() + offset, length);
        }
        archive.bytes(fmt::format("chunk[{}]", offset / kChunkSize), packed,
                      kBitmapSize + kChunkSize);
        if (archive.restoring() && archive.ok() &&
            !unpack_chunk(packed, block.host() + offset, length)) {
            archive.fail(fmt::format("the bytes of chunk {} are damaged", offset / kChunkSize));
        }
    }
    if (archive.restoring()) {
        block.notify_write(0, block.size());
    }
}

/// CPUs are what CPUID has told the guest: as many, grouped alike.
void check_topology(Archive& archive, const CpuTopology& cpus) {
    const std::string ours = fmt::format("{},sockets={},dies={},cores={},threads={}", cpus.count(), cpus.sockets, cpus.dies,
                                         cpus.cores, cpus.threads);
    std::string stored = ours;
    archive.field("smp", stored);
    if (stored != ours) {
        archive.fail(fmt::format("the saved machine was started with -smp {}, this one with -smp {}; use the same", stored, ours));
    }
}

/// What the machine consists of; restoring into another one is refused by name.
void check_devices(Archive& archive, const std::vector<std::unique_ptr<Device>>& devices) {
    std::string ours;
    for (const auto& device : devices) {
        ours += fmt::format("{} ({})\n", device->path(), device->type());
    }
    std::string stored = ours;
    archive.field("devices", stored);
    if (stored != ours) {
        archive.fail(
            fmt::format("the saved machine has other devices; it was saved with:\n{}this "
                        "machine has:\n{}start it with the same options",
                        stored, ours));
    }
}

}  // namespace

void Machine::serialize(Archive& archive, bool with_ram) {
    MachineLockGuard lock;
    if (running_) {
        tell_running(false);
    }
    archive.section("machine", 1, [&](Archive& section) {
        check_topology(section, config_.topology);
        check_devices(section, devices_);
        std::int64_t now = clocks_.virtual_ns();
        section.field("virtual_ns", now);
        if (section.restoring() && section.ok()) {
            clocks_.set_virtual_ns(now);
        }
    });
    if (with_ram && archive.mode() != Archive::Mode::kPrint) {
        for (const auto& block : ram_blocks_) {
            archive.section("ram/" + block->name(), 1,
                            [&](Archive& section) { serialize_ram(section, *block); });
        }
    }
    for (const auto& device : devices_) {
        archive.section("device/" + device->path(), device->serialize_version(),
                        [&](Archive& section) { device->serialize(section); });
    }
    for (const auto& vcpu : vcpus_) {
        archive.section(fmt::format("cpu/{}", vcpu->index()), 1,
                        [&](Archive& section) { vcpu->serialize(section); });
    }
    if (running_) {
        tell_running(true);
    }
}

}  // namespace rhea::core
