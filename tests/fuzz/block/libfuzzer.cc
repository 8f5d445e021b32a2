// Entry for libFuzzer (clang): scripts/fuzz-block builds it. RHEA_FUZZ_FORMAT names the driver; the corpus is any set of its images.
#include <cstddef>
#include <cstdlib>

#include "tests/fuzz/block/format_input.h"
#include "tests/fuzz/block/qcow2_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    static const char *const named = std::getenv("RHEA_FUZZ_FORMAT");
    static const std::string format = named ? named : "qcow2";
    if (format == "qcow2") {
        rhea::block::qcow2::run_fuzz_input({data, size});
        return 0;
    }
    static rhea::block::IoContext context; // one for all: its pool's threads take a while to end
    for (const bool fixed : {false, true}) {
        std::vector<std::uint8_t> bytes(data, data + size);
        if (fixed)
            rhea::block::fix_checksums(format, bytes);
        std::mt19937_64 random(size);
        rhea::block::OpenFlags flags;
        flags.read_only = format == "dmg" || !fixed;
        rhea::block::run_format_input(context, format, std::move(bytes), flags, random);
    }
    return 0;
}
