// The master key: getting it out of a LUKS header by a passphrase, and making a new header.
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "block/crypto/luks.h"
#include "block/format/bytes.h"
#include "block/format/uuid.h"
#include "rhea/block/secret.h"

namespace rhea::block::crypto {

namespace {

constexpr std::uint32_t kLeastIterations = 1000;          // as the specification recommends
constexpr std::uint32_t kFirstMaterialSector = 8;         // key material is aligned to 4 KiB
constexpr std::uint64_t kMaterialAlignment = 4096;

ByteSpan bytes_of(const std::string &text) { return {reinterpret_cast<const std::uint8_t *>(text.data()), text.size()}; }

/// Specification 2.4: each digest-sized piece is replaced by the hash of its number and itself.
void diffuse(Hash hash, std::span<std::uint8_t> block) {
    const std::size_t size = digest_size(hash);
    std::uint8_t number[4];
    for (std::size_t i = 0; i * size < block.size(); ++i) {
        const auto piece = block.subspan(i * size, std::min(size, block.size() - i * size));
        store_be32(number, static_cast<std::uint32_t>(i));
        digest(hash, number, piece, piece);
    }
}

/// What all stripes but the last come to.
SecretBytes mix(Hash hash, ByteSpan stripes, std::size_t size) {
    SecretBytes mixed(size);
    for (std::size_t at = 0; at + size < stripes.size(); at += size) {
        for (std::size_t i = 0; i < size; ++i)
            mixed.data()[i] ^= stripes[at + i];
        diffuse(hash, mixed.span());
    }
    return mixed;
}

std::array<std::uint8_t, kLuksDigestBytes> key_digest(const LuksHeader &header, ByteSpan key) {
    std::array<std::uint8_t, kLuksDigestBytes> out;
    derive_key(header.hash, key, header.digest_salt, header.digest_iterations, out);
    return out;
}

/// The key that one slot gives; whether it is the right one, the digest tells.
SecretBytes open_slot(const LuksHeader &header, const LuksHeader::Slot &slot, const std::string &passphrase, std::span<std::uint8_t> material) {
    SecretBytes derived(header.key_bytes), key(header.key_bytes);
    derive_key(header.hash, bytes_of(passphrase), slot.salt, slot.iterations, derived.span());
    AesXts(derived.span()).decrypt(0, material.data(), material.data(), material.size());
    af_merge(header.hash, material, key.span());
    return key;
}

std::string uuid_text(const Uuid &uuid) {
    std::string text;
    for (std::size_t i = 0; i < uuid.size(); ++i)
        text += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
    return text;
}

/// Rounds of PBKDF2 a millisecond for keys of that size, by the thread's processor time.
std::uint64_t rounds_per_ms(Hash hash, std::uint32_t key_bytes) {
    SecretBytes key(key_bytes);
    const std::array<std::uint8_t, kLuksSaltBytes> salt{};
    const auto now = [] {
        timespec time{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
    };
    for (std::uint32_t rounds = 1024;; rounds *= 2) {
        const std::uint64_t start = now();
        derive_key(hash, bytes_of("passphrase"), salt, rounds, key.span());
        const std::uint64_t took = now() - start;
        if (took >= 20'000'000 || rounds >= 1u << 28)
            return std::max<std::uint64_t>(1, rounds * 1'000'000ull / std::max<std::uint64_t>(1, took));
    }
}

} // namespace

void af_split(Hash hash, ByteSpan key, std::span<std::uint8_t> stripes) {
    const SecretBytes mixed = mix(hash, stripes, key.size());
    const auto last = stripes.last(key.size());
    for (std::size_t i = 0; i < key.size(); ++i)
        last[i] = mixed.span()[i] ^ key[i];
}

void af_merge(Hash hash, ByteSpan stripes, std::span<std::uint8_t> key) {
    const SecretBytes mixed = mix(hash, stripes, key.size());
    const auto last = stripes.last(key.size());
    for (std::size_t i = 0; i < key.size(); ++i)
        key[i] = mixed.span()[i] ^ last[i];
}

Task<Result<SecretBytes>> unlock_luks(BlockNode &file, std::uint64_t at, LuksHeader header, std::string passphrase, std::string filename) {
    for (const LuksHeader::Slot &slot : header.slots) {
        if (!slot.active)
            continue;
        const std::uint64_t from = at + std::uint64_t{slot.sector} * AesXts::kSector;
        SecretBytes material(header.material_bytes()), key;
        if (!range_fits(from, material.size(), file.length()))
            co_return util::fail(util::Error("{}: the LUKS key material at offset {} is not inside the file, which ends at {}", filename, from,
                                             file.length()).with_code(EINVAL));
        const IoVector memory(material.span());
        auto done = co_await file.read(from, memory);
        if (!done)
            co_return util::fail(util::Error("{}: cannot read the LUKS key material at offset {}: {}", filename, from, done.error().message())
                                     .with_code(done.error().code()));
        bool right = false;
        std::function<std::int64_t()> work = [&] {
            key = open_slot(header, slot, passphrase, material.span());
            right = key_digest(header, key.span()) == header.digest;
            return std::int64_t{0};
        };
        auto working = file.context().in_pool(std::move(work));
        co_await working;
        if (right)
            co_return Result<SecretBytes>(std::move(key));
    }
    co_return util::fail(util::Error("{}: no key slot of the LUKS header opens with this passphrase", filename).with_code(EACCES));
}

util::Error missing_secret(std::string_view filename, std::string_view option) {
    return util::Error("{}: the image is encrypted, and {}=ID is missing; the object secret,id=ID,file=… has the passphrase (rhea-img takes both by "
                       "--object and --image-opts)", filename, option).with_code(EACCES);
}

Task<Result<OpenedLuks>> open_luks(BlockNode &file, std::uint64_t at, std::uint64_t area, std::string secret, std::string filename) {
    std::vector<std::uint8_t> bytes(std::min<std::uint64_t>(area, kLuksHeaderBytes));
    const IoVector memory(bytes);
    auto done = co_await file.read(at, memory);
    if (!done)
        co_return util::fail(util::Error("{}: cannot read the LUKS header at offset {}: {}", filename, at, done.error().message())
                                 .with_code(done.error().code()));
    OpenedLuks opened;
    auto header = parse_luks_header(bytes, at, area, filename);
    if (!header)
        co_return util::fail(header.error());
    opened.header = *header;
    if (secret.empty())
        co_return opened;
    auto passphrase = find_secret(secret);
    if (!passphrase)
        co_return util::fail(passphrase.error().within(filename).with_code(passphrase.error().code()));
    auto unlocking = unlock_luks(file, at, *header, *passphrase, filename);
    auto key = co_await unlocking;
    if (!key)
        co_return util::fail(key.error());
    opened.cipher = std::make_shared<const AesXts>(key->span());
    co_return opened;
}

Result<LuksParameters> take_luks_parameters(NodeOptions &options, std::string_view prefix) {
    LuksParameters out;
    const auto only = [&](const char *key, std::string_view value) -> Result<void> {
        const auto given = options.take(key);
        if (given && *given != value)
            return util::fail("{}{}= takes {}, not '{}'", prefix, key, value, *given);
        return {};
    };
    for (const auto &done : {only("cipher-mode", "xts"), only("ivgen-alg", "plain64")})
        if (!done)
            return util::fail(done.error());
    const std::string cipher = options.take("cipher-alg").value_or("aes-256"), hash = options.take("hash-alg").value_or("sha256");
    if (cipher != "aes-128" && cipher != "aes-256")
        return util::fail("{}cipher-alg= takes aes-128 or aes-256, not '{}'", prefix, cipher);
    out.key_bytes = cipher == "aes-128" ? 32 : 64;
    const auto known = find_hash(hash);
    if (!known)
        return util::fail("{}hash-alg= takes sha1, sha256 or sha512, not '{}'", prefix, hash);
    out.hash = *known;
    auto time = options.take_unsigned("iter-time", out.iter_time_ms);
    if (!time)
        return util::fail(time.error());
    if (*time == 0 || *time > 60'000)
        return util::fail("{}iter-time= takes 1 to 60000 milliseconds, not {}", prefix, *time);
    out.iter_time_ms = *time;
    return out;
}

namespace {

std::uint32_t material_sectors(std::uint32_t key_bytes) {
    return static_cast<std::uint32_t>(round_up(std::uint64_t{key_bytes} * kLuksStripes, kMaterialAlignment) / AesXts::kSector);
}

} // namespace

std::uint64_t luks_area_bytes(const LuksParameters &parameters) {
    return (kFirstMaterialSector + kLuksSlots * std::uint64_t{material_sectors(parameters.key_bytes)}) * AesXts::kSector;
}

Result<std::vector<std::uint8_t>> make_luks(const LuksParameters &parameters, const std::string &passphrase) {
    LuksHeader h;
    h.hash = parameters.hash;
    h.key_bytes = parameters.key_bytes;
    h.payload_sector = static_cast<std::uint32_t>(luks_area_bytes(parameters) / AesXts::kSector);
    for (std::uint32_t i = 0; i < kLuksSlots; ++i)
        h.slots[i].sector = kFirstMaterialSector + i * material_sectors(h.key_bytes);
    LuksHeader::Slot &slot = h.slots[0];
    slot.active = true;
    SecretBytes key(h.key_bytes), derived(h.key_bytes), material(h.material_bytes());
    for (const auto part : {key.span(), std::span<std::uint8_t>(slot.salt), std::span<std::uint8_t>(h.digest_salt), material.span()})
        if (auto done = random_bytes(part); !done)
            return util::fail(done.error());
    // A quarter of what opening may cost at most, so that no image is made that is then refused.
    const std::uint64_t rounds = std::min(rounds_per_ms(h.hash, h.key_bytes) * parameters.iter_time_ms, kMaxLuksIterations / 4);
    slot.iterations = std::max(kLeastIterations, static_cast<std::uint32_t>(rounds));
    h.digest_iterations = std::max(kLeastIterations, static_cast<std::uint32_t>(rounds / 8)); // as other software has it
    h.digest = key_digest(h, key.span());
    h.uuid = uuid_text(random_uuid(true));
    af_split(h.hash, key.span(), material.span());
    derive_key(h.hash, bytes_of(passphrase), slot.salt, slot.iterations, derived.span());
    std::vector<std::uint8_t> area = serialise_luks_header(h);
    area.resize(luks_area_bytes(parameters));
    AesXts(derived.span()).encrypt(0, &area[slot.sector * AesXts::kSector], material.data(), material.size());
    return area;
}

Task<Result<std::vector<std::uint8_t>>> make_luks_with(IoContext &context, LuksParameters parameters, std::string secret) {
    auto passphrase = find_secret(secret);
    if (!passphrase)
        co_return util::fail(passphrase.error());
    Result<std::vector<std::uint8_t>> made;
    std::function<std::int64_t()> work = [&] {
        made = make_luks(parameters, *passphrase);
        return std::int64_t{0};
    };
    auto working = context.in_pool(std::move(work));
    co_await working;
    co_return made;
}

} // namespace rhea::block::crypto
