#include "block/crypto/cipher.h"

#include <fmt/format.h>
#include <nettle/cbc.h>
#include <nettle/ctr.h>
#include <nettle/nettle-meta.h>
#include <nettle/xts.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "block/format/bytes.h"

namespace rhea::block::crypto {

namespace {

constexpr std::size_t kMaxBlock = 16;

struct CipherRow {
    std::string_view name, family; ///< qemu-img's name; that of LUKS headers
    const nettle_cipher *code;
};

/// In the order of Cipher.
constexpr std::array<CipherRow, 10> kCiphers{{
    {"aes-128", "aes", &nettle_aes128},
    {"aes-192", "aes", &nettle_aes192},
    {"aes-256", "aes", &nettle_aes256},
    {"cast5-128", "cast5", &nettle_cast128},
    {"serpent-128", "serpent", &nettle_serpent128},
    {"serpent-192", "serpent", &nettle_serpent192},
    {"serpent-256", "serpent", &nettle_serpent256},
    {"twofish-128", "twofish", &nettle_twofish128},
    {"twofish-192", "twofish", &nettle_twofish192},
    {"twofish-256", "twofish", &nettle_twofish256},
}};
constexpr std::array<std::string_view, 4> kModes{"ecb", "cbc", "xts", "ctr"};
constexpr std::array<std::string_view, 3> kGenerators{"plain", "plain64", "essiv"};

const CipherRow &row_of(Cipher cipher) { return kCiphers[static_cast<std::size_t>(cipher)]; }
const nettle_cipher &code_of(Cipher cipher) { return *row_of(cipher).code; }

template <typename Enum, std::size_t kCount>
std::optional<Enum> find_in(const std::array<std::string_view, kCount> &names, std::string_view name) {
    const auto at = std::ranges::find(names, name);
    return at == names.end() ? std::nullopt : std::optional(static_cast<Enum>(at - names.begin()));
}

std::optional<Cipher> find_in_family(std::string_view family, std::size_t key_bytes) {
    for (std::size_t i = 0; i < kCiphers.size(); ++i)
        if (kCiphers[i].family == family && kCiphers[i].code->key_size == key_bytes)
            return static_cast<Cipher>(i);
    return std::nullopt;
}

/// The cipher of the same family whose key is a digest of the vectors' hash.
std::optional<Cipher> essiv_cipher(const CipherSpec &spec) {
    return spec.iv_hash ? find_in_family(row_of(spec.cipher).family, digest_size(*spec.iv_hash)) : std::nullopt;
}

} // namespace

std::optional<Cipher> find_cipher(std::string_view name) {
    for (std::size_t i = 0; i < kCiphers.size(); ++i)
        if (kCiphers[i].name == name)
            return static_cast<Cipher>(i);
    return std::nullopt;
}
std::optional<CipherMode> find_cipher_mode(std::string_view name) { return find_in<CipherMode>(kModes, name); }
std::optional<IvGenerator> find_iv_generator(std::string_view name) { return find_in<IvGenerator>(kGenerators, name); }
std::string_view name_of(Cipher cipher) { return row_of(cipher).name; }
std::string_view name_of(CipherMode mode) { return kModes[static_cast<std::size_t>(mode)]; }
std::string_view name_of(IvGenerator generator) { return kGenerators[static_cast<std::size_t>(generator)]; }

std::string cipher_names() {
    std::string text;
    for (const CipherRow &row : kCiphers)
        text += fmt::format("{}{}", text.empty() ? "" : ", ", row.name);
    return text;
}
std::string cipher_mode_names() { return fmt::format("{}", fmt::join(kModes, ", ")); }
std::string iv_generator_names() { return fmt::format("{}", fmt::join(kGenerators, ", ")); }

std::size_t CipherSpec::key_bytes() const { return std::size_t{code_of(cipher).key_size} * (mode == CipherMode::kXts ? 2 : 1); }

util::Result<void> check_cipher(const CipherSpec &spec) {
    const std::string_view name = name_of(spec.cipher);
    if (spec.mode == CipherMode::kXts && code_of(spec.cipher).block_size != kMaxBlock)
        return util::fail("mode xts needs a cipher with blocks of {} bytes; {} has {}", kMaxBlock, name, code_of(spec.cipher).block_size);
    // 4000 stripes of such a key are no whole number of sectors, about which programs disagree.
    if (spec.key_bytes() == 24)
        return util::fail("{} goes with mode xts only, not with {}", name, name_of(spec.mode));
    if (spec.iv != IvGenerator::kEssiv)
        return {};
    if (!spec.iv_hash)
        return util::fail("essiv needs a hash");
    if (code_of(spec.cipher).block_size != kMaxBlock)
        return util::fail("essiv does not go with {}", name);
    if (!essiv_cipher(spec))
        return util::fail("essiv by {} does not go with {}: its digests of {} bytes are no keys; md5 and sha256 do", hash_name(*spec.iv_hash), name,
                          digest_size(*spec.iv_hash));
    return {};
}

std::string_view luks_cipher(const CipherSpec &spec) { return row_of(spec.cipher).family; }

std::string luks_cipher_mode(const CipherSpec &spec) {
    std::string text = fmt::format("{}-{}", name_of(spec.mode), name_of(spec.iv));
    if (spec.iv_hash)
        text += fmt::format(":{}", hash_name(*spec.iv_hash));
    return text;
}

std::optional<Cipher> find_luks_cipher(std::string_view name, std::size_t key_bytes, bool is_xts) {
    return is_xts && key_bytes % 2 != 0 ? std::nullopt : find_in_family(name, key_bytes / (is_xts ? 2 : 1));
}

bool is_luks_cipher(std::string_view name) {
    return std::ranges::any_of(kCiphers, [name](const CipherRow &row) { return row.family == name; });
}

bool parse_luks_cipher_mode(std::string_view text, CipherSpec &spec) {
    const std::size_t dash = text.find('-'), colon = text.find(':');
    if (dash == std::string_view::npos || (colon != std::string_view::npos && colon < dash))
        return false;
    const auto mode = find_cipher_mode(text.substr(0, dash));
    const auto generator = find_iv_generator(text.substr(dash + 1, colon == std::string_view::npos ? colon : colon - dash - 1));
    std::optional<Hash> hash;
    if (colon != std::string_view::npos) {
        hash = find_hash(text.substr(colon + 1));
        if (!hash)
            return false;
    }
    if (!mode || !generator)
        return false;
    spec.mode = *mode;
    spec.iv = *generator;
    spec.iv_hash = hash;
    return true;
}

SectorCipher::SectorCipher(const CipherSpec &spec, ByteSpan key)
    : spec_(spec), encrypt_(code_of(spec.cipher).context_size), decrypt_(code_of(spec.cipher).context_size) {
    const nettle_cipher &code = code_of(spec.cipher);
    code.set_encrypt_key(encrypt_.data(), key.data());
    code.set_decrypt_key(decrypt_.data(), key.data());
    if (spec.mode == CipherMode::kXts) {
        tweak_ = SecretBytes(code.context_size);
        code.set_encrypt_key(tweak_.data(), key.data() + code.key_size);
    }
    if (spec.iv == IvGenerator::kEssiv) {
        essiv_cipher_ = essiv_cipher(spec);
        const nettle_cipher &salted = code_of(*essiv_cipher_);
        SecretBytes salt(salted.key_size);
        digest(*spec.iv_hash, key, {}, salt.span());
        essiv_ = SecretBytes(salted.context_size);
        salted.set_encrypt_key(essiv_.data(), salt.data());
    }
}

void SectorCipher::make_iv(std::uint64_t sector, std::uint8_t *iv) const {
    std::memset(iv, 0, kMaxBlock);
    store_le64(iv, spec_.iv == IvGenerator::kPlain ? sector & 0xffffffff : sector);
    if (spec_.iv == IvGenerator::kEssiv)
        code_of(*essiv_cipher_).encrypt(essiv_.span().data(), kMaxBlock, iv, iv);
}

void SectorCipher::encrypt(std::uint64_t sector, std::uint8_t *to, const std::uint8_t *from, std::size_t size) const {
    const nettle_cipher &code = code_of(spec_.cipher);
    const std::uint8_t *context = encrypt_.span().data();
    std::uint8_t iv[kMaxBlock];
    for (std::size_t at = 0; at < size; at += kSector) {
        make_iv(sector++, iv);
        switch (spec_.mode) {
        case CipherMode::kEcb:
            code.encrypt(context, kSector, to + at, from + at);
            break;
        case CipherMode::kCbc:
            cbc_encrypt(context, code.encrypt, code.block_size, iv, kSector, to + at, from + at);
            break;
        case CipherMode::kXts:
            xts_encrypt_message(context, tweak_.span().data(), code.encrypt, iv, kSector, to + at, from + at);
            break;
        case CipherMode::kCtr:
            ctr_crypt(context, code.encrypt, code.block_size, iv, kSector, to + at, from + at);
            break;
        }
    }
}

void SectorCipher::decrypt(std::uint64_t sector, std::uint8_t *to, const std::uint8_t *from, std::size_t size) const {
    const nettle_cipher &code = code_of(spec_.cipher);
    const std::uint8_t *context = decrypt_.span().data();
    std::uint8_t iv[kMaxBlock];
    for (std::size_t at = 0; at < size; at += kSector) {
        make_iv(sector++, iv);
        switch (spec_.mode) {
        case CipherMode::kEcb:
            code.decrypt(context, kSector, to + at, from + at);
            break;
        case CipherMode::kCbc:
            cbc_decrypt(context, code.decrypt, code.block_size, iv, kSector, to + at, from + at);
            break;
        case CipherMode::kXts:
            xts_decrypt_message(context, tweak_.span().data(), code.decrypt, code.encrypt, iv, kSector, to + at, from + at);
            break;
        case CipherMode::kCtr: // the key stream is the same both ways
            ctr_crypt(encrypt_.span().data(), code.encrypt, code.block_size, iv, kSector, to + at, from + at);
            break;
        }
    }
}

} // namespace rhea::block::crypto
