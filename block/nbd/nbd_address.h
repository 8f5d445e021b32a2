// Where an NBD export is: from a name (nbd://host:port/export, nbd+unix:///export?socket=path, nbd:host:port:exportname=x,
// nbd:unix:path) or from options (server.type, server.host, …, export).
#pragma once
#include <string>

#include "rhea/block/options.h"

namespace rhea::block {

struct NbdAddress {
    std::string socket_path;               ///< empty: TCP
    std::string host, port = "10809";
    std::string export_name;

    static util::Result<NbdAddress> from_name(const std::string &name);
    /// Takes the options that say where the server is; `name` (may be empty) is the file name.
    static util::Result<NbdAddress> take(NodeOptions &options, const std::string &name);
    /// As a name, for messages and `info`.
    std::string text() const;
};

} // namespace rhea::block
