// Images through the block layer alone, for interoperability tests: create, write a pattern, read, check.
//
//   block-tool create FORMAT FILE SIZE [OPTIONS]
//   block-tool write FILE OPTIONS OFFSET LENGTH BYTE …     (in 64 KiB requests; BYTE 'z': zeroes)
//   block-tool copy FROM OPTIONS TO OPTIONS [compress]     (all of FROM into TO, which exists)
//   block-tool check FILE OPTIONS
//   block-tool info FILE OPTIONS
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "rhea/block/driver.h"

namespace {

using namespace rhea::block;
using NodePtr = std::shared_ptr<BlockNode>;

[[noreturn]] void fail(const std::string &sentence) {
    std::fprintf(stderr, "block-tool: %s\n", sentence.c_str());
    std::exit(1);
}

template <typename T> T must(rhea::util::Result<T> result) {
    if (!result)
        fail(result.error().message());
    if constexpr (!std::is_void_v<T>)
        return std::move(*result);
}

NodeOptions options_of(const std::string &text) {
    return text.empty() ? NodeOptions() : must(NodeOptions::from_text(text));
}

NodePtr open(IoContext &context, const std::string &file, const std::string &options, bool read_only) {
    OpenFlags flags;
    flags.read_only = read_only;
    return must(context.run(open_image(context, file, options_of(options), flags)));
}

void finish(IoContext &context, BlockNode &node) {
    must(context.run(node.flush()));
    must(context.run(node.close()));
}

void write(IoContext &context, BlockNode &node, std::uint64_t offset, std::uint64_t length, const std::string &byte) {
    constexpr std::uint64_t kRequest = 65536;
    if (byte == "z") {
        must(context.run(node.write_zeroes(offset, length, kMayUnmap)));
        return;
    }
    for (std::uint64_t at = 0; at < length; at += kRequest) {
        std::vector<std::uint8_t> bytes(std::min(kRequest, length - at),
                                        static_cast<std::uint8_t>(std::strtoul(byte.c_str(), nullptr, 0)));
        const IoVector from(bytes.data(), bytes.size());
        must(context.run(node.write(offset + at, from, kNoFlags)));
    }
}

void copy(IoContext &context, BlockNode &from, BlockNode &to, bool compress) {
    std::vector<std::uint8_t> bytes(1 << 20);
    for (std::uint64_t at = 0; at < from.length();) {
        auto extent = must(context.run(from.block_status(at, from.length() - at)));
        // Whole clusters for formats that store one once.
        const std::uint64_t piece = compress ? std::min<std::uint64_t>(65536, from.length() - at)
                                             : std::min<std::uint64_t>(extent.length, bytes.size() - at % bytes.size());
        const IoVector all(bytes.data(), piece);
        must(context.run(from.read(at, all)));
        if (!all.is_zero(0, piece))
            must(context.run(to.write(at, all, compress ? kCompressed : kNoFlags)));
        at += piece;
    }
}

} // namespace

int main(int count, char **words) {
    const std::vector<std::string> args(words + 1, words + count);
    const auto arg = [&](std::size_t i) { return i < args.size() ? args[i] : std::string(); };
    IoContext context;
    if (arg(0) == "create") {
        auto driver = must(find_driver(arg(1)));
        must(context.run(create_image(context, *driver, arg(2), std::strtoull(arg(3).c_str(), nullptr, 0), options_of(arg(4)))));
    } else if (arg(0) == "write") {
        NodePtr node = open(context, arg(1), arg(2), false);
        for (std::size_t i = 3; i + 2 < args.size(); i += 3)
            write(context, *node, std::strtoull(args[i].c_str(), nullptr, 0), std::strtoull(args[i + 1].c_str(), nullptr, 0), args[i + 2]);
        finish(context, *node);
    } else if (arg(0) == "copy") {
        NodePtr from = open(context, arg(1), arg(2), true), to = open(context, arg(3), arg(4), false);
        copy(context, *from, *to, arg(5) == "compress");
        finish(context, *to);
    } else if (arg(0) == "check") {
        NodePtr node = open(context, arg(1), arg(2), true);
        const CheckResult result = must(context.run(node->check(CheckFix::kNone)));
        for (const std::string &message : result.messages)
            std::printf("%s\n", message.c_str());
        return result.corruptions + result.check_errors > 0 ? 2 : result.leaks > 0 ? 3 : 0;
    } else if (arg(0) == "info") {
        NodePtr node = open(context, arg(1), arg(2), true);
        const NodeInfo info = must(context.run(node->info()));
        std::printf("format %s\nsize %llu\ncluster %llu\n", info.format.c_str(), static_cast<unsigned long long>(info.virtual_size),
                    static_cast<unsigned long long>(info.cluster_size.value_or(0)));
        for (const NodeInfo::Detail &detail : info.details)
            std::printf("%s %s\n", detail.key.c_str(), detail.json.c_str());
    } else {
        fail("unknown command '" + arg(0) + "'");
    }
    return 0;
}
