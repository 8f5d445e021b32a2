#include "rhea/tcg/passes.h"

#ifdef RHEA_DEBUG
#include <cstdio>
#include <cstdlib>
#endif

namespace rhea::tcg::passes {
namespace {

/// A pass that breaks a rule is our bug: found where it happens, not in a back end.
void check([[maybe_unused]] const ir::Block& block, [[maybe_unused]] const GuestDescription& guest,
           [[maybe_unused]] const char* when) {
#ifdef RHEA_DEBUG
    const std::string problem = ir::verify(block, guest);
    if (problem.empty())
        return;
    std::fprintf(stderr, "malformed IR %s: %s\n%s", when, problem.c_str(),
                 ir::print(block, guest).c_str());
    std::abort();
#endif
}

}  // namespace

void run(ir::Block& block, const GuestDescription& guest) {
    check(block, guest, "from the frontend");
    simplify_and_eliminate_dead(block, guest);
    check(block, guest, "after the passes");
}

}  // namespace rhea::tcg::passes
