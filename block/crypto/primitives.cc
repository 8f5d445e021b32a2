#include "block/crypto/primitives.h"

#include <nettle/pbkdf2.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <nettle/xts.h>
#include <string.h>
#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "block/format/bytes.h"

namespace rhea::block::crypto {

namespace {

struct HashRow {
    std::string_view name;
    std::size_t size;
    void (*digest)(ByteSpan first, ByteSpan second, std::span<std::uint8_t> to);
    void (*derive)(std::size_t key_size, const std::uint8_t *key, unsigned iterations, std::size_t salt_size, const std::uint8_t *salt,
                   std::size_t size, std::uint8_t *to);
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

/// In the order of Hash.
constexpr std::array<HashRow, 3> kHashes{{
    {"sha1", SHA1_DIGEST_SIZE, digest_by<sha1_ctx, sha1_init, sha1_update, sha1_digest>, pbkdf2_hmac_sha1},
    {"sha256", SHA256_DIGEST_SIZE, digest_by<sha256_ctx, sha256_init, sha256_update, sha256_digest>, pbkdf2_hmac_sha256},
    {"sha512", SHA512_DIGEST_SIZE, digest_by<sha512_ctx, sha512_init, sha512_update, sha512_digest>, pbkdf2_hmac_sha512},
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

std::string_view hash_name(Hash hash) { return row_of(hash).name; }
std::size_t digest_size(Hash hash) { return row_of(hash).size; }

void digest(Hash hash, ByteSpan first, ByteSpan second, std::span<std::uint8_t> to) { row_of(hash).digest(first, second, to); }

void derive_key(Hash hash, ByteSpan passphrase, ByteSpan salt, std::uint32_t iterations, std::span<std::uint8_t> to) {
    row_of(hash).derive(passphrase.size(), passphrase.data(), iterations, salt.size(), salt.data(), to.size(), to.data());
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

struct AesXts::Keys {
    bool wide = false; ///< AES-256
    xts_aes256_key encrypt256{}, decrypt256{};
    xts_aes128_key encrypt128{}, decrypt128{};
};

AesXts::AesXts(ByteSpan key) : keys_(std::make_unique<Keys>()) {
    keys_->wide = key.size() == 64;
    if (keys_->wide) {
        xts_aes256_set_encrypt_key(&keys_->encrypt256, key.data());
        xts_aes256_set_decrypt_key(&keys_->decrypt256, key.data());
    } else {
        xts_aes128_set_encrypt_key(&keys_->encrypt128, key.data());
        xts_aes128_set_decrypt_key(&keys_->decrypt128, key.data());
    }
}

AesXts::~AesXts() { explicit_bzero(keys_.get(), sizeof(Keys)); }

void AesXts::encrypt(std::uint64_t sector, std::uint8_t *to, const std::uint8_t *from, std::size_t size) const {
    std::uint8_t tweak[16] = {};
    for (std::size_t at = 0; at < size; at += kSector) {
        store_le64(tweak, sector++);
        if (keys_->wide)
            xts_aes256_encrypt_message(&keys_->encrypt256, tweak, kSector, to + at, from + at);
        else
            xts_aes128_encrypt_message(&keys_->encrypt128, tweak, kSector, to + at, from + at);
    }
}

void AesXts::decrypt(std::uint64_t sector, std::uint8_t *to, const std::uint8_t *from, std::size_t size) const {
    std::uint8_t tweak[16] = {};
    for (std::size_t at = 0; at < size; at += kSector) {
        store_le64(tweak, sector++);
        if (keys_->wide)
            xts_aes256_decrypt_message(&keys_->decrypt256, tweak, kSector, to + at, from + at);
        else
            xts_aes128_decrypt_message(&keys_->decrypt128, tweak, kSector, to + at, from + at);
    }
}

} // namespace rhea::block::crypto
