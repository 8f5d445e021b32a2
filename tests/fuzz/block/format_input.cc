#include "tests/fuzz/block/format_input.h"

#include <cstdio>
#include <cstdlib>

#include "block/format/bytes.h"
#include "block/vhdx/vhdx_layout.h"
#include "tests/support/memory_image.h"

namespace rhea::block {

using namespace testing;

namespace {

void require(bool holds, const char *what) {
    if (holds)
        return;
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}

} // namespace

void fix_checksums(std::string_view driver, std::vector<std::uint8_t> &bytes) {
    const auto fix_crc = [&](std::uint64_t at, std::size_t size) {
        if (at + size <= bytes.size())
            store_le32(&bytes[at + 4], crc32c(std::span(bytes).subspan(at, size), 4));
    };
    const auto fix_sum = [&](std::uint64_t at, std::size_t size, std::size_t hole) {
        if (at + size > bytes.size())
            return;
        std::uint32_t sum = 0;
        for (std::size_t i = 0; i < size; ++i)
            sum += i >= hole && i < hole + 4 ? 0 : bytes[at + i];
        store_be32(&bytes[at + hole], ~sum);
    };
    if (driver == "vhdx") {
        for (const std::uint64_t at : kVhdxHeaderAt)
            fix_crc(at, kVhdxHeaderBytes);
        for (const std::uint64_t at : kVhdxRegionTableAt)
            fix_crc(at, kVhdxRegionTableBytes);
        for (std::uint64_t at = kVhdxMiB; at < kVhdxMiB + 65536 && at + 12 < bytes.size(); at += 4096) {
            const std::uint32_t size = load_le32(&bytes[at + 8]);
            if (bytes[at] == 'l' && bytes[at + 1] == 'o' && size < 1 << 20)
                fix_crc(at, size);
        }
    } else if (driver == "vpc") {
        fix_sum(0, 512, 64);
        fix_sum(512, 1024, 36);
        if (bytes.size() >= 512)
            fix_sum(bytes.size() - 512, 512, 64);
    }
}

void run_format_input(IoContext &context, const std::string &driver, std::vector<std::uint8_t> bytes, OpenFlags flags,
                      std::mt19937_64 &random) {
    constexpr std::uint64_t kLongest = 64 << 20; // of what is written, and of what is checked: larger images take long
    const MemoryPtr file = memory_file(context, std::move(bytes), kLongest);
    const std::vector<std::uint8_t> before = file->bytes;
    auto node = open_in(context, driver, file, flags);
    if (!node) {
        require(!node.error().message().empty(), "an image is refused without a reason");
        return;
    }
    const std::uint64_t length = (*node)->length();
    for (const std::uint64_t offset : {std::uint64_t{0}, length / 2, length > 70'000 ? length - 70'000 : 0})
        if (offset < length)
            read_bytes(context, **node, offset, std::min<std::uint64_t>(70'000, length - offset));
    for (std::uint64_t offset = 0, left = 200; offset < length && left > 0; --left) {
        auto extent = context.run((*node)->block_status(offset, std::min(length - offset, kLongest)));
        if (!extent)
            break;
        require(extent->length > 0 && extent->length <= length - offset, "block_status() tells of an extent that is not in the image");
        offset += extent->length;
    }
    if (length < kLongest)
        static_cast<void>(context.run((*node)->check(CheckFix::kNone)));
    static_cast<void>(context.run((*node)->info()));
    if (flags.read_only) {
        require(file->bytes == before, "an image that was opened read-only was written");
        return;
    }
    for (unsigned i = 0; i < 4 && length > 0; ++i) {
        const std::uint64_t offset = i == 0 ? 0 : random() % length;
        const std::uint64_t size = std::min<std::uint64_t>(1 + random() % 70'000, length - offset);
        static_cast<void>(write_bytes(context, **node, offset, std::vector<std::uint8_t>(size, 1)));
        static_cast<void>(context.run((*node)->write_zeroes(offset, size, kMayUnmap)));
    }
    static_cast<void>(context.run((*node)->close()));
}

} // namespace rhea::block
