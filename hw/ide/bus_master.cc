// IDE channel: the bus master, its registers and its table of physical region descriptors (PRDs).
#include "hw/ide/ide_channel.h"

namespace rhea::hw {

namespace {
constexpr std::uint32_t kPrdSize = 8, kEndOfTable = 1u << 31;
/// "The descriptor table must not cross a 64K boundary in memory" (82371SB, 2.6.2).
constexpr std::uint32_t kTableLimit = 0x10000;

std::uint32_t word(const std::uint8_t *bytes) {
    return bytes[0] | static_cast<std::uint32_t>(bytes[1]) << 8 | static_cast<std::uint32_t>(bytes[2]) << 16 |
           static_cast<std::uint32_t>(bytes[3]) << 24;
}
} // namespace

void IdeChannel::add_bus_master_registers(core::RegisterBank &bank) {
    const core::hwaddr base = number_ * 8u;
    bank.add({.offset = base,
              .name = number_ ? "BMICS" : "BMICP",
              .on_read = [this](std::uint64_t) { return std::uint64_t{bm_command_}; },
              .write_value = [this](std::uint64_t, std::uint64_t value) {
                  write_bus_master_command(static_cast<std::uint8_t>(value));
                  return std::uint64_t{bm_command_};
              }});
    bank.add({.offset = base + 2,
              .name = number_ ? "BMISS" : "BMISP",
              .on_read = [this](std::uint64_t) { return std::uint64_t{bm_status_}; },
              .write_value = [this](std::uint64_t, std::uint64_t value) {
                  // Error and interrupt go away where a one is written; what drives can do is the host's to note.
                  const auto cleared = static_cast<std::uint8_t>(value & (kBmError | kBmInterrupt));
                  bm_status_ = static_cast<std::uint8_t>((bm_status_ & ~cleared & ~kBmDriveCapable) | (value & kBmDriveCapable));
                  return std::uint64_t{bm_status_};
              }});
    bank.add({.offset = base + 4,
              .size = 4,
              .name = number_ ? "BMIDTPS" : "BMIDTPP",
              .on_read = [this](std::uint64_t) { return std::uint64_t{bm_table_}; },
              .write_value = [this](std::uint64_t, std::uint64_t value) {
                  bm_table_ = static_cast<std::uint32_t>(value) & ~3u;
                  return std::uint64_t{bm_table_};
              }});
}

void IdeChannel::write_bus_master_command(std::uint8_t value) {
    const bool was_started = bm_command_ & kBmStart;
    bm_command_ = value & (kBmStart | kBmToMemory);
    const bool started = bm_command_ & kBmStart;
    if (started && !was_started) {
        bm_status_ |= kBmActive;
        dma_ready();
    } else if (!started && was_started) {
        bm_status_ &= static_cast<std::uint8_t>(~kBmActive);
        for (unsigned unit = 0; unit < kDrives; ++unit) {
            if (AtaDrive *const drive = disk(unit))
                drive->cancel_dma();
        }
    }
}

void IdeChannel::dma_ready() {
    AtaDrive *const drive = selected();
    if (drive && drive->wants_dma() && (bm_command_ & kBmStart) && (bm_status_ & kBmActive))
        drive->run_dma();
}

IdeHost::Segments IdeChannel::dma_segments(std::uint64_t bytes) {
    Segments segments;
    std::uint32_t at = bm_table_;
    for (bool last = false; segments.bytes < bytes && !last;) {
        std::uint8_t entry[kPrdSize];
        if (!controller_.read_memory(at, entry, sizeof entry)) {
            segments.failed = true;
            return segments;
        }
        const std::uint32_t flags = word(entry + 4), length = (flags & 0xfffe) ? flags & 0xfffe : 0x10000;
        const std::uint64_t used = std::min<std::uint64_t>(length, bytes - segments.bytes);
        segments.list.push_back({word(entry) & ~1u, static_cast<std::uint32_t>(used)});
        segments.bytes += used;
        at += kPrdSize;
        last = (flags & kEndOfTable) || at % kTableLimit < kPrdSize;
        segments.exhausted = last && used == length;
    }
    return segments;
}

bool IdeChannel::dma_read(const Segments &from, std::uint8_t *to) {
    for (const Segment &segment : from.list) {
        if (!controller_.read_memory(segment.address, to, segment.length))
            return false;
        to += segment.length;
    }
    return true;
}

bool IdeChannel::dma_write(const Segments &to, const std::uint8_t *from) {
    for (const Segment &segment : to.list) {
        if (!controller_.write_memory(segment.address, from, segment.length))
            return false;
        from += segment.length;
    }
    return true;
}

void IdeChannel::dma_end(bool exhausted, bool failed) {
    if (exhausted)
        bm_status_ &= static_cast<std::uint8_t>(~kBmActive);
    if (failed)
        bm_status_ |= kBmError;
}

} // namespace rhea::hw
