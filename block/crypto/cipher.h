// What encrypts the sectors of a disk: block ciphers in modes that LUKS knows, and their initialisation vectors.
//
// libnettle does the work; its names are known to cipher.cc and primitives.cc only.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "block/crypto/primitives.h"

namespace rhea::block::crypto {

enum class Cipher : std::uint8_t {
    kAes128,
    kAes192,
    kAes256,
    kCast5_128,
    kSerpent128,
    kSerpent192,
    kSerpent256,
    kTwofish128,
    kTwofish192,
    kTwofish256,
};
enum class CipherMode : std::uint8_t { kEcb, kCbc, kXts, kCtr };
/// The vector of a sector: its number (32 or 64 bits of it, little endian), or that encrypted by a hash of the key.
enum class IvGenerator : std::uint8_t { kPlain, kPlain64, kEssiv };

/// By qemu-img's names: "aes-256", "xts", "plain64".
std::optional<Cipher> find_cipher(std::string_view name);
std::optional<CipherMode> find_cipher_mode(std::string_view name);
std::optional<IvGenerator> find_iv_generator(std::string_view name);
std::string_view name_of(Cipher cipher);
std::string_view name_of(CipherMode mode);
std::string_view name_of(IvGenerator generator);
/// All of them, for messages: "aes-128, aes-192, …".
std::string cipher_names();
std::string cipher_mode_names();
std::string iv_generator_names();

/// A combination of them. Only those that check_cipher() allows get any further.
struct CipherSpec {
    Cipher cipher = Cipher::kAes256;
    CipherMode mode = CipherMode::kXts;
    IvGenerator iv = IvGenerator::kPlain64;
    std::optional<Hash> iv_hash; ///< used by essiv, which has one; stored with the others

    /// XTS has two keys.
    std::size_t key_bytes() const;
    bool operator==(const CipherSpec &) const = default;
};
/// Fails with a sentence that says why the parts do not go together.
util::Result<void> check_cipher(const CipherSpec &spec);

/// As LUKS headers have it: cipher "aes", mode "cbc-essiv:sha256", and the size of the key.
std::string_view luks_cipher(const CipherSpec &spec);
std::string luks_cipher_mode(const CipherSpec &spec);
/// The cipher of a header; null when there is none of that name.
std::optional<Cipher> find_luks_cipher(std::string_view name, std::size_t key_bytes, bool is_xts);
bool is_luks_cipher(std::string_view name);
/// The mode of a header into `spec`; false: not known.
bool parse_luks_cipher_mode(std::string_view text, CipherSpec &spec);

/// Encrypts by sectors of 512 bytes, each by itself. Any thread.
class SectorCipher {
public:
    static constexpr std::size_t kSector = 512;
    /// `key` has key_bytes(); `spec` passes check_cipher().
    SectorCipher(const CipherSpec &spec, ByteSpan key);
    /// Whole sectors from number `sector` on; `to` may be `from`.
    void encrypt(std::uint64_t sector, std::uint8_t *to, const std::uint8_t *from, std::size_t size) const;
    void decrypt(std::uint64_t sector, std::uint8_t *to, const std::uint8_t *from, std::size_t size) const;

private:
    void make_iv(std::uint64_t sector, std::uint8_t *iv) const;

    CipherSpec spec_;
    SecretBytes encrypt_, decrypt_, tweak_, essiv_; ///< libnettle's contexts
    std::optional<Cipher> essiv_cipher_;
};

} // namespace rhea::block::crypto
