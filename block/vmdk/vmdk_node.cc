#include "block/vmdk/vmdk_node.h"

#include <algorithm>
#include <cerrno>

#include "block/format/bytes.h"
#include "block/format/uuid.h"
#include "rhea/block/driver.h"

namespace rhea::block {

VmdkNode::VmdkNode(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename, VmdkDescriptor descriptor,
                   std::uint64_t text_offset, std::uint64_t text_bytes)
    : BlockNode(context, "vmdk"), file_(std::move(file), std::move(filename)), descriptor_(std::move(descriptor)),
      text_offset_(text_offset), text_bytes_(text_bytes) {}

void VmdkNode::add_part(VmdkPart part) {
    if (part.length == 0)
        return;
    part.start = length_;
    length_ += part.length;
    parts_.push_back(std::move(part));
}

Result<void> VmdkNode::check_parent() const {
    const auto *parent = dynamic_cast<const VmdkNode *>(backing_.get());
    if (parent && parent->descriptor_.cid != descriptor_.parent_cid)
        return file_.fail(EINVAL, "the backing file has CID {:08x}, but this image was made for {:08x}: it was written since, "
                                  "or is another one",
                          parent->descriptor_.cid, descriptor_.parent_cid);
    return {};
}

std::uint32_t VmdkNode::cluster_size() const {
    for (const VmdkPart &part : parts_)
        if (part.sparse)
            return part.sparse->cluster_size();
    return 0;
}

/// The part that holds `offset`, which lies inside the disk.
const VmdkPart *VmdkNode::part_at(std::uint64_t offset) const {
    const auto behind = std::ranges::upper_bound(parts_, offset, {}, &VmdkPart::start);
    return &*(behind - 1);
}

Task<Result<void>> VmdkNode::read(std::uint64_t offset, const IoVector &to) {
    for (std::uint64_t at = 0; at < to.size();) {
        const VmdkPart *part = part_at(offset + at);
        const std::uint64_t in = offset + at - part->start;
        const IoVector piece = to.slice(at, std::min(to.size() - at, part->length - in));
        if (part->node) {
            auto done = co_await part->node->read(in, piece);
            if (!done)
                co_return done;
        } else {
            piece.fill(0, 0, piece.size());
        }
        at += piece.size();
    }
    co_return Result<void>{};
}

/// A parent that is written gets another CID, so that its children notice.
Task<Result<void>> VmdkNode::prepare_write() {
    if (read_only())
        co_return file_.fail(EPERM, "the image is open read-only");
    if (written_)
        co_return Result<void>{};
    co_await first_write_.lock();
    Result<void> done;
    if (!written_)
        done = co_await write_cid();
    written_ = written_ || done.has_value();
    first_write_.unlock();
    co_return done;
}

Task<Result<void>> VmdkNode::write_cid() {
    const std::uint64_t bytes = text_bytes_ ? text_bytes_ : file_.length();
    std::string text(bytes, '\0');
    auto done = co_await file_.read_bytes(text_offset_, text.data(), text.size());
    if (!done)
        co_return done;
    do
        descriptor_.cid = random_number();
    while (descriptor_.cid == kVmdkNoParent);
    text = VmdkDescriptor::with_cid(text, descriptor_.cid);
    if (text_bytes_ != 0) {
        if (text.size() > text_bytes_)
            co_return file_.fail(ENOSPC, "the descriptor has no room for a new CID");
        text.resize(text_bytes_);
    }
    done = co_await file_.write_bytes(text_offset_, text.data(), text.size());
    if (done && text_bytes_ == 0 && text.size() < file_.length())
        done = co_await file_.truncate(text.size());
    co_return done;
}

Task<Result<void>> VmdkNode::write(std::uint64_t offset, const IoVector &from, unsigned flags) {
    if (auto ready = co_await prepare_write(); !ready)
        co_return ready;
    for (std::uint64_t at = 0; at < from.size();) {
        const VmdkPart *part = part_at(offset + at);
        const std::uint64_t in = offset + at - part->start;
        const IoVector piece = from.slice(at, std::min(from.size() - at, part->length - in));
        if (!part->node || part->line.access != "RW")
            co_return file_.fail(EPERM, "the extent at offset {} is not writable ({} {})", part->start, part->line.access,
                                 part->line.type);
        auto done = co_await part->node->write(in, piece, flags);
        if (!done)
            co_return done;
        at += piece.size();
    }
    co_return Result<void>{};
}

Task<Result<void>> VmdkNode::write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) {
    if (auto ready = co_await prepare_write(); !ready)
        co_return ready;
    for (std::uint64_t at = 0; at < length;) {
        const VmdkPart *part = part_at(offset + at);
        const std::uint64_t in = offset + at - part->start;
        const std::uint64_t piece = std::min(length - at, part->length - in);
        if (part->node) {
            if (part->line.access != "RW")
                co_return file_.fail(EPERM, "the extent at offset {} is not writable", part->start);
            auto done = co_await part->node->write_zeroes(in, piece, flags);
            if (!done)
                co_return done;
        }
        at += piece;
    }
    co_return Result<void>{};
}

Task<Result<void>> VmdkNode::discard(std::uint64_t offset, std::uint64_t length) {
    for (std::uint64_t at = 0; at < length && !read_only();) {
        const VmdkPart *part = part_at(offset + at);
        const std::uint64_t in = offset + at - part->start;
        const std::uint64_t piece = std::min(length - at, part->length - in);
        if (part->node && part->line.access == "RW") {
            auto done = co_await part->node->discard(in, piece);
            if (!done)
                co_return done;
        }
        at += piece;
    }
    co_return Result<void>{};
}

Task<Result<void>> VmdkNode::flush() {
    for (const VmdkPart &part : parts_) {
        if (!part.node)
            continue;
        auto done = co_await part.node->flush();
        if (!done)
            co_return done;
    }
    co_return co_await file_.flush();
}

Task<Result<Extent>> VmdkNode::block_status(std::uint64_t offset, std::uint64_t length) {
    const VmdkPart *part = part_at(offset);
    const std::uint64_t in = offset - part->start;
    length = std::min(length, part->length - in);
    if (part->node)
        co_return co_await part->node->block_status(in, length);
    Extent extent;
    extent.length = length;
    extent.zero = extent.allocated = true;
    co_return extent;
}

Task<Result<CheckResult>> VmdkNode::check(CheckFix fix) {
    CheckResult all;
    for (const VmdkPart &part : parts_) {
        if (!part.sparse)
            continue;
        auto one = co_await part.sparse->check(fix);
        if (!one)
            co_return one;
        all.corruptions += one->corruptions;
        all.total_clusters += one->total_clusters;
        all.allocated_clusters += one->allocated_clusters;
        all.compressed_clusters += one->compressed_clusters;
        all.image_end_offset = one->image_end_offset;
        all.messages.insert(all.messages.end(), one->messages.begin(), one->messages.end());
    }
    co_return all;
}

namespace {

std::string json_text(std::string_view text) {
    std::string json = "\"";
    for (const char letter : text) {
        if (letter == '"' || letter == '\\')
            json += '\\';
        if (static_cast<unsigned char>(letter) < 0x20)
            json += fmt::format("\\u{:04x}", static_cast<unsigned>(letter));
        else
            json += letter;
    }
    return json + '"';
}

} // namespace

Task<Result<NodeInfo>> VmdkNode::info() {
    NodeInfo info;
    info.format = driver();
    info.filename = file_.filename();
    info.virtual_size = length_;
    if (cluster_size() != 0)
        info.cluster_size = cluster_size();
    std::uint64_t actual = 0;
    std::string extents;
    for (BlockNode *child : files()) {
        auto below = co_await child->info();
        if (!below)
            co_return util::fail(below.error());
        actual += below->actual_size.value_or(0);
    }
    info.actual_size = actual;
    for (const VmdkPart &part : parts_) {
        extents += extents.empty() ? "{" : ", {";
        if (part.sparse && part.sparse->header().compressed())
            info.takes_only_compressed = true;
        if (part.sparse && part.sparse->header().compressed())
            extents += "\"compressed\": true, ";
        extents += fmt::format("\"virtual-size\": {}, \"filename\": {}, ", part.length, json_text(part.filename));
        if (part.sparse)
            extents += fmt::format("\"cluster-size\": {}, ", part.sparse->cluster_size());
        // An extent that is the image itself has no type there.
        extents += fmt::format("\"format\": {}}}", json_text(text_bytes_ ? "" : part.line.type));
    }
    info.backing_filename = descriptor_.parent_hint;
    if (!descriptor_.parent_hint.empty()) {
        info.full_backing_filename = resolve_backing(file_.filename(), descriptor_.parent_hint);
        info.backing_format = "vmdk";
    }
    info.details.push_back({"cid", std::to_string(descriptor_.cid)});
    info.details.push_back({"parent cid", std::to_string(descriptor_.parent_cid)});
    info.details.push_back({"create type", json_text(descriptor_.create_type)});
    info.details.push_back({"extents", "[" + extents + "]"});
    co_return info;
}

std::vector<BlockNode *> VmdkNode::files() const {
    std::vector<BlockNode *> nodes{&file_.node()};
    for (const VmdkPart &part : parts_)
        if (part.node && part.node->file() != nodes.front())
            nodes.push_back(part.node->file());
    return nodes;
}

std::vector<BlockNode *> VmdkNode::children() const {
    std::vector<BlockNode *> nodes = files();
    if (backing_)
        nodes.push_back(backing_.get());
    return nodes;
}

Result<void> VmdkNode::set_backing(std::shared_ptr<BlockNode> backing) {
    backing_ = std::move(backing);
    for (const VmdkPart &part : parts_)
        if (part.sparse)
            part.sparse->set_backing_at(backing_, part.start);
    return {};
}

} // namespace rhea::block
