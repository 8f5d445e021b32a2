// The cryptography of encrypted images that is not a cipher: hashes, PBKDF2 (RFC 8018), random bytes. libnettle does the work.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
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

enum class Hash : std::uint8_t { kMd5, kSha1, kSha224, kSha256, kSha384, kSha512, kRipemd160 };
std::optional<Hash> find_hash(std::string_view name); ///< "sha256"
std::string_view hash_name(Hash hash);
std::string hash_names(); ///< all of them, for messages
std::size_t digest_size(Hash hash);
/// The digest of `first` and `second` behind each other, or its first bytes when `to` is shorter.
void digest(Hash hash, ByteSpan first, ByteSpan second, std::span<std::uint8_t> to);
/// PBKDF2. Fills `to`; `iterations` is not 0.
void derive_key(Hash hash, ByteSpan passphrase, ByteSpan salt, std::uint32_t iterations, std::span<std::uint8_t> to);

util::Result<void> random_bytes(std::span<std::uint8_t> to);

} // namespace rhea::block::crypto
