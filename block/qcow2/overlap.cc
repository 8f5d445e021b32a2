#include "block/qcow2/overlap.h"

namespace rhea::block::qcow2 {

const char *metadata_name(Metadata kind) {
    switch (kind) {
    case Metadata::kHeader: return "the header";
    case Metadata::kActiveL1: return "the L1 table";
    case Metadata::kActiveL2: return "an L2 table";
    case Metadata::kRefcountTable: return "the refcount table";
    case Metadata::kRefcountBlock: return "a refcount block";
    case Metadata::kSnapshotTable: return "the snapshot table";
    case Metadata::kInactiveL1: return "the L1 table of a snapshot";
    case Metadata::kInactiveL2: return "an L2 table of a snapshot";
    case Metadata::kBitmapDirectory: return "the bitmap directory";
    case Metadata::kEncryption: return "the LUKS header";
    }
    return "metadata";
}

} // namespace rhea::block::qcow2
