#include "hw/ide/ata_identify.h"

#include "hw/ide/ata.h"

namespace rhea::hw {
namespace {

class Words {
public:
    void set(unsigned word, std::uint64_t value) {
        bytes_[word * 2] = static_cast<std::uint8_t>(value);
        bytes_[word * 2 + 1] = static_cast<std::uint8_t>(value >> 8);
    }
    void set(unsigned word, unsigned words, std::uint64_t value) {
        for (unsigned i = 0; i < words; ++i)
            set(word + i, value >> (16 * i) & 0xffff);
    }
    /// The first character of each pair is in the high byte; padded with spaces.
    void text(unsigned word, unsigned words, const std::string &text) {
        for (unsigned i = 0; i < words * 2; ++i) {
            const char c = i < text.size() ? text[i] : ' ';
            bytes_[(word * 2 + i) ^ 1] = static_cast<std::uint8_t>(c);
        }
    }
    /// Word 255: a signature, and what makes the sum of all bytes zero.
    std::array<std::uint8_t, 512> finish() {
        bytes_[510] = 0xa5;
        std::uint8_t sum = 0;
        for (unsigned i = 0; i < 511; ++i)
            sum = static_cast<std::uint8_t>(sum + bytes_[i]);
        bytes_[511] = static_cast<std::uint8_t>(-sum);
        return bytes_;
    }

private:
    std::array<std::uint8_t, 512> bytes_{};
};

/// Words 82 to 84 say what there is; 85 to 87, in the same bits, what is switched on.
constexpr std::uint16_t kSmartBit = 1u << 0, kPowerBit = 1u << 3, kWriteCacheBit = 1u << 5, kLookAheadBit = 1u << 6, kNopBit = 1u << 14;
constexpr std::uint16_t kPacketBit = 1u << 4, kDeviceResetBit = 1u << 9;
constexpr std::uint16_t kLba48Bit = 1u << 10, kFlushBit = 1u << 12, kFlushExtBit = 1u << 13, kValidBit = 1u << 14;
constexpr std::uint16_t kSmartLogBit = 1u << 0, kFuaBit = 1u << 6, kWwnBit = 1u << 8;

void command_sets(Words &words, const AtaIdentity &identity, const AtaSettings &settings) {
    const std::uint16_t always = kPowerBit | kNopBit;
    words.set(82, always | kSmartBit | kWriteCacheBit | kLookAheadBit);
    words.set(85, always | (settings.smart ? kSmartBit : 0) | (settings.write_cache ? kWriteCacheBit : 0) |
                      (settings.look_ahead ? kLookAheadBit : 0));
    words.set(83, kLba48Bit | kFlushBit | kFlushExtBit | kValidBit);
    words.set(86, kLba48Bit | kFlushBit | kFlushExtBit);
    const std::uint16_t extensions = kSmartLogBit | kFuaBit | kValidBit | (identity.wwn ? kWwnBit : 0);
    words.set(84, extensions);
    words.set(87, extensions);
}

/// Names, and what a driver wants to know of transfer modes.
void common_words(Words &words, const AtaIdentity &identity, const AtaSettings &settings) {
    words.text(10, 10, identity.serial);
    words.text(23, 4, identity.firmware);
    words.text(27, 20, identity.model);
    words.set(49, 1u << 8 | 1u << 9 | 1u << 11); // DMA, LBA, IORDY
    words.set(50, 1u << 14);
    words.set(53, 7); // words 54 to 58, 64 to 70 and 88 are valid
    words.set(63, 7u | (settings.multiword_mode <= kAtaMaxMultiwordMode ? 0x100u << settings.multiword_mode : 0u));
    words.set(64, 3); // PIO modes 3 and 4
    for (unsigned word = 65; word <= 68; ++word)
        words.set(word, 120); // ns a cycle
    words.set(80, 0x00f0);    // ATA/ATAPI-4 to 7
    words.set(88, 0x3fu | (settings.ultra_mode <= kAtaMaxUltraMode ? 0x100u << settings.ultra_mode : 0u));
    words.set(93, 1u << 14 | 1u << 13 | 1); // 80 wires
    for (unsigned i = 0; i < 4; ++i)        // the most significant word first
        words.set(108 + i, identity.wwn >> (48 - 16 * i) & 0xffff);
}

} // namespace

bool choose_transfer_mode(AtaSettings &settings, std::uint8_t count) {
    const unsigned kind = count >> 3;
    const std::uint8_t mode = count & 7;
    constexpr unsigned kPioDefault = 0, kPio = 1, kMultiword = 4, kUltra = 8;
    const bool valid = kind == kPioDefault  ? mode <= 1
                       : kind == kPio       ? mode <= kAtaMaxPioMode
                       : kind == kMultiword ? mode <= kAtaMaxMultiwordMode
                                            : kind == kUltra && mode <= kAtaMaxUltraMode;
    // Multiword and Ultra DMA exclude each other; PIO modes leave them.
    if (valid && (kind == kMultiword || kind == kUltra)) {
        settings.multiword_mode = kind == kMultiword ? mode : 0xff;
        settings.ultra_mode = kind == kUltra ? mode : 0xff;
    }
    return valid;
}

std::array<std::uint8_t, 512> ata_identify_packet(const AtaIdentity &identity, const AtaSettings &settings) {
    Words words;
    common_words(words, identity, settings);
    words.set(0, 2u << 14 | 5u << 8 | 1u << 7 | 2u << 5); // packets of 12 bytes within 50 us, a CD-ROM, removable
    const std::uint16_t commands = kPowerBit | kPacketBit | kDeviceResetBit | kNopBit;
    const std::uint16_t extensions = kValidBit | (identity.wwn ? kWwnBit : 0);
    words.set(82, commands);
    words.set(83, kValidBit);
    words.set(84, extensions);
    words.set(85, commands);
    words.set(87, extensions);
    return words.finish();
}

std::array<std::uint8_t, 512> ata_identify(const AtaIdentity &identity, const AtaSettings &settings) {
    Words words;
    common_words(words, identity, settings);
    words.set(0, 0x0040); // a fixed ATA device
    words.set(1, identity.geometry.cylinders);
    words.set(3, identity.geometry.heads);
    words.set(6, identity.geometry.sectors);
    words.set(47, 0x8000 | kAtaMaxMultiple);
    words.set(51, 0x0200);
    words.set(54, settings.geometry.cylinders);
    words.set(55, settings.geometry.heads);
    words.set(56, settings.geometry.sectors);
    words.set(57, 2, settings.geometry.total());
    words.set(59, settings.multiple ? 0x0100u | settings.multiple : 0u);
    words.set(60, 2, std::min<std::uint64_t>(identity.sectors, ata::kLba28Limit - 1));
    command_sets(words, identity, settings);
    words.set(100, 4, identity.sectors);
    if (identity.trim) {
        words.set(105, kAtaMaxTrimBlocks);
        words.set(169, 1);
    }
    words.set(106, 1u << 14 | (identity.physical_sector_shift ? 1u << 13 | identity.physical_sector_shift : 0u));
    words.set(217, identity.rotation_rate);
    return words.finish();
}

} // namespace rhea::hw
