// Entry for libFuzzer (clang): scripts/fuzz-block builds it. The corpus is any set of qcow2 files.
#include <cstddef>

#include "tests/fuzz/block/qcow2_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    rhea::block::qcow2::run_fuzz_input({data, size});
    return 0;
}
