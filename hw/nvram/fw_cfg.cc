#include "hw/nvram/fw_cfg.h"

#include <algorithm>
#include <array>

#include "rhea/util/log.h"

namespace rhea::hw {

using namespace fw_cfg_key;

namespace {

constexpr core::hwaddr kSelectorPort = 0x510;
constexpr core::hwaddr kDmaPort = 0x514;
constexpr core::hwaddr kDataOffset = 1;
constexpr core::hwaddr kDmaLowOffset = 4;

constexpr std::uint32_t kIdTraditional = 1u << 0;
constexpr std::uint32_t kIdDma = 1u << 1;
/// Of keys; the write channel of old versions, which has no effect any more.
constexpr std::uint16_t kWriteChannel = 0x4000;
constexpr std::uint16_t kLastFile = 0x3fff;
constexpr std::size_t kNameSize = 56;  ///< in a directory entry, with the terminating zero

// Control field of a DMA access
constexpr std::uint32_t kDmaError = 1u << 0;
constexpr std::uint32_t kDmaRead = 1u << 1;
constexpr std::uint32_t kDmaSkip = 1u << 2;
constexpr std::uint32_t kDmaSelect = 1u << 3;
constexpr std::uint32_t kDmaWrite = 1u << 4;
constexpr std::size_t kDmaAccessSize = 16;

/// "QEMU CFG": what the DMA address register reads as, big endian.
constexpr std::array<std::uint32_t, 2> kDmaSignature = {0x51454d55, 0x20434647};

constexpr std::size_t kMaxWritable = 1u << 20;

std::uint32_t swap(std::uint32_t value) {
    return __builtin_bswap32(value);
}

std::uint32_t big_endian(const std::uint8_t* bytes) {
    return static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
           static_cast<std::uint32_t>(bytes[2]) << 8 | bytes[3];
}

void append_big_endian(FwCfg::Bytes& to, std::uint32_t value, unsigned size) {
    for (unsigned i = size; i-- > 0;) {
        to.push_back(static_cast<std::uint8_t>(value >> i * 8));
    }
}

FwCfg::Bytes little_endian(std::uint64_t value, unsigned size) {
    FwCfg::Bytes bytes;
    for (unsigned i = 0; i < size; ++i) {
        bytes.push_back(static_cast<std::uint8_t>(value >> i * 8));
    }
    return bytes;
}

}  // namespace

FwCfg::FwCfg(core::AddressSpace& memory)
    : memory_(memory),
      data_region_(core::MemoryRegion::io("fw_cfg", 2, data_ports_, {.min = 1, .max = 2})),
      dma_region_(core::MemoryRegion::io("fw_cfg-dma", 8, dma_ports_,
                                         {.min = 4, .max = 4, .unaligned = false})) {
    set_item(kSignature, {'Q', 'E', 'M', 'U'});
    set_u32(kId, kIdTraditional | kIdDma);
    items_[kFileDirectory].generate = [this] { return make_directory(); };
}

void FwCfg::map(core::MemoryRegion& io_root) {
    io_root.add(kSelectorPort, *data_region_);
    io_root.add(kDmaPort, *dma_region_);
}

void FwCfg::set_item(std::uint16_t key, Bytes bytes) {
    Item item;
    item.bytes = std::move(bytes);
    items_[key & static_cast<std::uint16_t>(~kWriteChannel)] = std::move(item);
}

void FwCfg::set_u16(std::uint16_t key, std::uint16_t value) {
    set_item(key, little_endian(value, 2));
}

void FwCfg::set_u32(std::uint16_t key, std::uint32_t value) {
    set_item(key, little_endian(value, 4));
}

void FwCfg::set_u64(std::uint16_t key, std::uint64_t value) {
    set_item(key, little_endian(value, 8));
}

void FwCfg::set_string(std::uint16_t key, std::string_view text) {
    Bytes bytes(text.begin(), text.end());
    bytes.push_back(0);
    set_item(key, std::move(bytes));
}

util::Result<void> FwCfg::add_item(std::string_view name, Item item) {
    if (name.empty() || name.size() >= kNameSize) {
        return util::fail("fw_cfg: the name '{}' has {} bytes; 1 to {} are possible", name,
                          name.size(), kNameSize - 1);
    }
    if (files_.contains(name)) {
        return util::fail("fw_cfg: there is a file '{}' already", name);
    }
    const std::size_t key = kFirstFile + files_.size();
    if (key > kLastFile) {
        return util::fail("fw_cfg: no room for the file '{}'", name);
    }
    files_.emplace(name, static_cast<std::uint16_t>(key));
    items_[static_cast<std::uint16_t>(key)] = std::move(item);
    return {};
}

util::Result<void> FwCfg::add_file(std::string_view name, Bytes bytes) {
    Item item;
    item.bytes = std::move(bytes);
    return add_item(name, std::move(item));
}

util::Result<void> FwCfg::add_file(std::string_view name, Generator generate) {
    Item item;
    item.generate = std::move(generate);
    return add_item(name, std::move(item));
}

util::Result<void> FwCfg::add_writable_file(std::string_view name, Bytes bytes,
                                            WriteHandler on_write) {
    if (bytes.size() > kMaxWritable) {
        return util::fail("fw_cfg: the writable file '{}' is larger than {} bytes", name,
                          kMaxWritable);
    }
    Item item;
    item.bytes = std::move(bytes);
    item.on_write = std::move(on_write);
    item.writable = true;
    return add_item(name, std::move(item));
}

std::uint16_t FwCfg::file_key(std::string_view name) const {
    const auto found = files_.find(name);
    return found == files_.end() ? std::uint16_t{0} : found->second;
}

const FwCfg::Bytes* FwCfg::file(std::string_view name) const {
    const std::uint16_t key = file_key(name);
    return key == 0 ? nullptr : &items_.at(key).bytes;
}

/// Count, then for each file its size, key, a reserved word and its name.
FwCfg::Bytes FwCfg::make_directory() {
    Bytes directory;
    append_big_endian(directory, static_cast<std::uint32_t>(files_.size()), 4);
    for (const auto& [name, key] : files_) {
        Item& item = items_[key];
        if (item.generate) {
            item.bytes = item.generate();
        }
        append_big_endian(directory, static_cast<std::uint32_t>(item.bytes.size()), 4);
        append_big_endian(directory, key, 2);
        append_big_endian(directory, 0, 2);
        directory.insert(directory.end(), name.begin(), name.end());
        directory.insert(directory.end(), kNameSize - name.size(), 0);
    }
    return directory;
}

FwCfg::Item* FwCfg::selected() {
    const auto found = items_.find(key_);
    return found == items_.end() ? nullptr : &found->second;
}

void FwCfg::select(std::uint16_t key) {
    key_ = key & static_cast<std::uint16_t>(~kWriteChannel);
    offset_ = 0;
    if (Item* item = selected()) {
        if (item->generate) {
            item->bytes = item->generate();
        }
    } else {
        util::log_write(util::kLogGuestErrors, "fw_cfg: item {:#x} does not exist\n", key_);
    }
}

std::uint8_t FwCfg::read_byte() {
    const Item* item = selected();
    return item && offset_ < item->bytes.size() ? item->bytes[offset_++] : std::uint8_t{0};
}

std::uint64_t FwCfg::DataPorts::io_read(core::hwaddr offset, unsigned size) {
    return offset == kDataOffset && size == 1 ? owner_.read_byte() : 0;
}

void FwCfg::DataPorts::io_write(core::hwaddr offset, std::uint64_t value, unsigned size) {
    // Data writes had an effect in old versions only.
    if (offset == 0 && size == 2) {
        owner_.select(static_cast<std::uint16_t>(value));
    }
}

std::uint64_t FwCfg::DmaPorts::io_read(core::hwaddr offset, unsigned) {
    return swap(kDmaSignature[offset >= kDmaLowOffset ? 1 : 0]);
}

void FwCfg::DmaPorts::io_write(core::hwaddr offset, std::uint64_t value, unsigned) {
    const std::uint32_t word = swap(static_cast<std::uint32_t>(value));
    if (offset < kDmaLowOffset) {
        owner_.dma_address_high_ = word;
        return;
    }
    // The low half starts the access.
    const core::hwaddr address = static_cast<core::hwaddr>(owner_.dma_address_high_) << 32 | word;
    owner_.dma_address_high_ = 0;
    owner_.run_dma(address);
}

void FwCfg::run_dma(core::hwaddr control_address) {
    std::array<std::uint8_t, kDmaAccessSize> access{};
    bool good =
        memory_.read(control_address, access.data(), access.size()) == core::MemTxResult::kOk;
    if (good) {
        const std::uint32_t control = big_endian(access.data());
        const std::uint32_t length = big_endian(access.data() + 4);
        const core::hwaddr address = static_cast<core::hwaddr>(big_endian(access.data() + 8))
                                         << 32 |
                                     big_endian(access.data() + 12);
        if (control & kDmaSelect) {
            select(static_cast<std::uint16_t>(control >> 16));
        }
        if (control & kDmaRead) {
            good = dma_read(address, length);
        } else if (control & kDmaWrite) {
            good = dma_write(address, length);
        } else if (control & kDmaSkip) {
            skip(length);
        }
    }
    if (!good) {
        util::log_write(util::kLogGuestErrors, "fw_cfg: DMA access at {:#x} failed\n",
                        control_address);
    }
    // Cleared: done. The guest waits for it.
    const std::uint32_t result = swap(good ? 0 : kDmaError);
    memory_.write(control_address, &result, sizeof result);
}

/// Item to guest; behind the item's end the guest gets zeros.
bool FwCfg::dma_read(core::hwaddr address, std::uint64_t length) {
    if (address + length < address) {
        return false;
    }
    if (const Item* item = selected(); item && offset_ < item->bytes.size()) {
        const std::uint64_t part = std::min<std::uint64_t>(length, item->bytes.size() - offset_);
        if (memory_.write(address, item->bytes.data() + offset_, part) != core::MemTxResult::kOk) {
            return false;
        }
        offset_ += static_cast<std::uint32_t>(part);
        address += part;
        length -= part;
    }
    static constexpr std::array<std::uint8_t, 4096> kZeros{};
    while (length > 0) {
        const std::uint64_t part = std::min<std::uint64_t>(length, kZeros.size());
        if (memory_.write(address, kZeros.data(), part) != core::MemTxResult::kOk) {
            return false;
        }
        address += part;
        length -= part;
    }
    return true;
}

/// Guest to item: all of it must fit.
bool FwCfg::dma_write(core::hwaddr address, std::uint64_t length) {
    Item* item = selected();
    if (!item || !item->writable || offset_ > item->bytes.size() ||
        length > item->bytes.size() - offset_ || address + length < address) {
        return false;
    }
    Bytes incoming(length);
    if (memory_.read(address, incoming.data(), incoming.size()) != core::MemTxResult::kOk) {
        return false;
    }
    std::copy(incoming.begin(), incoming.end(),
              item->bytes.begin() + static_cast<std::ptrdiff_t>(offset_));
    const std::uint32_t at = offset_;
    offset_ += static_cast<std::uint32_t>(length);
    if (item->on_write) {
        item->on_write(item->bytes, at, incoming.size());
    }
    return true;
}

void FwCfg::skip(std::uint64_t length) {
    if (const Item* item = selected(); item && offset_ < item->bytes.size()) {
        offset_ += static_cast<std::uint32_t>(
            std::min<std::uint64_t>(length, item->bytes.size() - offset_));
    }
}

void FwCfg::reset() {
    dma_address_high_ = 0;
    key_ = kSignature;
    offset_ = 0;
}

void FwCfg::serialize(core::Archive& archive) {
    archive.field("key", key_);
    archive.field("offset", offset_);
    archive.field("dma_address_high", dma_address_high_);
    // Contents that the guest can change; all others are made again from the configuration. A
    // generated item that is selected goes on as it was.
    for (auto& [name, key] : files_) {
        Item& item = items_[key];
        if (!item.writable) {
            continue;
        }
        Bytes bytes = item.bytes;
        archive.bytes(name, bytes, kMaxWritable);
        if (archive.restoring()) {
            if (bytes.size() == item.bytes.size()) {
                item.bytes = std::move(bytes);
            } else if (archive.ok()) {
                archive.fail("the writable file '" + name + "' has another size");
            }
        }
    }
    if (archive.restoring()) {
        key_ &= static_cast<std::uint16_t>(~kWriteChannel);
        if (Item* item = selected(); item && item->generate) {
            item->bytes = item->generate();
        }
    }
}

}  // namespace rhea::hw
