#include "block/qcow2/codec.h"

#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <memory>

namespace rhea::block::qcow2 {

namespace {

// Raw deflate with a window of 4 KiB is what every reader of the format expects.
constexpr int kWindowBits = -12;

struct Deflater {
    z_stream stream{};
    bool ready = false;
    Deflater() { ready = deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kWindowBits, 9, Z_DEFAULT_STRATEGY) == Z_OK; }
    ~Deflater() {
        if (ready)
            deflateEnd(&stream);
    }
};
struct Inflater {
    z_stream stream{};
    bool ready = false;
    Inflater() { ready = inflateInit2(&stream, kWindowBits) == Z_OK; }
    ~Inflater() {
        if (ready)
            inflateEnd(&stream);
    }
};
using ZstdCompressor = std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)>;
using ZstdDecompressor = std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)>;

std::int64_t deflate_cluster(std::span<const std::uint8_t> from, std::span<std::uint8_t> to) {
    thread_local Deflater deflater;
    if (!deflater.ready || deflateReset(&deflater.stream) != Z_OK)
        return -ENOMEM;
    z_stream &z = deflater.stream;
    z.next_in = const_cast<std::uint8_t *>(from.data());
    z.avail_in = static_cast<uInt>(from.size());
    z.next_out = to.data();
    z.avail_out = static_cast<uInt>(to.size());
    switch (deflate(&z, Z_FINISH)) {
    case Z_STREAM_END: return static_cast<std::int64_t>(to.size() - z.avail_out);
    case Z_OK:
    case Z_BUF_ERROR: return 0;
    default: return -EIO;
    }
}

int inflate_cluster(std::span<const std::uint8_t> from, std::span<std::uint8_t> to) {
    thread_local Inflater inflater;
    if (!inflater.ready || inflateReset(&inflater.stream) != Z_OK)
        return -ENOMEM;
    z_stream &z = inflater.stream;
    z.next_in = const_cast<std::uint8_t *>(from.data());
    z.avail_in = static_cast<uInt>(from.size());
    z.next_out = to.data();
    z.avail_out = static_cast<uInt>(to.size());
    const int done = inflate(&z, Z_FINISH);
    // The stream may end just where the cluster does, without room to say so.
    return (done == Z_STREAM_END || done == Z_BUF_ERROR || done == Z_OK) && z.avail_out == 0 ? 0 : -EIO;
}

std::int64_t zstd_cluster(std::span<const std::uint8_t> from, std::span<std::uint8_t> to) {
    thread_local ZstdCompressor context{ZSTD_createCCtx(), ZSTD_freeCCtx};
    if (!context)
        return -ENOMEM;
    const std::size_t done = ZSTD_compress2(context.get(), to.data(), to.size(), from.data(), from.size());
    return ZSTD_isError(done) ? 0 : static_cast<std::int64_t>(done);
}

int unzstd_cluster(std::span<const std::uint8_t> from, std::span<std::uint8_t> to) {
    thread_local ZstdDecompressor context{ZSTD_createDCtx(), ZSTD_freeDCtx};
    if (!context)
        return -ENOMEM;
    ZSTD_DCtx_reset(context.get(), ZSTD_reset_session_only);
    // A stream: the number of compressed bytes is known only to the sector, and there may be several frames.
    ZSTD_inBuffer in{from.data(), from.size(), 0};
    ZSTD_outBuffer out{to.data(), to.size(), 0};
    while (out.pos < out.size) {
        const std::size_t in_before = in.pos, out_before = out.pos;
        if (ZSTD_isError(ZSTD_decompressStream(context.get(), &out, &in)))
            return -EIO;
        if (in.pos == in_before && out.pos == out_before)
            return -EIO;
    }
    return 0;
}

} // namespace

std::int64_t compress_cluster(Compression type, std::span<const std::uint8_t> from, std::span<std::uint8_t> to) {
    return type == Compression::kZstd ? zstd_cluster(from, to) : deflate_cluster(from, to);
}

int decompress_cluster(Compression type, std::span<const std::uint8_t> from, std::span<std::uint8_t> to) {
    return type == Compression::kZstd ? unzstd_cluster(from, to) : inflate_cluster(from, to);
}

} // namespace rhea::block::qcow2
