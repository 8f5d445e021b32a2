#include "block/qcow2/node.h"

#include <cerrno>

#include "block/qcow2/bitmaps.h"

namespace rhea::block::qcow2 {

Qcow2Node::Qcow2Node(IoContext &context, std::unique_ptr<Image> image, std::shared_ptr<BlockNode> backing)
    : BlockNode(context, "qcow2"), image_(std::move(image)), backing_(std::move(backing)) {
    set_read_only(!image_->writable);
    alignment_ = std::max({image_->file.node().request_alignment(), image_->data ? image_->data->request_alignment() : 1u,
                           image_->crypt ? image_->crypt->request_alignment() : 1u});
}

Qcow2Node::~Qcow2Node() = default;

Task<Result<void>> Qcow2Node::failed(const util::Error &error) {
    const util::Error told = co_await image_->note_error(error);
    co_return util::fail(told);
}

Task<Result<void>> Qcow2Node::flush() {
    auto done = co_await image_->commit();
    if (!done)
        co_return co_await failed(done.error());
    co_return done;
}

Task<Result<void>> Qcow2Node::close() {
    if (closed_)
        co_return Result<void>{};
    co_await image_->gate.close();
    closed_ = true;
    auto done = co_await image_->finish();
    if (done && image_->data)
        done = co_await close_below(*image_->data);
    if (done)
        done = co_await close_below(image_->file.node());
    image_->writable = false;
    image_->gate.open();
    co_return done;
}

Task<Result<void>> Qcow2Node::reopen(bool to_read_only) {
    Image &image = *image_;
    if (to_read_only == read_only())
        co_return Result<void>{};
    if (!to_read_only && (image.header.corrupt() || image.header.dirty() || (image.header.external_data() && !image.data)))
        co_return util::fail(util::Error("{}: the image is damaged, was not closed, or lacks its data file; it stays read-only", image.filename())
                                 .with_code(EACCES));
    co_await image.gate.close();
    const GateClosed closed(image.gate);
    Result<void> done;
    if (to_read_only)
        done = co_await image.finish();
    if (done)
        done = co_await image.file.node().reopen(to_read_only);
    if (done && image.data)
        done = co_await image.data->reopen(to_read_only);
    if (done) {
        image.writable = !to_read_only;
        set_read_only(to_read_only);
    }
    co_return done;
}

std::vector<BlockNode *> Qcow2Node::children() const {
    std::vector<BlockNode *> all = BlockNode::children();
    if (image_->data)
        all.push_back(image_->data.get());
    return all;
}

Result<void> Qcow2Node::set_backing(std::shared_ptr<BlockNode> backing) {
    if (backing && image_->header.raw_external_data())
        return util::fail(util::Error("{}: a backing file and a raw external data file exclude each other", image_->filename()).with_code(EINVAL));
    backing_ = std::move(backing);
    return {};
}

Task<Result<void>> Qcow2Node::change_backing_file(std::string filename, std::string format) {
    Image &image = *image_;
    if (!image.writable)
        co_return util::fail(util::Error("{}: the image is opened read-only", image.filename()).with_code(EPERM));
    if (!filename.empty() && image.header.raw_external_data())
        co_return util::fail(util::Error("{}: a backing file and a raw external data file exclude each other", image.filename()).with_code(EINVAL));
    if (format.size() > 15)
        co_return util::fail(util::Error("{}: '{}' is too long for the name of a format", image.filename(), format).with_code(EINVAL));
    co_await image.gate.close();
    const GateClosed closed(image.gate);
    auto done = co_await image.commit();
    if (!done)
        co_return done;
    const Header old = image.header;
    image.header.backing_file = std::move(filename);
    image.header.backing_format = image.header.backing_file.empty() ? std::string() : std::move(format);
    done = co_await image.write_header();
    if (done)
        done = co_await image.file.flush();
    if (!done)
        image.header = old;
    co_return done;
}

} // namespace rhea::block::qcow2
