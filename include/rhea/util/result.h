// util::Result<T>: a value, or the Error that says why there is none.
//
// The interface is that of C++23's std::expected (has_value, value, error, and_then, transform...).
// Only this header names the library behind it, so that changing to std::expected is one edit here.
//
//     [[nodiscard]] Result<int> open_disk(const std::string& path) {
//         int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
//         if (fd < 0) {
//             return fail("cannot open {}: {}", path, std::strerror(errno));
//         }
//         return fd;
//     }
//
// Mark functions that return a Result [[nodiscard]].
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "rhea/util/error.h"

namespace rhea::util {

/// A T, or an Error. Result<void> is success, or an Error.
template <typename T>
using Result = tl::expected<T, Error>;

/// What a function returns when it fails; converts to any Result<T>.
using Failure = tl::unexpected<Error>;

/// A failure that carries `error`, e.g. one received from a callee.
[[nodiscard]] inline Failure fail(Error error) {
    return Failure(std::move(error));
}

/// A failure with the sentence `message` as it stands.
[[nodiscard]] inline Failure fail(std::string message) {
    return Failure(Error(std::move(message)));
}

/// A failure with a formatted sentence: fail("no such drive: {}", id).
template <typename First, typename... Rest>
[[nodiscard]] Failure fail(fmt::format_string<First, Rest...> format, First&& first,
                           Rest&&... rest) {
    return Failure(Error(format, std::forward<First>(first), std::forward<Rest>(rest)...));
}

}  // namespace rhea::util
