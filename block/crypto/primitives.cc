#include "block/crypto/primitives.h"

#include <fmt/format.h>
#include <nettle/hmac.h>
#include <nettle/md5.h>
#include <nettle/pbkdf2.h>
#include <nettle/ripemd160.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace rhea::block::crypto {

namespace {

struct HashRow {
    std::string_view name;
    std::size_t size;
    void (*digest)(ByteSpan first, ByteSpan second, std::span<std::uint8_t> to);
    void (*derive)(ByteSpan key, ByteSpan salt, unsigned iterations, std::span<std::uint8_t> to);
};

template <typename Context, auto kInit, auto kUpdate, auto kDigest>
void digest_by(ByteSpan first, ByteSpan second, std::span<std::uint8_t> to) {
    Context context;
    kInit(&context);
    kUpdate(&context, first.size(), first.data());
    kUpdate(&context, second.size(), second.data());
    kDigest(&context, to.size(), to.data());
    explicit_bzero(&context, sizeof context);
}

template <typename Context, auto kSetKey, auto kUpdate, auto kDigest, std::size_t kSize>
void derive_by(ByteSpan key, ByteSpan salt, unsigned iterations, std::span<std::uint8_t> to) {
    Context context;
    kSetKey(&context, key.size(), key.data());
    pbkdf2(
        &context, [](void *of, std::size_t size, const std::uint8_t *bytes) { kUpdate(static_cast<Context *>(of), size, bytes); },
        [](void *of, std::size_t size, std::uint8_t *digest) { kDigest(static_cast<Context *>(of), size, digest); }, kSize, iterations,
        salt.size(), salt.data(), to.size(), to.data());
    explicit_bzero(&context, sizeof context);
}

/// In the order of Hash.
constexpr std::array<HashRow, 7> kHashes{{
    {"md5", MD5_DIGEST_SIZE, digest_by<md5_ctx, md5_init, md5_update, md5_digest>,
     derive_by<hmac_md5_ctx, hmac_md5_set_key, hmac_md5_update, hmac_md5_digest, MD5_DIGEST_SIZE>},
    {"sha1", SHA1_DIGEST_SIZE, digest_by<sha1_ctx, sha1_init, sha1_update, sha1_digest>,
     derive_by<hmac_sha1_ctx, hmac_sha1_set_key, hmac_sha1_update, hmac_sha1_digest, SHA1_DIGEST_SIZE>},
    {"sha224", SHA224_DIGEST_SIZE, digest_by<sha224_ctx, sha224_init, sha224_update, sha224_digest>,
     derive_by<hmac_sha224_ctx, hmac_sha224_set_key, hmac_sha224_update, hmac_sha224_digest, SHA224_DIGEST_SIZE>},
    {"sha256", SHA256_DIGEST_SIZE, digest_by<sha256_ctx, sha256_init, sha256_update, sha256_digest>,
     derive_by<hmac_sha256_ctx, hmac_sha256_set_key, hmac_sha256_update, hmac_sha256_digest, SHA256_DIGEST_SIZE>},
    {"sha384", SHA384_DIGEST_SIZE, digest_by<sha384_ctx, sha384_init, sha384_update, sha384_digest>,
     derive_by<hmac_sha384_ctx, hmac_sha384_set_key, hmac_sha384_update, hmac_sha384_digest, SHA384_DIGEST_SIZE>},
    {"sha512", SHA512_DIGEST_SIZE, digest_by<sha512_ctx, sha512_init, sha512_update, sha512_digest>,
     derive_by<hmac_sha512_ctx, hmac_sha512_set_key, hmac_sha512_update, hmac_sha512_digest, SHA512_DIGEST_SIZE>},
    {"ripemd160", RIPEMD160_DIGEST_SIZE, digest_by<ripemd160_ctx, ripemd160_init, ripemd160_update, ripemd160_digest>,
     derive_by<hmac_ripemd160_ctx, hmac_ripemd160_set_key, hmac_ripemd160_update, hmac_ripemd160_digest, RIPEMD160_DIGEST_SIZE>},
}};

const HashRow &row_of(Hash hash) { return kHashes[static_cast<std::size_t>(hash)]; }

} // namespace

SecretBytes::~SecretBytes() {
    if (!bytes_.empty())
        explicit_bzero(bytes_.data(), bytes_.size());
}

std::optional<Hash> find_hash(std::string_view name) {
    for (std::size_t i = 0; i < kHashes.size(); ++i)
        if (kHashes[i].name == name)
            return static_cast<Hash>(i);
    return std::nullopt;
}

std::string hash_names() {
    std::string text;
    for (const HashRow &row : kHashes)
        text += fmt::format("{}{}", text.empty() ? "" : ", ", row.name);
    return text;
}

std::string_view hash_name(Hash hash) { return row_of(hash).name; }
std::size_t digest_size(Hash hash) { return row_of(hash).size; }

void digest(Hash hash, ByteSpan first, ByteSpan second, std::span<std::uint8_t> to) { row_of(hash).digest(first, second, to); }

void derive_key(Hash hash, ByteSpan passphrase, ByteSpan salt, std::uint32_t iterations, std::span<std::uint8_t> to) {
    row_of(hash).derive(passphrase, salt, iterations, to);
}

util::Result<void> random_bytes(std::span<std::uint8_t> to) {
    while (!to.empty()) {
        const ssize_t got = ::getrandom(to.data(), to.size(), 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return util::fail(util::Error("the host gives no random bytes: {}", std::strerror(errno)).with_code(errno));
        to = to.subspan(static_cast<std::size_t>(got));
    }
    return {};
}

} // namespace rhea::block::crypto
