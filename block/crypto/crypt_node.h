// The clusters of an encrypted image in the clear: reads decrypt what the file below holds, writes encrypt.
//
// A sector's number is its place behind `start` in the file below (qcow2, from 0 on: the host offset), so that equal sectors at
// different places differ. Behind the file's end there are zeroes to decrypt, and so no end: length() is the greatest one.
#pragma once
#include <algorithm>
#include <memory>
#include <string>

#include "block/crypto/cipher.h"
#include "block/qcow2/gate.h"
#include "rhea/block/node.h"

namespace rhea::block::crypto {

class CryptNode final : public BlockNode {
public:
    /// `cipher` null: nobody gave the key, and nothing can be read or written. It takes part in no graph: whoever has it closes and
    /// moves `below`.
    CryptNode(std::shared_ptr<BlockNode> below, std::string filename, std::shared_ptr<const SectorCipher> cipher, std::uint64_t start = 0)
        : BlockNode(below->context(), "crypt"), below_(std::move(below)), filename_(std::move(filename)), cipher_(std::move(cipher)),
          start_(start) {}

    std::uint64_t length() const override { return std::uint64_t{1} << 62; }
    std::uint32_t request_alignment() const override {
        return std::max<std::uint32_t>(SectorCipher::kSector, below_->request_alignment());
    }
    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override;
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags = kNoFlags) override;
    Task<Result<void>> flush() override { return below_->flush(); }

private:
    Task<Result<void>> write_sectors(std::uint64_t offset, const IoVector &from);
    Task<Result<void>> write_parts(std::uint64_t offset, const IoVector &from);
    Task<void> crypt(bool encrypting, std::uint64_t offset, std::uint8_t *bytes, std::size_t size) const;
    util::Failure locked() const;

    std::shared_ptr<BlockNode> below_;
    std::string filename_;
    std::shared_ptr<const SectorCipher> cipher_;
    std::uint64_t start_;
    /// Writes of parts of sectors, which read the rest of them first, are alone.
    qcow2::Gate gate_;
};

} // namespace rhea::block::crypto
