// LUKS version 1 (LUKS On-Disk Format Specification 1.2.3): the header that keeps the key of encrypted data behind
// passphrases.
//
// Eight key slots each hold the master key, spread over 4000 stripes (the anti-forensic splitter, so that overwriting any
// part of them destroys it) and encrypted with what PBKDF2 makes of a passphrase. A digest tells whether a key is the right one.
// The header stands alone (driver luks) or inside a qcow2 image; all offsets in it are from its own beginning.
#pragma once
#include <array>
#include <functional>
#include <string>

#include "block/crypto/cipher.h"
#include "rhea/block/node.h"
#include "rhea/block/options.h"

namespace rhea::block::crypto {

using util::Result;

inline constexpr std::size_t kLuksHeaderBytes = 592, kLuksSlots = 8, kLuksSaltBytes = 32, kLuksDigestBytes = 20;
inline constexpr std::uint32_t kLuksStripes = 4000;
/// Rounds of PBKDF2 that opening may cost: some minutes. A file that wants more is refused, not waited for.
inline constexpr std::uint64_t kMaxLuksIterations = 200'000'000;

struct LuksHeader {
    Hash hash = Hash::kSha256;
    std::uint32_t payload_sector = 0;
    CipherSpec cipher;
    std::array<std::uint8_t, kLuksDigestBytes> digest{};
    std::array<std::uint8_t, kLuksSaltBytes> digest_salt{};
    std::uint32_t digest_iterations = 0;
    std::string uuid;
    struct Slot {
        bool active = false;
        std::uint32_t iterations = 0;
        std::array<std::uint8_t, kLuksSaltBytes> salt{};
        std::uint32_t sector = 0; ///< of the key material
    };
    std::array<Slot, kLuksSlots> slots;

    std::uint64_t payload_offset() const { return std::uint64_t{payload_sector} * SectorCipher::kSector; }
    std::size_t key_bytes() const { return cipher.key_bytes(); }
    std::size_t material_bytes() const { return key_bytes() * kLuksStripes; }
};

/// `bytes`: the first kLuksHeaderBytes at offset `at` of `filename`, of an area of `area` bytes. Fails with a sentence that names
/// file, field and offset.
Result<LuksHeader> parse_luks_header(ByteSpan bytes, std::uint64_t at, std::uint64_t area, const std::string &filename);
std::vector<std::uint8_t> serialise_luks_header(const LuksHeader &header);
/// For info: cipher, slots, …; and the same as a JSON object, the format's name among them.
std::vector<NodeInfo::Detail> luks_details(const LuksHeader &header);
std::string luks_json(const LuksHeader &header);

/// The splitter. `stripes` holds a multiple of key.size() bytes; split() wants all but the last stripe filled with random bytes.
void af_split(Hash hash, ByteSpan key, std::span<std::uint8_t> stripes);
void af_merge(Hash hash, ByteSpan stripes, std::span<std::uint8_t> key);

/// The master key; EACCES when no slot opens with `passphrase`. `at`: where the header lies in `file`.
Task<Result<SecretBytes>> unlock_luks(BlockNode &file, std::uint64_t at, LuksHeader header, std::string passphrase, std::string filename);

/// What an image's driver needs of its LUKS header.
struct OpenedLuks {
    LuksHeader header;
    std::shared_ptr<const SectorCipher> cipher; ///< null: no secret was named
};
/// The image `filename` is encrypted, and nobody gave `option`.
util::Error missing_secret(std::string_view filename, std::string_view option);
/// Reads the header of an area of `area` bytes at `at`, and unlocks it with the passphrase of `secret` (empty: not).
Task<Result<OpenedLuks>> open_luks(BlockNode &file, std::uint64_t at, std::uint64_t area, std::string secret, std::string filename);

/// How a new header is made: qemu-img's cipher-alg=, cipher-mode=, ivgen-alg=, ivgen-hash-alg=, hash-alg=, iter-time=.
struct LuksParameters {
    CipherSpec cipher;
    Hash hash = Hash::kSha256;
    std::uint64_t iter_time_ms = 2000;
};
/// Takes them out of `options`, where they have no prefix; the sentences name them with `prefix`.
Result<LuksParameters> take_luks_parameters(NodeOptions &options, std::string_view prefix);
/// iter-time=, in milliseconds.
Result<std::uint64_t> take_iter_time(NodeOptions &options, std::string_view prefix, std::uint64_t fallback);
/// Bytes of a header with all its slots.
std::uint64_t luks_area_bytes(const LuksParameters &parameters);
/// A random master key that slot 0 keeps for `passphrase`. The result is the whole area. Takes as long as iter-time says.
Result<std::vector<std::uint8_t>> make_luks(const LuksParameters &parameters, const std::string &passphrase);
/// The same in the pool of threads, with the passphrase of `secret`.
Task<Result<std::vector<std::uint8_t>>> make_luks_with(IoContext &context, LuksParameters parameters, std::string secret);

/// A change of the key slots: qemu-img's state=, keyslot=, new-secret=, old-secret=, iter-time= of amend.
struct LuksAmendment {
    bool activate = false;              ///< state=active: a slot for new_secret; else slots are erased
    std::optional<unsigned> slot;       ///< none: the first that is free; of erasing: those that old_secret opens
    std::string new_secret, old_secret; ///< names of secrets
    std::uint64_t iter_time_ms = 2000;
    bool force = false;                 ///< also what may lose the data: an active slot overwritten, the last one erased
};
/// Takes them out of `options`, where they have no prefix. Fails when they contradict each other.
Result<LuksAmendment> take_luks_amendment(NodeOptions &options, std::string_view prefix, bool force);
/// Where an open image has its LUKS header, and the secret that opened it.
struct LuksPlace {
    BlockNode &file;
    std::uint64_t at = 0;
    std::string filename, secret;
};
/// Changes the file, and `header` with it. A slot is of use, or of none, only when its key material is on stable storage.
Task<Result<void>> amend_luks(LuksPlace place, LuksHeader &header, LuksAmendment amendment);

} // namespace rhea::block::crypto
