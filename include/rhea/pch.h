// The precompiled header of every module library: standard headers that most files need, fmt, and
// nothing of Rhea's own. A source file still includes what it uses; this header only makes
// those includes cheap. (A guard, not #pragma once: gcc warns about that one in a main file.)
#ifndef RHEA_PCH_H
#define RHEA_PCH_H

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#endif  // RHEA_PCH_H
