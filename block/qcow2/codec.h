// Compressing and decompressing one cluster. Pure functions for pool threads; contexts are kept by thread.
#pragma once
#include <cstdint>
#include <span>

#include "block/qcow2/format.h"

namespace rhea::block::qcow2 {

/// Bytes that `to` got; 0: it does not fit (the cluster is then stored as it is); negative: -errno.
std::int64_t compress_cluster(Compression type, std::span<const std::uint8_t> from, std::span<std::uint8_t> to);
/// Fills all of `to` from a stream that may be followed by anything; 0, or -errno.
int decompress_cluster(Compression type, std::span<const std::uint8_t> from, std::span<std::uint8_t> to);

} // namespace rhea::block::qcow2
