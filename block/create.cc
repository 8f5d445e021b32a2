// Creating images, and the cache modes by name.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "block/filename.h"
#include "block/raw/raw.h"
#include "rhea/block/driver.h"

namespace rhea::block {
namespace {

using util::Error;
using util::fail;
using NodePtr = std::shared_ptr<BlockNode>;

std::string local_path(const std::string &filename) { return filename.starts_with("file:") ? filename.substr(5) : filename; }

bool exists(const std::string &filename) {
    struct stat status{};
    return ::lstat(local_path(filename).c_str(), &status) == 0;
}

Task<Result<void>> create_by(IoContext &context, const BlockDriver &protocol, std::string filename, std::uint64_t size, NodeOptions options) {
    if (!protocol.create)
        co_return fail(Error("images cannot be created by protocol '{}': '{}'", protocol.name, filename).with_code(ENOTSUP));
    CreateRequest request{context, std::move(filename), size, std::move(options), {}, {}};
    auto creating = protocol.create(std::move(request));
    co_return co_await creating;
}

Task<Result<NodePtr>> create_and_open(IoContext &context, const BlockDriver &protocol, std::string filename, std::uint64_t size,
                                      NodeOptions options) {
    if (protocol.create) {
        auto creating = create_by(context, protocol, filename, size, std::move(options));
        auto created = co_await creating;
        if (!created)
            co_return fail(created.error());
    }
    NodeOptions open_options; // a protocol that cannot create (nbd) may have the place already
    open_options.set("driver", std::string(protocol.name));
    open_options.set("filename", filename);
    open_options.set("discard", "unmap");
    auto opening = open_image(context, "", std::move(open_options), OpenFlags{});
    auto node = co_await opening;
    if (node && !protocol.create && (*node)->length() < size)
        co_return fail(Error("'{}' has {} bytes, {} are needed, and protocol '{}' cannot create images", filename, (*node)->length(), size,
                             protocol.name)
                           .with_code(ENOSPC));
    co_return node;
}

} // namespace

Task<Result<void>> create_image(IoContext &context, const BlockDriver &driver, std::string filename, std::uint64_t size, NodeOptions options) {
    if (driver.is_protocol) {
        auto creating = create_by(context, driver, std::move(filename), size, std::move(options));
        co_return co_await creating;
    }
    if (!driver.create)
        co_return fail(Error("images of format '{}' cannot be created, only read", driver.name).with_code(ENOTSUP));
    auto protocol = protocol_of(filename);
    if (!protocol)
        co_return fail(protocol.error());
    const BlockDriver &below = **protocol;
    const bool is_new = below.name == "file" && !exists(filename);
    // What concerns the file below is the protocol's; raw hands all of its options on.
    NodeOptions file_options;
    for (const char *key : {"nocow", "extent_size_hint"})
        if (auto value = &driver == &kRawDriver ? std::nullopt : options.take(key))
            file_options.set(key, *value);
    if (!below.create && !file_options.empty())
        co_return fail(Error("'{}': {} is for new files, and protocol '{}' creates none", filename, file_options.values().begin()->first,
                             below.name)
                           .with_code(EINVAL));
    CreateRequest request{context, filename, size, std::move(options), {}, {}};
    request.create_file_with = [&context, &below, filename](std::uint64_t length, NodeOptions more) {
        return create_and_open(context, below, filename, length, std::move(more));
    };
    request.create_file = [create = request.create_file_with, file_options] { return create(0, file_options); };
    auto creating = driver.create(std::move(request));
    auto created = co_await creating;
    if (!created && is_new)
        ::unlink(local_path(filename).c_str()); // half an image is of no use
    co_return created;
}

Result<bool> set_cache_mode(NodeOptions &options, std::string_view mode) {
    struct Mode {
        std::string_view name;
        bool direct, no_flush, write_through;
    };
    static constexpr Mode kModes[] = {
        {"writeback", false, false, false}, {"none", true, false, false},  {"writethrough", false, false, true},
        {"directsync", true, false, true},  {"unsafe", false, true, false},
    };
    for (const Mode &each : kModes)
        if (each.name == mode || (mode == "off" && each.name == "none")) {
            options.set("cache.direct", each.direct ? "on" : "off");
            options.set("cache.no-flush", each.no_flush ? "on" : "off");
            return each.write_through;
        }
    return fail(Error("cache mode '{}' is unknown; it may be none, writeback, writethrough, directsync or unsafe", mode).with_code(EINVAL));
}

} // namespace rhea::block
