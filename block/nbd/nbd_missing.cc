// The NBD driver of a build without libnbd's header.
#include <cerrno>

#include "block/nbd/nbd.h"

namespace rhea::block {

namespace {

Task<Result<std::shared_ptr<BlockNode>>> open(OpenRequest request) {
    co_return util::fail(util::Error("'{}': this build has no NBD client; install libnbd-dev, then run configure again",
                                     request.filename)
                             .with_code(ENOTSUP));
}

constexpr std::string_view kSchemes[] = {"nbd", "nbd+tcp", "nbd+unix", "nbds", "nbds+tcp", "nbds+unix"};

} // namespace

const BlockDriver kNbdDriver = {
    .name = "nbd",
    .is_protocol = true,
    .schemes = kSchemes,
    .open = open,
};

} // namespace rhea::block
