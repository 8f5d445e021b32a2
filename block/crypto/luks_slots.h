// Key slots, one at a time: what opening, making and amending LUKS headers share.
#pragma once
#include "block/crypto/luks.h"

namespace rhea::block::crypto {

inline constexpr std::uint32_t kLeastLuksIterations = 1000; // as the specification recommends

inline ByteSpan bytes_of(const std::string &text) { return {reinterpret_cast<const std::uint8_t *>(text.data()), text.size()}; }

/// What the header keeps to tell the right master key by.
std::array<std::uint8_t, kLuksDigestBytes> luks_key_digest(const LuksHeader &header, ByteSpan key);
/// The master key, when that slot opens with the passphrase. The references stay valid until it is done.
Task<Result<std::optional<SecretBytes>>> try_luks_slot(BlockNode &file, std::uint64_t at, const LuksHeader &header, std::size_t slot,
                                                        const std::string &passphrase, const std::string &filename);
/// Rounds of PBKDF2 that take that long, by this thread's processor time; at least kLeastLuksIterations, at most `limit`.
std::uint32_t luks_rounds(const LuksHeader &header, std::uint64_t milliseconds, std::uint64_t limit);
/// Activates a slot, with a new salt, for `passphrase`; the result is the key material that goes to its place.
Result<std::vector<std::uint8_t>> fill_luks_slot(LuksHeader &header, std::size_t slot, ByteSpan key, const std::string &passphrase,
                                                 std::uint32_t iterations);

} // namespace rhea::block::crypto
