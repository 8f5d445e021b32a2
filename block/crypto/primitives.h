// The cryptography of encrypted images: hashes, PBKDF2 (RFC 8018), AES in XTS mode (IEEE 1619), random bytes.
//
// libnettle does the work; its names are known to primitives.cc only.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "rhea/util/result.h"

namespace rhea::block::crypto {

using ByteSpan = std::span<const std::uint8_t>;

/// Bytes of a key: overwritten when they go.
class SecretBytes {
public:
    SecretBytes() = default;
    explicit SecretBytes(std::size_t size) : bytes_(size) {}
    SecretBytes(SecretBytes &&) = default;
    SecretBytes &operator=(SecretBytes &&other) noexcept {
        bytes_.swap(other.bytes_);
        return *this;
    }
    ~SecretBytes();
    std::uint8_t *data() { return bytes_.data(); }
    std::size_t size() const { return bytes_.size(); }
    std::span<std::uint8_t> span() { return bytes_; }
    ByteSpan span() const { return bytes_; }

private:
    std::vector<std::uint8_t> bytes_;
};

enum class Hash : std::uint8_t { kSha1, kSha256, kSha512 };
std::optional<Hash> find_hash(std::string_view name); ///< "sha256"
std::string_view hash_name(Hash hash);
std::size_t digest_size(Hash hash);
/// The digest of `first` and `second` behind each other, or its first bytes when `to` is shorter.
void digest(Hash hash, ByteSpan first, ByteSpan second, std::span<std::uint8_t> to);
/// PBKDF2. Fills `to`; `iterations` is not 0.
void derive_key(Hash hash, ByteSpan passphrase, ByteSpan salt, std::uint32_t iterations, std::span<std::uint8_t> to);

util::Result<void> random_bytes(std::span<std::uint8_t> to);

/// AES-XTS by sectors of 512 bytes whose tweak is their number, little endian: what LUKS calls "xts-plain64". Any thread.
class AesXts {
public:
    static constexpr std::size_t kSector = 512;
    static bool key_fits(std::size_t bytes) { return bytes == 32 || bytes == 64; } ///< AES-128, AES-256
    /// `key`: both halves, of a size that fits.
    explicit AesXts(ByteSpan key);
    ~AesXts();
    /// Whole sectors from number `sector` on; `to` may be `from`.
    void encrypt(std::uint64_t sector, std::uint8_t *to, const std::uint8_t *from, std::size_t size) const;
    void decrypt(std::uint64_t sector, std::uint8_t *to, const std::uint8_t *from, std::size_t size) const;

private:
    struct Keys;
    std::unique_ptr<Keys> keys_;
};

} // namespace rhea::block::crypto
