// Opening an image of a format that has no options, and whose node knows all after load().
#pragma once
#include <memory>
#include <utility>

#include "block/format/finish_options.h"

namespace rhea::block {

template <typename Node> Task<Result<std::shared_ptr<BlockNode>>> open_loaded(OpenRequest request) {
    if (auto known = finish_options(request.options); !known)
        co_return util::fail(known.error());
    auto node = std::make_shared<Node>(request.context, request.file, request.filename);
    node->set_read_only(request.flags.read_only);
    auto loaded = co_await node->load();
    if (!loaded)
        co_return util::fail(loaded.error());
    co_return std::shared_ptr<BlockNode>(node);
}

} // namespace rhea::block
