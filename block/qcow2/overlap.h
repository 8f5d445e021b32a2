// Where the metadata of an image lies, so that a damaged table never sends a write into it.
//
// A map from clusters to what they hold. Each write of data and each allocation asks it; an answer means that the
// image is damaged, and the caller marks it corrupt instead of writing. Which kinds are watched: overlap-check=.
#pragma once
#include <cstdint>

#include "block/qcow2/flat_map.h"

namespace rhea::block::qcow2 {

enum class Metadata : std::uint16_t {
    kHeader = 1,
    kActiveL1 = 2,
    kActiveL2 = 4,
    kRefcountTable = 8,
    kRefcountBlock = 16,
    kSnapshotTable = 32,
    kInactiveL1 = 64,
    kInactiveL2 = 128,
    kBitmapDirectory = 256,
    kEncryption = 512, ///< the LUKS header: not one of QEMU's kinds; watched unless all are off
};
const char *metadata_name(Metadata kind);

namespace overlap {
inline constexpr unsigned kNone = 0;
inline constexpr unsigned kConstant = 1 | 2 | 8 | 32 | 256 | 512;
inline constexpr unsigned kCached = kConstant | 4 | 16 | 64;
inline constexpr unsigned kAll = kCached | 128;
} // namespace overlap

class MetadataMap {
public:
    explicit MetadataMap(unsigned watched) : watched_(watched) {}
    unsigned watched() const { return watched_; }
    bool watches(Metadata kind) const { return watched_ & static_cast<unsigned>(kind); }

    /// False: one of the clusters holds something else already (that stays as it is in the map).
    bool add(std::uint64_t first_cluster, std::uint64_t count, Metadata kind) {
        if (!watches(kind))
            return true;
        bool alone = true;
        for (std::uint64_t i = 0; i < count; ++i) {
            if (map_.contains(first_cluster + i))
                alone = false;
            else
                map_.set(first_cluster + i, kind);
        }
        return alone;
    }
    void remove(std::uint64_t first_cluster, std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; ++i)
            map_.erase(first_cluster + i);
    }
    void clear() { map_.clear(); }

    struct Hit {
        std::uint64_t cluster;
        Metadata kind;
    };
    /// The first cluster of the range that holds metadata.
    bool hits(std::uint64_t first_cluster, std::uint64_t count, Hit &hit) const {
        for (std::uint64_t i = 0; i < count; ++i)
            if (const Metadata *kind = map_.find(first_cluster + i)) {
                hit = {first_cluster + i, *kind};
                return true;
            }
        return false;
    }

private:
    unsigned watched_;
    FlatMap<Metadata> map_;
};

} // namespace rhea::block::qcow2
