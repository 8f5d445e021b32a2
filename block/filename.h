// What names of images mean: protocols before a colon, relative names.
#pragma once
#include <string>
#include <string_view>

#include "rhea/block/driver.h"

namespace rhea::block {

/// The protocol driver that `filename` names by its scheme, or `file`'s for a path. Fails on an unknown scheme.
Result<const BlockDriver *> protocol_of(std::string_view filename);
/// "nbd" of "nbd://…" and "nbd:…"; empty for a path: a colon behind a slash is part of a name.
std::string_view scheme_of(std::string_view filename);

} // namespace rhea::block
