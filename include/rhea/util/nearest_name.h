// util::nearest_name: the "did you mean" of every message about an unknown name.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace rhea::util {

/// Number of single-character insertions, deletions, replacements and swaps of two neighbours that
/// turn `a` into `b` (optimal string alignment distance). Compares bytes; case matters.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

/// The name among `names` that `word` was most likely meant to be, or nothing when every name is
/// further away than half the longer word's length. The first of equally near names wins.
/// The view refers to the element of `names`.
[[nodiscard]] std::optional<std::string_view> nearest_name(
    std::string_view word, std::span<const std::string_view> names);

}  // namespace rhea::util
