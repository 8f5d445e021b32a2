// Making qcow2 images.
//
// The first clusters: header, refcount table, refcount blocks, L1 table, LUKS header. The header is written last, so that a file
// that was not finished is no image.
#include <cerrno>

#include "block/filename.h"
#include "block/qcow2/qcow2.h"
#include "block/qcow2/refcount_entry.h"

namespace rhea::block::qcow2 {

namespace {

using NodePtr = std::shared_ptr<BlockNode>;

struct Layout {
    std::uint64_t table_clusters = 1, blocks = 1, l1_clusters = 0, luks_clusters = 0, total = 0;
};

Layout plan_layout(const Geometry &g, std::uint64_t l1_entries, std::uint64_t luks_bytes) {
    Layout layout;
    layout.l1_clusters = g.clusters(l1_entries * 8);
    layout.luks_clusters = g.clusters(luks_bytes);
    for (;;) {
        layout.total = 1 + layout.table_clusters + layout.blocks + layout.l1_clusters + layout.luks_clusters;
        const std::uint64_t blocks = (layout.total + g.refcount_block_entries() - 1) >> g.refcount_block_bits();
        const std::uint64_t table = g.clusters(blocks * 8);
        if (blocks == layout.blocks && table == layout.table_clusters)
            return layout;
        layout.blocks = blocks;
        layout.table_clusters = table;
    }
}

/// With an L1 table of `entries`, and a LUKS header when that is not empty.
Task<Result<void>> write_empty(HostFile &file, Header &header, std::uint64_t entries, std::vector<std::uint8_t> luks) {
    const Geometry g = header.geometry();
    const Layout layout = plan_layout(g, entries, luks.size());
    const std::uint64_t table_at = g.cluster_size(), blocks_at = table_at + (layout.table_clusters << g.cluster_bits);
    header.refcount_table_offset = table_at;
    header.refcount_table_clusters = static_cast<std::uint32_t>(layout.table_clusters);
    header.l1_offset = entries != 0 ? blocks_at + (layout.blocks << g.cluster_bits) : 0;
    header.l1_size = static_cast<std::uint32_t>(entries);

    const std::uint64_t luks_at = blocks_at + ((layout.blocks + layout.l1_clusters) << g.cluster_bits);
    if (!luks.empty())
        header.encryption = EncryptionExtension{luks_at, luks.size()};
    luks.resize(g.align_up(luks.size()));

    auto bytes = serialise_header(header, file.filename());
    if (!bytes)
        co_return util::fail(bytes.error());
    std::vector<std::uint8_t> tables((layout.table_clusters + layout.blocks) << g.cluster_bits);
    for (std::uint64_t i = 0; i < layout.blocks; ++i)
        store_be(&tables[i * 8], blocks_at + (i << g.cluster_bits));
    // Blocks lie one behind the other, so cluster n has entry n of all of them together.
    std::uint8_t *blocks = &tables[layout.table_clusters << g.cluster_bits];
    for (std::uint64_t i = 0; i < layout.total; ++i)
        set_refcount(blocks, header.refcount_order, i, 1);
    auto done = co_await file.node().write_zeroes(0, g.cluster_size());
    if (done)
        done = co_await file.write(table_at, tables, "the refcount table");
    if (done && layout.l1_clusters != 0)
        done = co_await file.node().write_zeroes(header.l1_offset, layout.l1_clusters << g.cluster_bits);
    if (done && !luks.empty())
        done = co_await file.write(luks_at, luks, "the LUKS header");
    if (done)
        done = co_await file.write(0, *bytes, "the header");
    co_return done;
}

Task<Result<NodePtr>> make_data_file(CreateRequest &request, const CreateOptions &options) {
    const std::string name = resolve_backing(request.filename, options.header.data_file);
    auto protocol = protocol_of(name);
    if (!protocol)
        co_return util::fail(protocol.error());
    NodeOptions create_options;
    auto creating = create_image(request.context, **protocol, name, options.header.size, std::move(create_options));
    auto created = co_await creating;
    if (!created)
        co_return util::fail(created.error());
    NodeOptions open_options;
    open_options.set("driver", std::string((*protocol)->name));
    open_options.set("filename", name);
    auto opening = open_image(request.context, "", std::move(open_options), OpenFlags{});
    co_return co_await opening;
}

} // namespace

Task<Result<void>> create(CreateRequest request) {
    auto options = parse_create_options(request.options, request.size, request.filename);
    if (!options)
        co_return util::fail(options.error());
    std::vector<std::uint8_t> luks;
    if (options->luks) {
        auto making = crypto::make_luks_with(request.context, *options->luks, options->key_secret);
        auto made = co_await making;
        if (!made)
            co_return util::fail(made.error().within(request.filename).with_code(made.error().code()));
        luks = std::move(*made);
    }
    NodePtr data;
    if (options->header.external_data()) {
        auto made = co_await make_data_file(request, *options);
        if (!made)
            co_return util::fail(made.error());
        data = *made;
    }
    auto creating = request.create_file();
    auto below = co_await creating;
    if (!below)
        co_return util::fail(below.error());
    HostFile file(*below, request.filename);
    const std::uint64_t size = options->header.size;
    Header header = options->header;
    if (options->preallocation != Preallocation::kOff)
        header.size = 0; // it grows to its size below
    auto writing = write_empty(file, header, header.geometry().l1_entries(size), std::move(luks));
    auto done = co_await writing;
    if (!done)
        co_return done;
    if (options->preallocation == Preallocation::kOff)
        co_return co_await file.node().close();
    auto opening = open_on(request.context, *below, request.filename, data);
    auto node = co_await opening;
    if (!node)
        co_return util::fail(node.error());
    (*node)->image().file.hold_flushes(true); // until the size is written
    done = co_await (*node)->truncate(size, options->preallocation);
    auto closed = co_await (*node)->close();
    co_return done ? closed : done;
}

} // namespace rhea::block::qcow2
