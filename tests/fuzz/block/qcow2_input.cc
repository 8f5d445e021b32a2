#include "tests/fuzz/block/qcow2_input.h"

#include "block/qcow2/qcow2.h"
#include "tests/support/memory_block_node.h"

namespace rhea::block::qcow2 {

namespace {

using testing::MemoryBlockNode;

/// The bytes; and no host would store what lies far behind them.
std::shared_ptr<MemoryBlockNode> file_of(IoContext &context, std::span<const std::uint8_t> bytes) {
    auto file = std::make_shared<MemoryBlockNode>(context);
    file->bytes.assign(bytes.begin(), bytes.end());
    file->fault = [](std::size_t, const MemoryBlockNode::Logged &request) {
        const bool grows = request.kind == MemoryBlockNode::Kind::kWrite || request.kind == MemoryBlockNode::Kind::kWriteZeroes ||
                           request.kind == MemoryBlockNode::Kind::kTruncate;
        return grows && (request.offset > 64u << 20 || request.length > 64u << 20) ? EFBIG : 0;
    };
    return file;
}

void use(IoContext &context, Qcow2Node &node) {
    std::vector<std::uint8_t> buffer(8192, 0x5a);
    const IoVector all(buffer.data(), buffer.size());
    const std::uint64_t length = node.length();
    for (const std::uint64_t at : {std::uint64_t{0}, length / 3, length / 2, length - std::min<std::uint64_t>(length, 8192)}) {
        if (length < 8192)
            break;
        const std::uint64_t offset = std::min(at, length - 8192);
        (void)context.run(node.read(offset, all));
        (void)context.run(node.block_status(offset, length - offset));
        if (node.read_only())
            continue;
        (void)context.run(node.write(offset, all, kNoFlags));
        (void)context.run(node.write_zeroes(offset, 8192, kMayUnmap));
        (void)context.run(node.discard(offset, std::min<std::uint64_t>(length - offset, 1 << 20)));
        const IoVector cluster = all.slice(0, std::min<std::uint64_t>(node.cluster_size(), all.size()));
        (void)context.run(node.write(offset & ~std::uint64_t{node.cluster_size() - 1}, cluster, kCompressed));
    }
    (void)context.run(node.info());
    (void)context.run(node.flush());
    if (!node.read_only()) {
        NodeInfo::Snapshot snapshot;
        snapshot.name = "fuzz";
        (void)context.run(node.snapshot_create(snapshot));
        (void)context.run(node.snapshot_apply("1"));
        (void)context.run(node.snapshot_delete("1"));
        if (length < 1u << 30)
            (void)context.run(node.truncate((length / 2) & ~std::uint64_t{511}, Preallocation::kOff));
    }
    (void)context.run(node.close());
}

} // namespace

void run_fuzz_input(std::span<const std::uint8_t> bytes) {
    static IoContext context; // one for all: its pool's threads take a while to end
    struct Way {
        bool read_only, check;
        CheckFix fix;
    };
    for (const Way way : {Way{true, false, CheckFix::kNone}, Way{true, true, CheckFix::kNone}, Way{false, true, CheckFix::kLeaks},
                          Way{false, true, CheckFix::kAll}, Way{false, false, CheckFix::kNone}}) {
        auto file = file_of(context, bytes);
        OpenFlags flags;
        flags.read_only = way.read_only;
        flags.check = way.check;
        auto node = context.run(open_on(context, file, "fuzz.qcow2", nullptr, flags));
        if (!node)
            continue;
        if (way.check) {
            (void)context.run((*node)->check(way.fix));
            (void)context.run((*node)->close());
        } else {
            use(context, **node);
        }
    }
}

} // namespace rhea::block::qcow2
