// Options of opening a qcow2 image: see kQcow2Driver's list.
#pragma once
#include "block/qcow2/image.h"
#include "rhea/block/options.h"

namespace rhea::block::qcow2 {

/// Takes this driver's options, checked against the image.
Result<OpenOptions> take_open_options(NodeOptions &options, const Header &header, const std::string &filename);
/// The same without any given.
OpenOptions default_open_options(const Header &header);

} // namespace rhea::block::qcow2
