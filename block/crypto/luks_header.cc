// The LUKS header as a plain value.
#include <algorithm>
#include <cerrno>

#include "block/crypto/luks.h"
#include "block/format/bytes.h"

namespace rhea::block::crypto {

namespace {

// Offsets of fields (specification, figure 1).
enum Field : std::size_t {
    kVersionAt = 6,
    kCipherNameAt = 8,
    kCipherModeAt = 40,
    kHashAt = 72,
    kPayloadAt = 104,
    kKeyBytesAt = 108,
    kDigestAt = 112,
    kDigestSaltAt = 132,
    kDigestIterationsAt = 164,
    kUuidAt = 168,
    kSlotsAt = 208,
};
constexpr std::size_t kSlotBytes = 48, kNameBytes = 32, kUuidBytes = 40;
constexpr std::size_t kSlotIterationsAt = 4, kSlotSaltAt = 8, kSlotSectorAt = 40, kSlotStripesAt = 44;
constexpr std::uint32_t kSlotActive = 0x00ac71f3, kSlotDead = 0x0000dead;
constexpr std::uint8_t kMagic[6] = {'L', 'U', 'K', 'S', 0xba, 0xbe};

class Parser {
public:
    Parser(ByteSpan bytes, std::uint64_t at, std::uint64_t area, const std::string &filename)
        : bytes_(bytes), at_(at), area_(area), filename_(filename) {}

    Result<LuksHeader> parse() {
        if (bytes_.size() < kLuksHeaderBytes)
            return util::fail(util::Error("{}: the LUKS header at offset {} has {} bytes; it must have at least {}", filename_, at_,
                                          bytes_.size(), kLuksHeaderBytes).with_code(EINVAL));
        LuksHeader h;
        if (auto done = fixed_fields(h); !done)
            return util::fail(done.error());
        for (std::size_t i = 0; i < kLuksSlots; ++i)
            if (auto done = slot(h, i); !done)
                return util::fail(done.error());
        if (auto done = check_cost(h); !done)
            return util::fail(done.error());
        return h;
    }

private:
    template <typename... Parts>
    util::Failure refuse(int code, std::size_t field, fmt::format_string<Parts...> format, Parts &&...parts) const {
        return util::fail(util::Error("{}: LUKS header: {} (field at offset {})", filename_, fmt::vformat(format, fmt::make_format_args(parts...)),
                                      at_ + field).with_code(code));
    }
    std::uint32_t u32(std::size_t field) const { return load_be32(&bytes_[field]); }
    /// A name from a file, with nothing in it that a terminal would obey.
    std::string text(std::size_t field, std::size_t size) const {
        const char *begin = reinterpret_cast<const char *>(&bytes_[field]);
        std::string value(begin, strnlen(begin, size));
        std::ranges::replace_if(value, [](char c) { return c < 0x20 || c > 0x7e; }, '?');
        return value;
    }
    Result<void> fixed_fields(LuksHeader &h) const;
    Result<void> slot(LuksHeader &h, std::size_t i) const;
    Result<void> check_cost(const LuksHeader &h) const;

    ByteSpan bytes_;
    std::uint64_t at_, area_;
    const std::string &filename_;
};

Result<void> Parser::fixed_fields(LuksHeader &h) const {
    if (!std::equal(std::begin(kMagic), std::end(kMagic), bytes_.begin()))
        return refuse(EINVAL, 0, "the magic number is missing");
    if (const unsigned version = load_be16(&bytes_[kVersionAt]); version != 1)
        return refuse(ENOTSUP, kVersionAt, "version {} is not supported; 1 is", version);
    const std::string name = text(kCipherNameAt, kNameBytes), mode = text(kCipherModeAt, kNameBytes), hash = text(kHashAt, kNameBytes);
    if (!is_luks_cipher(name))
        return refuse(ENOTSUP, kCipherNameAt, "the cipher '{}' is not supported; aes, cast5, serpent and twofish are", name);
    if (!parse_luks_cipher_mode(mode, h.cipher))
        return refuse(ENOTSUP, kCipherModeAt, "the cipher mode '{}' is not supported; it must be one of {}, a hyphen, one of {}, and perhaps a "
                      "colon and one of {}", mode, cipher_mode_names(), iv_generator_names(), hash_names());
    const auto known = find_hash(hash);
    if (!known)
        return refuse(ENOTSUP, kHashAt, "the hash '{}' is not supported; {} are", hash, hash_names());
    h.hash = *known;
    const std::uint32_t key_bytes = u32(kKeyBytesAt);
    const auto cipher = find_luks_cipher(name, key_bytes, h.cipher.mode == CipherMode::kXts);
    if (!cipher)
        return refuse(ENOTSUP, kKeyBytesAt, "the key has {} bytes, which is no size of {} in {}", key_bytes, name, mode);
    h.cipher.cipher = *cipher;
    if (auto ok = check_cipher(h.cipher); !ok)
        return refuse(ENOTSUP, kCipherModeAt, "{}", ok.error().message());
    h.payload_sector = u32(kPayloadAt);
    if (h.payload_offset() < kLuksHeaderBytes)
        return refuse(EINVAL, kPayloadAt, "the payload begins at sector {}, inside the header", h.payload_sector);
    h.digest_iterations = u32(kDigestIterationsAt);
    if (h.digest_iterations == 0)
        return refuse(EINVAL, kDigestIterationsAt, "the master key digest has 0 iterations");
    std::copy_n(&bytes_[kDigestAt], kLuksDigestBytes, h.digest.begin());
    std::copy_n(&bytes_[kDigestSaltAt], kLuksSaltBytes, h.digest_salt.begin());
    h.uuid = text(kUuidAt, kUuidBytes);
    return {};
}

Result<void> Parser::slot(LuksHeader &h, std::size_t i) const {
    const std::size_t at = kSlotsAt + i * kSlotBytes;
    LuksHeader::Slot &slot = h.slots[i];
    const std::uint32_t state = u32(at);
    if (state != kSlotActive && state != kSlotDead)
        return refuse(EINVAL, at, "key slot {} is neither active nor empty ({:#x})", i, state);
    slot.active = state == kSlotActive;
    slot.iterations = u32(at + kSlotIterationsAt);
    slot.sector = u32(at + kSlotSectorAt);
    std::copy_n(&bytes_[at + kSlotSaltAt], kLuksSaltBytes, slot.salt.begin());
    if (const std::uint32_t stripes = u32(at + kSlotStripesAt); stripes != kLuksStripes)
        return refuse(EINVAL, at + kSlotStripesAt, "key slot {} has {} stripes; it must have {}", i, stripes, kLuksStripes);
    if (slot.active && slot.iterations == 0)
        return refuse(EINVAL, at + kSlotIterationsAt, "key slot {} has 0 iterations", i);
    const std::uint64_t from = slot.sector * std::uint64_t{SectorCipher::kSector}, size = h.material_bytes();
    if (from < kLuksHeaderBytes)
        return refuse(EINVAL, at + kSlotSectorAt, "the key material of slot {} begins at sector {}, inside the header", i, slot.sector);
    if (from + size > h.payload_offset())
        return refuse(EINVAL, at + kSlotSectorAt, "the key material of slot {} from {} to {} reaches into the payload at {}", i, from, from + size,
                      h.payload_offset());
    if (from + size > area_)
        return refuse(EINVAL, at + kSlotSectorAt, "the key material of slot {} from {} to {} lies beyond the header's end at {}", i, from, from + size,
                      area_);
    for (std::size_t other = 0; other < i; ++other) {
        const std::uint64_t there = h.slots[other].sector * std::uint64_t{SectorCipher::kSector};
        if (from < there + size && there < from + size)
            return refuse(EINVAL, at + kSlotSectorAt, "the key material of slot {} overlaps that of slot {}", i, other);
    }
    return {};
}

Result<void> Parser::check_cost(const LuksHeader &h) const {
    std::uint64_t rounds = 0;
    for (const LuksHeader::Slot &slot : h.slots)
        if (slot.active)
            rounds += std::uint64_t{slot.iterations} + h.digest_iterations;
    if (rounds > kMaxLuksIterations)
        return refuse(E2BIG, kDigestIterationsAt, "trying a passphrase on all key slots takes {} iterations; at most {} are done", rounds,
                      kMaxLuksIterations);
    return {};
}

} // namespace

Result<LuksHeader> parse_luks_header(ByteSpan bytes, std::uint64_t at, std::uint64_t area, const std::string &filename) {
    return Parser(bytes, at, area, filename).parse();
}

std::vector<std::uint8_t> serialise_luks_header(const LuksHeader &h) {
    std::vector<std::uint8_t> out(kLuksHeaderBytes);
    const auto text = [&out](std::size_t at, std::string_view value) { std::ranges::copy(value, out.begin() + static_cast<std::ptrdiff_t>(at)); };
    std::ranges::copy(kMagic, out.begin());
    store_be16(&out[kVersionAt], 1);
    text(kCipherNameAt, luks_cipher(h.cipher));
    text(kCipherModeAt, luks_cipher_mode(h.cipher));
    text(kHashAt, hash_name(h.hash));
    store_be32(&out[kPayloadAt], h.payload_sector);
    store_be32(&out[kKeyBytesAt], static_cast<std::uint32_t>(h.key_bytes()));
    std::ranges::copy(h.digest, &out[kDigestAt]);
    std::ranges::copy(h.digest_salt, &out[kDigestSaltAt]);
    store_be32(&out[kDigestIterationsAt], h.digest_iterations);
    text(kUuidAt, std::string_view(h.uuid).substr(0, kUuidBytes - 1));
    for (std::size_t i = 0; i < kLuksSlots; ++i) {
        std::uint8_t *at = &out[kSlotsAt + i * kSlotBytes];
        const LuksHeader::Slot &slot = h.slots[i];
        store_be32(at, slot.active ? kSlotActive : kSlotDead);
        store_be32(at + kSlotIterationsAt, slot.iterations);
        std::ranges::copy(slot.salt, at + kSlotSaltAt);
        store_be32(at + kSlotSectorAt, slot.sector);
        store_be32(at + kSlotStripesAt, kLuksStripes);
    }
    return out;
}

std::vector<NodeInfo::Detail> luks_details(const LuksHeader &h) {
    std::string uuid; // of characters that need no quoting
    for (const char c : h.uuid)
        uuid += c == '"' || c == '\\' ? '?' : c;
    std::string slots;
    for (const LuksHeader::Slot &slot : h.slots) {
        slots += slots.empty() ? "" : ", ";
        slots += fmt::format(R"({{"active": {}, )", slot.active);
        if (slot.active)
            slots += fmt::format(R"("iters": {}, )", slot.iterations);
        slots += fmt::format(R"("key-offset": {})", std::uint64_t{slot.sector} * SectorCipher::kSector);
        slots += slot.active ? fmt::format(R"(, "stripes": {}}})", kLuksStripes) : "}";
    }
    const auto quoted = [](std::string_view text) { return fmt::format("\"{}\"", text); };
    std::vector<NodeInfo::Detail> details{{"ivgen alg", quoted(name_of(h.cipher.iv))},
                                          {"hash alg", quoted(hash_name(h.hash))},
                                          {"cipher alg", quoted(name_of(h.cipher.cipher))},
                                          {"uuid", quoted(uuid)}};
    if (h.cipher.iv == IvGenerator::kEssiv)
        details.push_back({"ivgen hash alg", quoted(hash_name(*h.cipher.iv_hash))});
    details.push_back({"cipher mode", quoted(name_of(h.cipher.mode))});
    details.push_back({"slots", "[" + slots + "]"});
    details.push_back({"payload offset", std::to_string(h.payload_offset())});
    details.push_back({"master key iters", std::to_string(h.digest_iterations)});
    return details;
}

std::string luks_json(const LuksHeader &header) {
    std::string text = "{";
    for (NodeInfo::Detail &detail : luks_details(header)) {
        std::ranges::replace(detail.key, ' ', '-');
        text += fmt::format(R"("{}": {}, )", detail.key, detail.json);
        if (detail.key == "uuid")
            text += R"("format": "luks", )";
    }
    text.resize(text.size() - 2);
    return text + "}";
}

} // namespace rhea::block::crypto
