// How the synchronous metadata operations say what they lack.
//
// Between two suspension points nothing else runs, so an operation that finds all its slices in the caches is
// atomic. One that misses a slice changes nothing and returns it; the caller loads it and starts over:
//
//     for (;;) {
//         auto need = refcounts.allocate(n, run);
//         if (!need) co_return fail(need.error());
//         if (!*need) break;
//         auto loaded = co_await need->load();
//         if (!loaded) co_return loaded;
//     }
#pragma once
#include "block/qcow2/slice_cache.h"

namespace rhea::block::qcow2 {

struct Need {
    SliceCache *cache = nullptr;
    std::uint64_t offset = 0;

    explicit operator bool() const { return cache != nullptr; }
    Task<Result<void>> load() const { return cache->load(offset); }
};

} // namespace rhea::block::qcow2
