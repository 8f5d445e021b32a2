// What code comes out: golden text of small guest-like snippets, so that a change which makes it worse is seen.
#include <gtest/gtest.h>

#include "jit.h"

namespace rhea::tcg::test {
namespace {
TEST(CodeShape, Placeholder) { SUCCEED(); }
}  // namespace
}  // namespace rhea::tcg::test
