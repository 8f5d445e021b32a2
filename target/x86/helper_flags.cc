#include "target/x86/helper_flags.h"

#include "target/x86/helpers.h"

namespace rhea::target::x86 {

std::uint16_t helper_flags(HelperId id) {
    using namespace helper_letters;
    static constexpr std::uint16_t kFlags[] = {
#define RHEA_X86_HELPER(name, flags) flags,
#include "target/x86/all_helpers.def"
#undef RHEA_X86_HELPER
    };
    return kFlags[static_cast<unsigned>(id)];
}

} // namespace rhea::target::x86
