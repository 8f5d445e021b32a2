// Secrets that the user named (-object secret, rhea-img --object secret): what encrypt.key-secret= looks up.
//
// One list for the process, since images are opened in many places; any thread.
#pragma once
#include <string>
#include <string_view>

#include "rhea/block/options.h"

namespace rhea::block {

/// Takes id=, and data= or file=, and format=raw|base64 out of `options` ("qom-type" is taken before).
util::Result<void> add_secret(NodeOptions options);
/// `text`: what the tools' --object says, as key=value or JSON; type secret only.
util::Result<void> add_secret_object(std::string_view text);
/// Fails with a sentence that says how to make one.
util::Result<std::string> find_secret(std::string_view id);

} // namespace rhea::block
