#include "target/x86/helpers.h"

#include "target/x86/helper_flags.h"
#include "target/x86/quick_helpers.h"

#include <iterator>

namespace rhea::target::x86 {

std::span<const tcg::HelperInfo> helper_table() {
    using namespace helper_letters;
    static tcg::HelperInfo table[] = {
#define RHEA_X86_HELPER(name, flags) {#name, reinterpret_cast<void *>(&helper_##name), flags},
#include "target/x86/all_helpers.def"
#undef RHEA_X86_HELPER
    };
    static const bool complete = [] {
        for (const QuickHelper &quick : quick_helpers())
            table[static_cast<unsigned>(quick.id)].quick = reinterpret_cast<void *>(quick.function);
        return true;
    }();
    static_cast<void>(complete);
    return table;
}

} // namespace rhea::target::x86
