#include "target/x86/helpers.h"

#include "target/x86/helper_flags.h"

namespace rhea::target::x86 {

std::span<const tcg::HelperInfo> helper_table() {
    using namespace helper_letters;
    static const tcg::HelperInfo kTable[] = {
#define RHEA_X86_HELPER(name, flags) {#name, reinterpret_cast<void *>(&helper_##name), flags},
#include "target/x86/all_helpers.def"
#undef RHEA_X86_HELPER
    };
    return kTable;
}

} // namespace rhea::target::x86
