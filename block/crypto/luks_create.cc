// Making a new LUKS header.
#include <time.h>

#include <algorithm>
#include <cerrno>

#include "block/crypto/luks_slots.h"
#include "block/format/bytes.h"
#include "block/format/uuid.h"
#include "rhea/block/secret.h"

namespace rhea::block::crypto {

namespace {

constexpr std::uint32_t kFirstMaterialSector = 8; // key material is aligned to 4 KiB
constexpr std::uint64_t kMaterialAlignment = 4096;
constexpr std::uint64_t kMaxIterTime = 60'000;

std::string uuid_text(const Uuid &uuid) {
    std::string text;
    for (std::size_t i = 0; i < uuid.size(); ++i)
        text += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
    return text;
}

/// Rounds of PBKDF2 a millisecond for keys of that size.
std::uint64_t rounds_per_ms(Hash hash, std::size_t key_bytes) {
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

std::uint32_t material_sectors(const CipherSpec &cipher) {
    return static_cast<std::uint32_t>(round_up(std::uint64_t{cipher.key_bytes()} * kLuksStripes, kMaterialAlignment) / SectorCipher::kSector);
}

/// The value of option `key` in `out`, when it is given; `find` knows values by name, and `names` are all of them.
template <typename Value, typename Out, typename Names>
Result<void> take_named(NodeOptions &options, std::string_view prefix, std::string_view key, std::optional<Value> (*find)(std::string_view), Names names,
                        Out &out) {
    const auto given = options.take(key);
    if (!given)
        return {};
    const auto value = find(*given);
    if (!value)
        return util::fail("{}{}= takes one of {}, not '{}'", prefix, key, names(), *given);
    out = *value;
    return {};
}

} // namespace

Result<std::uint64_t> take_iter_time(NodeOptions &options, std::string_view prefix, std::uint64_t fallback) {
    auto time = options.take_unsigned("iter-time", fallback);
    if (!time)
        return util::fail("{}iter-time= takes a number of milliseconds: {}", prefix, time.error().message());
    if (*time == 0 || *time > kMaxIterTime)
        return util::fail("{}iter-time= takes 1 to {} milliseconds, not {}", prefix, kMaxIterTime, *time);
    return *time;
}

Result<LuksParameters> take_luks_parameters(NodeOptions &options, std::string_view prefix) {
    LuksParameters out;
    for (const auto &done : {take_named(options, prefix, "cipher-alg", find_cipher, cipher_names, out.cipher.cipher),
                             take_named(options, prefix, "cipher-mode", find_cipher_mode, cipher_mode_names, out.cipher.mode),
                             take_named(options, prefix, "ivgen-alg", find_iv_generator, iv_generator_names, out.cipher.iv),
                             take_named(options, prefix, "ivgen-hash-alg", find_hash, hash_names, out.cipher.iv_hash),
                             take_named(options, prefix, "hash-alg", find_hash, hash_names, out.hash)})
        if (!done)
            return util::fail(done.error());
    if (out.cipher.iv == IvGenerator::kEssiv && !out.cipher.iv_hash)
        out.cipher.iv_hash = Hash::kSha256;
    if (auto ok = check_cipher(out.cipher); !ok)
        return util::fail("{}cipher-alg=: {}", prefix, ok.error().message());
    auto time = take_iter_time(options, prefix, out.iter_time_ms);
    if (!time)
        return util::fail(time.error());
    out.iter_time_ms = *time;
    return out;
}

std::uint64_t luks_area_bytes(const LuksParameters &parameters) {
    return (kFirstMaterialSector + kLuksSlots * std::uint64_t{material_sectors(parameters.cipher)}) * SectorCipher::kSector;
}

std::uint32_t luks_rounds(const LuksHeader &header, std::uint64_t milliseconds, std::uint64_t limit) {
    const std::uint64_t rounds = rounds_per_ms(header.hash, header.key_bytes()) * milliseconds;
    return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(rounds, kLeastLuksIterations, limit));
}

Result<std::vector<std::uint8_t>> fill_luks_slot(LuksHeader &header, std::size_t index, ByteSpan key, const std::string &passphrase,
                                                 std::uint32_t iterations) {
    LuksHeader::Slot &slot = header.slots[index];
    SecretBytes derived(key.size()), stripes(header.material_bytes());
    for (const auto part : {std::span<std::uint8_t>(slot.salt), stripes.span()})
        if (auto done = random_bytes(part); !done)
            return util::fail(done.error());
    slot.active = true;
    slot.iterations = iterations;
    af_split(header.hash, key, stripes.span());
    derive_key(header.hash, bytes_of(passphrase), slot.salt, slot.iterations, derived.span());
    std::vector<std::uint8_t> material(stripes.size());
    SectorCipher(header.cipher, derived.span()).encrypt(0, material.data(), stripes.data(), stripes.size());
    return material;
}

Result<std::vector<std::uint8_t>> make_luks(const LuksParameters &parameters, const std::string &passphrase) {
    LuksHeader h;
    h.hash = parameters.hash;
    h.cipher = parameters.cipher;
    h.payload_sector = static_cast<std::uint32_t>(luks_area_bytes(parameters) / SectorCipher::kSector);
    for (std::uint32_t i = 0; i < kLuksSlots; ++i)
        h.slots[i].sector = kFirstMaterialSector + i * material_sectors(h.cipher);
    SecretBytes key(h.key_bytes());
    for (const auto part : {key.span(), std::span<std::uint8_t>(h.digest_salt)})
        if (auto done = random_bytes(part); !done)
            return util::fail(done.error());
    // A quarter of what opening may cost at most, so that no image is made that is then refused.
    const std::uint32_t rounds = luks_rounds(h, parameters.iter_time_ms, kMaxLuksIterations / 4);
    h.digest_iterations = std::max(kLeastLuksIterations, rounds / 8); // as other software has it
    h.digest = luks_key_digest(h, key.span());
    h.uuid = uuid_text(random_uuid(true));
    auto material = fill_luks_slot(h, 0, key.span(), passphrase, rounds);
    if (!material)
        return material;
    std::vector<std::uint8_t> area = serialise_luks_header(h);
    area.resize(luks_area_bytes(parameters));
    std::ranges::copy(*material, area.begin() + h.slots[0].sector * std::ptrdiff_t{SectorCipher::kSector});
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
