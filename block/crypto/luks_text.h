// What the options of LUKS say of themselves, in the driver luks and, behind "encrypt.", in qcow2.
#pragma once
#include <string_view>

namespace rhea::block::crypto::luks_text {

inline constexpr std::string_view kKeySecret = "The passphrase: id of an object of type secret";
inline constexpr std::string_view kCipherAlg = "Cipher (aes-, serpent- or twofish- with 128, 192 or 256; cast5-128)";
inline constexpr std::string_view kCipherMode = "Cipher mode (xts, cbc, ctr, ecb)";
inline constexpr std::string_view kHashAlg = "Hash of the passphrase (md5, sha1, sha224, sha256, sha384, sha512, ripemd160)";
inline constexpr std::string_view kIterTime = "Milliseconds that trying a passphrase is to take";
inline constexpr std::string_view kIvgenAlg = "Initialisation vectors (plain, plain64, essiv)";
inline constexpr std::string_view kIvgenHashAlg = "Hash of the key for essiv";
inline constexpr std::string_view kNewIterTime = "Milliseconds that trying the new passphrase is to take";
inline constexpr std::string_view kKeyslot = "The key slot to change (0 to 7)";
inline constexpr std::string_view kNewSecret = "The passphrase to add: id of an object of type secret";
inline constexpr std::string_view kOldSecret = "The passphrase to erase: id of an object of type secret";
inline constexpr std::string_view kState = "active: a passphrase is added; inactive: it is erased";

} // namespace rhea::block::crypto::luks_text
