// Writing an overlay's contents into its backing file: `commit` of the monitor.
#pragma once
#include "rhea/block/node.h"

namespace rhea::block {

/// Copies what `top` holds itself into its backing node, which is opened for writing meanwhile, and empties `top` when its
/// format can. Nobody else uses either node.
Task<Result<void>> commit_to_backing(BlockNode &top);

} // namespace rhea::block
