#include "block/crypto/crypt_node.h"

#include <cerrno>

namespace rhea::block::crypto {

namespace {

constexpr std::uint64_t kSectorMask = SectorCipher::kSector - 1;
/// From here on a request's cryptography goes to the thread pool; less is done before a thread would have woken up.
constexpr std::size_t kPoolBytes = 64 << 10;

/// The whole sectors that a request touches, and memory for them.
struct Touched {
    std::uint64_t first, size;
    Touched(std::uint64_t offset, std::uint64_t bytes)
        : first(offset & ~kSectorMask), size(((offset + bytes + kSectorMask) & ~kSectorMask) - first) {}
};

} // namespace

util::Failure CryptNode::locked() const {
    return util::fail(util::Error("{}: the image is encrypted, and was opened without its passphrase", filename_).with_code(EACCES));
}

Task<void> CryptNode::crypt(bool encrypting, std::uint64_t offset, std::uint8_t *bytes, std::size_t size) const {
    const auto work = [this, encrypting, offset, bytes, size] {
        const std::uint64_t sector = offset / SectorCipher::kSector;
        if (encrypting)
            cipher_->encrypt(sector, bytes, bytes, size);
        else
            cipher_->decrypt(sector, bytes, bytes, size);
        return std::int64_t{0};
    };
    if (size < kPoolBytes) {
        work();
        co_return;
    }
    std::function<std::int64_t()> job = work;
    auto working = below_->context().in_pool(std::move(job)); // this node's own context is not kept up to date
    co_await working;
}

Task<Result<void>> CryptNode::read(std::uint64_t offset, const IoVector &to) {
    if (!cipher_)
        co_return locked();
    if (to.empty())
        co_return Result<void>{};
    const Touched touched(offset, to.size());
    std::uint8_t *bytes = touched.first == offset && touched.size == to.size() ? to.contiguous() : nullptr;
    std::unique_ptr<std::uint8_t[]> bounce;
    if (bytes == nullptr) {
        bounce = std::make_unique_for_overwrite<std::uint8_t[]>(touched.size);
        bytes = bounce.get();
    }
    const IoVector sectors(bytes, touched.size);
    auto done = co_await below_->read(start_ + touched.first, sectors);
    if (!done)
        co_return done;
    co_await crypt(false, touched.first, bytes, touched.size);
    if (bounce)
        to.copy_from(0, bytes + (offset - touched.first), to.size());
    co_return Result<void>{};
}

Task<Result<void>> CryptNode::write(std::uint64_t offset, const IoVector &from, unsigned flags) {
    if (!cipher_)
        co_return locked();
    if (from.empty())
        co_return Result<void>{};
    const Touched touched(offset, from.size());
    const bool whole = touched.first == offset && touched.size == from.size();
    Result<void> done;
    if (whole) {
        if (!gate_.try_enter())
            co_await gate_.enter();
        done = co_await write_sectors(offset, from);
        gate_.leave();
    } else {
        co_await gate_.close();
        done = co_await write_parts(offset, from);
        gate_.open();
    }
    if (done && (flags & kFua))
        done = co_await below_->flush();
    co_return done;
}

Task<Result<void>> CryptNode::write_sectors(std::uint64_t offset, const IoVector &from) {
    const auto bytes = std::make_unique_for_overwrite<std::uint8_t[]>(from.size());
    from.copy_to(0, bytes.get(), from.size());
    co_await crypt(true, offset, bytes.get(), from.size());
    const IoVector sectors(bytes.get(), from.size());
    co_return co_await below_->write(start_ + offset, sectors);
}

Task<Result<void>> CryptNode::write_parts(std::uint64_t offset, const IoVector &from) {
    const Touched touched(offset, from.size());
    const auto bytes = std::make_unique_for_overwrite<std::uint8_t[]>(touched.size);
    const std::uint64_t last = touched.size - SectorCipher::kSector;
    for (const std::uint64_t at : {std::uint64_t{0}, last}) {
        const IoVector edge(bytes.get() + at, SectorCipher::kSector);
        auto done = co_await read(touched.first + at, edge);
        if (!done)
            co_return done;
        if (last == 0)
            break;
    }
    from.copy_to(0, bytes.get() + (offset - touched.first), from.size());
    const IoVector sectors(bytes.get(), touched.size);
    co_return co_await write_sectors(touched.first, sectors);
}

} // namespace rhea::block::crypto
