// Opening a qcow2 image.
#include <cerrno>

#include "block/filename.h"
#include "block/qcow2/open_options.h"
#include "block/qcow2/qcow2.h"
#include "block/qcow2/snapshot_table.h"

namespace rhea::block::qcow2 {

namespace {

using NodePtr = std::shared_ptr<BlockNode>;

Task<Result<Header>> read_header(HostFile &file) {
    const std::uint64_t length = file.length();
    std::vector<std::uint8_t> head(std::min<std::uint64_t>(length, 65536));
    auto done = co_await file.read(0, head, "the header");
    if (!done)
        co_return util::fail(done.error());
    const unsigned bits = peek_cluster_bits(head);
    if (bits > 16 && bits <= kMaxClusterBits && length > head.size()) {
        head.resize(std::min<std::uint64_t>(length, 1ull << bits));
        done = co_await file.read(0, head, "the header");
        if (!done)
            co_return util::fail(done.error());
    }
    co_return parse_header(head, file.filename());
}

/// Tables and snapshots into a new Image.
Task<Result<void>> load_tables(Image &image) {
    auto done = co_await image.load_l1();
    if (done)
        done = co_await image.refcounts.load_table(image.header.refcount_table_offset, image.header.refcount_table_clusters);
    if (done)
        done = co_await load_snapshot_table(image);
    co_return done;
}

Task<Result<NodePtr>> open_data_file(OpenRequest &request, const Header &header) {
    NodeOptions options = request.options.take_child("data-file");
    if (const auto name = request.options.take("data-file")) {
        NodePtr node = request.flags.names ? request.flags.names->find(*name) : nullptr;
        if (!node)
            co_return util::fail(util::Error("{}: there is no node '{}' for data-file=", request.filename, *name).with_code(ENOENT));
        co_return node;
    }
    if (!options.has("filename") && !options.has("driver")) {
        if (!header.has_data_file_name || header.data_file.empty())
            co_return util::fail(util::Error("{}: the image has an external data file, but does not name it; say data-file.filename=", request.filename)
                                     .with_code(EINVAL));
        options.set("filename", header.data_file);
    }
    if (!options.has("driver")) { // never probed: guests write it
        auto protocol = protocol_of(options.values().find("filename")->second);
        if (!protocol)
            co_return util::fail(protocol.error());
        options.set("driver", std::string((*protocol)->name));
    }
    OpenFlags flags = request.flags;
    flags.check = flags.for_resize = flags.no_backing = false;
    flags.option_prefix += "data-file.";
    auto opening = request.open_child(std::move(options), flags);
    auto node = co_await opening;
    if (!node)
        co_return util::fail(node.error().within(fmt::format("data file of '{}'", request.filename)).with_code(node.error().code()));
    co_return node;
}

/// The LUKS header; and the node that has clusters in the clear, which does nothing without a passphrase.
Task<Result<void>> open_encryption(Image &image) {
    if (!image.header.encryption)
        co_return Result<void>{};
    const EncryptionExtension place = *image.header.encryption;
    auto opening = crypto::open_luks(image.file.node(), place.offset, place.length, image.options.key_secret, image.filename());
    auto luks = co_await opening;
    if (!luks)
        co_return util::fail(luks.error());
    image.luks = luks->header;
    image.crypt = std::make_unique<crypto::CryptNode>(image.data ? image.data : image.file.shared(), image.filename(), luks->cipher);
    co_return Result<void>{};
}

Result<void> check_state(const Header &header, const OpenFlags &flags, const std::string &filename) {
    if (!flags.read_only && !flags.check && header.corrupt())
        return util::fail(util::Error("{}: the image is marked corrupt, so nothing may write to it; rhea-img check -r all repairs it",
                                      filename).with_code(EACCES));
    return {};
}

/// An image that was not closed has counts that cannot be trusted.
Task<Result<void>> repair_if_dirty(Qcow2Node &node, const OpenFlags &flags) {
    Image &image = node.image();
    if (!image.header.dirty() || !image.writable || flags.check)
        co_return Result<void>{};
    auto checked = co_await node.check(CheckFix::kAll);
    if (!checked)
        co_return util::fail(checked.error().within(fmt::format("{}: the image was not closed, and repairing it failed", image.filename()))
                                 .with_code(checked.error().code()));
    if (checked->corruptions > checked->corruptions_fixed || checked->check_errors != 0)
        co_return util::fail(util::Error("{}: the image was not closed, and has damage that could not be repaired; see rhea-img check",
                                         image.filename()).with_code(EIO));
    co_return Result<void>{};
}

} // namespace

Task<Result<NodePtr>> open(OpenRequest request) {
    HostFile file(request.file, request.filename);
    auto header = co_await read_header(file);
    if (!header)
        co_return util::fail(header.error());
    if (auto ok = check_header_places(*header, file.length(), request.filename); !ok)
        co_return util::fail(ok.error());
    if (auto ok = check_state(*header, request.flags, request.filename); !ok)
        co_return util::fail(ok.error());
    auto options = take_open_options(request.options, *header, request.filename);
    if (!options)
        co_return util::fail(options.error());
    if (header->encryption && options->key_secret.empty() && !request.flags.no_io)
        co_return util::fail(crypto::missing_secret(request.filename, request.flags.option_prefix + "encrypt.key-secret"));
    if (request.flags.no_io)
        options->key_secret.clear(); // metadata is in the clear
    auto image = std::make_unique<Image>(std::move(file), *header, *options);
    image->writable = !request.flags.read_only && !request.file->read_only();
    auto done = co_await load_tables(*image);
    if (!done)
        co_return util::fail(done.error());
    if (header->external_data() && !request.flags.no_io) {
        auto data = co_await open_data_file(request, *header);
        if (!data)
            co_return util::fail(data.error());
        image->data = *data;
    } else {
        request.options.take_child("data-file");
        if (request.options.take("data-file"))
            co_return util::fail(util::Error("{}: data-file= is given, but the image has no external data file", request.filename).with_code(EINVAL));
    }
    if (header->external_data() && !image->data)
        image->writable = false;
    done = co_await open_encryption(*image);
    if (!done)
        co_return util::fail(done.error());
    auto backing = co_await open_backing(request, header->backing_file, header->backing_format);
    if (!backing)
        co_return util::fail(backing.error());
    if (auto ok = request.options.finish(known_names(kQcow2Driver.open_options)); !ok)
        co_return util::fail(ok.error().within(request.filename).with_code(EINVAL));
    auto node = std::make_shared<Qcow2Node>(request.context, std::move(image), *backing);
    done = co_await repair_if_dirty(*node, request.flags);
    if (!done)
        co_return util::fail(done.error());
    co_return std::static_pointer_cast<BlockNode>(node);
}

Task<Result<std::shared_ptr<Qcow2Node>>> open_on(IoContext &context, NodePtr below, std::string filename, NodePtr data, OpenFlags flags,
                                                 const OpenOptions *options) {
    HostFile file(std::move(below), filename);
    auto header = co_await read_header(file);
    if (!header)
        co_return util::fail(header.error());
    if (auto ok = check_header_places(*header, file.length(), filename); !ok)
        co_return util::fail(ok.error());
    if (auto ok = check_state(*header, flags, filename); !ok)
        co_return util::fail(ok.error());
    auto image = std::make_unique<Image>(std::move(file), *header, options ? *options : default_open_options(*header));
    image->writable = !flags.read_only;
    image->data = std::move(data);
    auto done = co_await load_tables(*image);
    if (!done)
        co_return util::fail(done.error());
    done = co_await open_encryption(*image);
    if (!done)
        co_return util::fail(done.error());
    auto node = std::make_shared<Qcow2Node>(context, std::move(image), nullptr);
    done = co_await repair_if_dirty(*node, flags);
    if (!done)
        co_return util::fail(done.error());
    co_return node;
}

} // namespace rhea::block::qcow2
