// The master key: getting it out of a LUKS header by a passphrase.
#include <algorithm>
#include <cerrno>

#include "block/crypto/luks_slots.h"
#include "block/format/bytes.h"
#include "rhea/block/secret.h"

namespace rhea::block::crypto {

namespace {

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

/// The key that one slot gives; whether it is the right one, the digest tells.
SecretBytes open_slot(const LuksHeader &header, const LuksHeader::Slot &slot, const std::string &passphrase, std::span<std::uint8_t> material) {
    SecretBytes derived(header.key_bytes()), key(header.key_bytes());
    derive_key(header.hash, bytes_of(passphrase), slot.salt, slot.iterations, derived.span());
    SectorCipher(header.cipher, derived.span()).decrypt(0, material.data(), material.data(), material.size());
    af_merge(header.hash, material, key.span());
    return key;
}

} // namespace

std::array<std::uint8_t, kLuksDigestBytes> luks_key_digest(const LuksHeader &header, ByteSpan key) {
    std::array<std::uint8_t, kLuksDigestBytes> out;
    derive_key(header.hash, key, header.digest_salt, header.digest_iterations, out);
    return out;
}

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

Task<Result<std::optional<SecretBytes>>> try_luks_slot(BlockNode &file, std::uint64_t at, const LuksHeader &header, std::size_t slot,
                                                        const std::string &passphrase, const std::string &filename) {
    using Tried = Result<std::optional<SecretBytes>>;
    const std::uint64_t from = at + std::uint64_t{header.slots[slot].sector} * SectorCipher::kSector;
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
        key = open_slot(header, header.slots[slot], passphrase, material.span());
        right = luks_key_digest(header, key.span()) == header.digest;
        return std::int64_t{0};
    };
    auto working = file.context().in_pool(std::move(work));
    co_await working;
    if (!right)
        co_return Tried(std::nullopt);
    co_return Tried(std::move(key));
}

Task<Result<SecretBytes>> unlock_luks(BlockNode &file, std::uint64_t at, LuksHeader header, std::string passphrase, std::string filename) {
    for (std::size_t slot = 0; slot < kLuksSlots; ++slot) {
        if (!header.slots[slot].active)
            continue;
        auto trying = try_luks_slot(file, at, header, slot, passphrase, filename);
        auto key = co_await trying;
        if (!key)
            co_return util::fail(key.error());
        if (*key)
            co_return Result<SecretBytes>(std::move(**key));
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
    opened.cipher = std::make_shared<const SectorCipher>(header->cipher, key->span());
    co_return opened;
}

} // namespace rhea::block::crypto
