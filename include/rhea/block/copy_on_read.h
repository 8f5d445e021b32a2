// The filter `copy-on-read`: what a read finds in a backing file only is written into the node below the filter first.
#pragma once
#include <memory>

#include "rhea/block/node.h"

namespace rhea::block {

/// `below` can be written. -drive copy-on-read=on puts one above a drive's node.
std::shared_ptr<BlockNode> make_copy_on_read(std::shared_ptr<BlockNode> below);

} // namespace rhea::block
