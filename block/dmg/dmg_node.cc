#include "block/dmg/dmg_node.h"

#include <dlfcn.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>

#include "block/dmg/dmg.h"
#include "block/format/bytes.h"
#include "block/format/open_loaded.h"

namespace rhea::block {

namespace {

bool expand_zlib(const std::vector<std::uint8_t> &from, std::vector<std::uint8_t> &to) {
    uLongf size = to.size();
    return uncompress(to.data(), &size, from.data(), from.size()) == Z_OK && size == to.size();
}

/// libbz2 is loaded when the first image needs it: few do.
using Bzip2Expand = int(char *, unsigned *, char *, unsigned, int, int);
Bzip2Expand *bzip2() {
    static Bzip2Expand *const function = [] {
        void *library = dlopen("libbz2.so.1.0", RTLD_NOW | RTLD_LOCAL);
        if (!library)
            library = dlopen("libbz2.so.1", RTLD_NOW | RTLD_LOCAL);
        return library ? reinterpret_cast<Bzip2Expand *>(dlsym(library, "BZ2_bzBuffToBuffDecompress")) : nullptr;
    }();
    return function;
}

bool expand_bzip2(std::vector<std::uint8_t> &from, std::vector<std::uint8_t> &to) {
    auto size = static_cast<unsigned>(to.size());
    return bzip2()(reinterpret_cast<char *>(to.data()), &size, reinterpret_cast<char *>(from.data()),
                   static_cast<unsigned>(from.size()), 0, 0) == 0 &&
           size == to.size();
}

} // namespace

DmgNode::DmgNode(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename)
    : BlockNode(context, "dmg"), file_(std::move(file), std::move(filename)) {}

Task<Result<void>> DmgNode::load() {
    auto chunks = co_await load_dmg_chunks(file_);
    if (!chunks)
        co_return util::fail(chunks.error());
    chunks_ = std::move(*chunks);
    length_ = chunks_.back().start + chunks_.back().length;
    if (!bzip2() && std::ranges::find(chunks_, DmgKind::kBzip2, &DmgChunk::kind) != chunks_.end())
        co_return file_.fail(ENOTSUP, "the image has chunks compressed by bzip2, and libbz2.so.1.0 is not installed");
    co_return Result<void>{};
}

const DmgChunk *DmgNode::chunk_at(std::uint64_t offset, std::uint64_t &length) const {
    const auto behind = std::ranges::upper_bound(chunks_, offset, {}, &DmgChunk::start);
    if (behind != chunks_.begin()) {
        const DmgChunk &chunk = *(behind - 1);
        if (offset - chunk.start < chunk.length) {
            length = std::min(length, chunk.start + chunk.length - offset);
            return &chunk;
        }
    }
    length = std::min(length, (behind == chunks_.end() ? length_ : behind->start) - offset);
    return nullptr;
}

Task<Result<DmgNode::Bytes>> DmgNode::expand(const DmgChunk &chunk) {
    if (last_ && last_start_ == chunk.start)
        co_return last_;
    std::vector<std::uint8_t> stored(chunk.stored_length);
    auto got = co_await file_.read_bytes(chunk.offset, stored.data(), stored.size());
    if (!got)
        co_return util::fail(got.error());
    auto bytes = std::make_shared<std::vector<std::uint8_t>>(chunk.length);
    std::function<std::int64_t()> work = [&] {
        return chunk.kind == DmgKind::kZlib ? expand_zlib(stored, *bytes) : expand_bzip2(stored, *bytes);
    };
    auto expanding = context().in_pool(std::move(work));
    const std::int64_t expanded = co_await expanding;
    if (!expanded)
        co_return file_.fail(EIO, "the compressed chunk at offset {} is damaged", chunk.offset);
    last_ = bytes;
    last_start_ = chunk.start;
    co_return bytes;
}

Task<Result<void>> DmgNode::read(std::uint64_t offset, const IoVector &to) {
    for (std::uint64_t at = 0; at < to.size();) {
        std::uint64_t length = to.size() - at;
        const DmgChunk *chunk = chunk_at(offset + at, length);
        const IoVector piece = to.slice(at, length);
        const std::uint64_t in = chunk ? offset + at - chunk->start : 0;
        if (!chunk || chunk->kind == DmgKind::kZero || chunk->kind == DmgKind::kIgnore) {
            piece.fill(0, 0, length);
        } else if (chunk->kind == DmgKind::kRaw) {
            auto done = co_await file_.read(chunk->offset + in, piece);
            if (!done)
                co_return done;
        } else {
            auto bytes = co_await expand(*chunk);
            if (!bytes)
                co_return util::fail(bytes.error());
            piece.copy_from(0, (*bytes)->data() + in, length);
        }
        at += length;
    }
    co_return Result<void>{};
}

Task<Result<void>> DmgNode::write(std::uint64_t, const IoVector &, unsigned) {
    co_return file_.fail(EPERM, "Apple disk images are only read");
}

Task<Result<void>> DmgNode::write_zeroes(std::uint64_t, std::uint64_t, unsigned) {
    co_return file_.fail(EPERM, "Apple disk images are only read");
}

Task<Result<Extent>> DmgNode::block_status(std::uint64_t offset, std::uint64_t length) {
    const DmgChunk *chunk = chunk_at(offset, length);
    Extent extent;
    extent.length = length;
    extent.allocated = true;
    extent.zero = !chunk || chunk->kind == DmgKind::kZero || chunk->kind == DmgKind::kIgnore;
    extent.data = !extent.zero;
    extent.compressed = extent.data && chunk->kind != DmgKind::kRaw;
    if (extent.data && !extent.compressed) {
        extent.host_offset = chunk->offset + (offset - chunk->start);
        extent.file = file();
    }
    co_return extent;
}

namespace {

/// The beginning of an image is that of its first chunk, so the name has to do.
int probe(std::span<const std::uint8_t>, std::string_view filename) { return filename.ends_with(".dmg") ? 2 : 0; }

Task<Result<std::shared_ptr<BlockNode>>> open(OpenRequest request) {
    if (!request.flags.read_only && !request.flags.auto_read_only)
        co_return util::fail(util::Error("{}: Apple disk images are only read; add readonly=on", request.filename)
                                 .with_code(EACCES));
    request.flags.read_only = true;
    auto opening = open_loaded<DmgNode>(std::move(request));
    co_return co_await opening;
}

} // namespace

const BlockDriver kDmgDriver = {
    .name = "dmg",
    .probe = probe,
    .open = open,
};

} // namespace rhea::block
