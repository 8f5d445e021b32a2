// The driver `luks`: see luks_driver.h.
#include <algorithm>
#include <array>
#include <cerrno>

#include "block/crypto/crypt_node.h"
#include "block/crypto/luks.h"
#include "block/crypto/luks_driver.h"
#include "block/crypto/luks_text.h"
#include "block/format/bytes.h"
#include "rhea/block/secret.h"

namespace rhea::block {
namespace {

using crypto::SectorCipher;
using util::Error;
using util::fail;
using NodePtr = std::shared_ptr<BlockNode>;

constexpr std::string_view kNoSecret = "key-secret=ID is missing; it names the object that has the passphrase: secret,id=ID,file=…";

class LuksNode final : public BlockNode {
public:
    LuksNode(IoContext &context, NodePtr file, std::string filename, std::string secret, crypto::OpenedLuks luks)
        : BlockNode(context, "luks"), file_(std::move(file)), filename_(std::move(filename)), secret_(std::move(secret)),
          header_(std::move(luks.header)), disk_(file_, filename_, std::move(luks.cipher), header_.payload_offset()) {}

    /// A disk has whole sectors; what the file lacks of the last one is there when that is written.
    std::uint64_t length() const override {
        const std::uint64_t all = file_->length(), start = header_.payload_offset();
        return all > start ? round_up(all - start, SectorCipher::kSector) : 0;
    }
    std::uint32_t request_alignment() const override { return disk_.request_alignment(); }
    bool has_fua() const override { return true; }
    BlockNode *file() const override { return file_.get(); }

    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override { return disk_.read(offset, to); }
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags) override {
        if (read_only())
            co_return fail(Error("{}: the image is opened read-only", filename_).with_code(EPERM));
        auto writing = disk_.write(offset, from, flags);
        co_return co_await writing;
    }
    Task<Result<void>> flush() override { return file_->flush(); }
    /// New space holds what zeroes decrypt to, as in QEMU.
    Task<Result<void>> truncate(std::uint64_t length, Preallocation preallocation) override {
        const std::uint64_t start = header_.payload_offset();
        if (length > INT64_MAX - start)
            co_return fail(Error("{}: {} bytes are more than a file can have", filename_, length).with_code(EFBIG));
        co_return co_await file_->truncate(start + length, preallocation);
    }
    Task<Result<NodeInfo>> info() override {
        auto info = co_await BlockNode::info();
        if (!info)
            co_return info;
        info->encrypted = true;
        info->details = crypto::luks_details(header_);
        co_return info;
    }
    Task<Result<void>> close() override { return close_below(*file_); }

    Task<Result<void>> amend(AmendRequest request) {
        if (read_only())
            co_return fail(Error("{}: the image is opened read-only", filename_).with_code(EPERM));
        auto amendment = crypto::take_luks_amendment(request.options, "", request.force);
        if (!amendment)
            co_return fail(amendment.error().within(filename_).with_code(EINVAL));
        if (auto done = request.options.finish({"state", "keyslot", "new-secret", "old-secret", "iter-time"}); !done)
            co_return fail(done.error().within(filename_).with_code(EINVAL));
        auto changing = crypto::amend_luks({*file_, 0, filename_, secret_}, header_, *amendment);
        co_return co_await changing;
    }

private:
    NodePtr file_;
    std::string filename_, secret_;
    crypto::LuksHeader header_;
    crypto::CryptNode disk_;
};

int probe(std::span<const std::uint8_t> head, std::string_view) {
    static constexpr std::array<std::uint8_t, 8> kBegin{'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1}; // version 1
    return head.size() >= kBegin.size() && std::equal(kBegin.begin(), kBegin.end(), head.begin()) ? 100 : 0;
}

Task<Result<NodePtr>> open_luks_image(OpenRequest request) {
    std::string secret = request.options.take("key-secret").value_or("");
    if (auto done = request.options.finish({"key-secret"}); !done)
        co_return fail(done.error().within(request.filename).with_code(EINVAL));
    if (secret.empty() && !request.flags.no_io)
        co_return fail(crypto::missing_secret(request.filename, request.flags.option_prefix + "key-secret"));
    if (request.flags.no_io)
        secret.clear();
    auto opening = crypto::open_luks(*request.file, 0, request.file->length(), secret, request.filename);
    auto luks = co_await opening;
    if (!luks)
        co_return fail(luks.error());
    co_return std::make_shared<LuksNode>(request.context, request.file, request.filename, std::move(secret), std::move(*luks));
}

struct CreateOptions {
    crypto::LuksParameters parameters;
    std::string secret;
    NodeOptions file; ///< those of the file below
};

Result<CreateOptions> take_create_options(NodeOptions &options) {
    CreateOptions out;
    out.secret = options.take("key-secret").value_or("");
    if (out.secret.empty())
        return fail("{}", kNoSecret);
    auto parameters = crypto::take_luks_parameters(options, "");
    if (!parameters)
        return fail(parameters.error());
    out.parameters = *parameters;
    const std::string preallocation = options.take("preallocation").value_or("off");
    if (preallocation != "off" && preallocation != "metadata" && preallocation != "falloc" && preallocation != "full")
        return fail("preallocation= takes off, metadata, falloc or full, not '{}'", preallocation);
    if (preallocation == "falloc" || preallocation == "full") // the header is all the metadata there is
        out.file.set("preallocation", preallocation);
    if (const auto nocow = options.take("nocow"))
        out.file.set("nocow", *nocow);
    options.take("size");
    if (auto done = options.finish({"key-secret", "cipher-alg", "cipher-mode", "ivgen-alg", "ivgen-hash-alg", "hash-alg", "iter-time", "preallocation",
                                    "nocow", "size"});
        !done)
        return fail(done.error());
    return out;
}

Result<std::uint64_t> file_bytes(const crypto::LuksParameters &parameters, std::uint64_t size) {
    const std::uint64_t start = crypto::luks_area_bytes(parameters);
    if (size > INT64_MAX - start)
        return fail(Error("a disk of {} bytes and its header are more than a file can have", size).with_code(EFBIG));
    return start + size;
}

/// The header is written last, so that a file that was not finished is no image. `flags`: how its empty key slots are.
Task<Result<void>> write_area(BlockNode &file, std::vector<std::uint8_t> area, unsigned flags) {
    constexpr std::size_t kHead = 4096;
    const auto last = std::find_if(area.rbegin(), area.rend(), [](std::uint8_t byte) { return byte != 0; });
    const std::size_t used = round_up(static_cast<std::size_t>(area.rend() - last), kHead);
    const IoVector slots(area.data() + kHead, used - kHead), head(area.data(), kHead);
    auto done = co_await file.write(kHead, slots);
    if (done)
        done = co_await file.write_zeroes(used, area.size() - used, flags);
    if (done)
        done = co_await file.write(0, head);
    if (done)
        done = co_await file.flush();
    co_return done;
}

Task<Result<void>> create(CreateRequest request) {
    auto options = take_create_options(request.options);
    if (!options)
        co_return fail(options.error().within(request.filename).with_code(EINVAL));
    auto bytes = file_bytes(options->parameters, request.size);
    if (!bytes)
        co_return fail(bytes.error().within(request.filename).with_code(EFBIG));
    auto making = crypto::make_luks_with(request.context, options->parameters, options->secret);
    auto area = co_await making;
    if (!area)
        co_return fail(area.error().within(request.filename).with_code(area.error().code()));
    const unsigned flags = options->file.has("preallocation") ? kNoFlags : kMayUnmap;
    auto creating = request.create_file_with(*bytes, std::move(options->file));
    auto file = co_await creating;
    if (!file)
        co_return fail(file.error());
    auto writing = write_area(**file, std::move(*area), flags);
    auto done = co_await writing;
    auto closed = co_await (*file)->close();
    co_return done ? closed : done;
}

Result<std::pair<std::uint64_t, std::uint64_t>> measure(std::uint64_t size, std::uint64_t, NodeOptions options) {
    auto parsed = take_create_options(options);
    if (!parsed)
        return fail(parsed.error());
    if (auto secret = find_secret(parsed->secret); !secret) // as create would find it
        return fail(secret.error());
    auto bytes = file_bytes(parsed->parameters, size);
    if (!bytes)
        return fail(bytes.error());
    return std::pair{*bytes, *bytes};
}

Task<Result<void>> amend(BlockNode &node, AmendRequest request) {
    auto *luks = dynamic_cast<LuksNode *>(&node);
    if (luks == nullptr)
        co_return fail(Error("this is no luks image").with_code(EINVAL));
    auto amending = luks->amend(std::move(request));
    co_return co_await amending;
}

constexpr auto kOpenOptions = std::to_array<OptionDescription>({
    {"key-secret", "str", crypto::luks_text::kKeySecret, ""},
});
constexpr auto kCreateOptions = std::to_array<OptionDescription>({
    {"cipher-alg", "str", crypto::luks_text::kCipherAlg, "aes-256"},
    {"cipher-mode", "str", crypto::luks_text::kCipherMode, "xts"},
    {"hash-alg", "str", crypto::luks_text::kHashAlg, "sha256"},
    {"iter-time", "num", crypto::luks_text::kIterTime, "2000"},
    {"ivgen-alg", "str", crypto::luks_text::kIvgenAlg, "plain64"},
    {"ivgen-hash-alg", "str", crypto::luks_text::kIvgenHashAlg, "sha256"},
    {"key-secret", "str", crypto::luks_text::kKeySecret, ""},
    {"nocow", "bool (on/off)", "Make a file whose blocks btrfs overwrites in place; other file systems do not look at it", "off"},
    {"preallocation", "str",
     "Whether the data gets its space at once: no (off, metadata), without writing (falloc), by writing zeros (full)", "off"},
    {"size", "size", "Bytes of the disk that the guest sees", ""},
});
constexpr auto kAmendOptions = std::to_array<OptionDescription>({
    {"iter-time", "num", crypto::luks_text::kNewIterTime, "2000"},
    {"keyslot", "num", crypto::luks_text::kKeyslot, ""},
    {"new-secret", "str", crypto::luks_text::kNewSecret, ""},
    {"old-secret", "str", crypto::luks_text::kOldSecret, ""},
    {"state", "str", crypto::luks_text::kState, ""},
});

} // namespace

constexpr BlockDriver kLuksDriver = {
    .name = "luks",
    .probe = probe,
    .open = open_luks_image,
    .create = create,
    .open_options = kOpenOptions,
    .create_options = kCreateOptions,
    .amend = amend,
    .amend_options = kAmendOptions,
    .measure = measure,
};

} // namespace rhea::block
