// util::Error: why an operation failed, as a sentence for the person who started Rhea.
//
// The sentence names the option, file or device concerned and says what to do; it has no trailing
// full stop or newline, since whoever prints it adds the program's name and the line end.
// An Error is a plain value: copy it, move it, hand it to another thread.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>

namespace rhea::util {

class Error {
  public:
    /// An error whose sentence is `message` as it stands (braces have no meaning).
    explicit Error(std::string message) : message_(std::move(message)) {}

    /// An error whose sentence is fmt::format(format, args...): Error("no such drive: {}", id).
    template <typename First, typename... Rest>
    Error(fmt::format_string<First, Rest...> format, First&& first, Rest&&... rest)
        : Error(formatted(format, fmt::make_format_args(first, rest...))) {}

    /// The same error with the errno that it stands for: what a guest's device or an exit status makes of it.
    [[nodiscard]] Error with_code(int code) const {
        Error error = *this;
        error.code_ = code;
        return error;
    }
    /// The errno that it stands for; 0: none in particular.
    [[nodiscard]] int code() const { return code_; }

    /// The sentence.
    [[nodiscard]] const std::string& message() const { return message_; }

    /// The same error seen from further out: "<context>: <sentence>".
    [[nodiscard]] Error within(std::string_view context) const;

    friend bool operator==(const Error&, const Error&) = default;

  private:
    static std::string formatted(fmt::string_view format, fmt::format_args args);

    std::string message_;
    int code_ = 0;
};

}  // namespace rhea::util
